/**
 * Four weeks of a very small shop, made by hand, for the recipes of docs/sql.md: what comes out can be counted on one's fingers.
 * The clock of the recipes stands at `NOW`, a Wednesday.
 */

export const NOW = '2026-11-18 12:00:00'

/** A row of `events`, as JSONEachRow. */
export interface ShopEvent {
  readonly tenant_id: string
  readonly workspace_id: string
  readonly event_id: string
  readonly type: string
  readonly protocol: string
  /** `2026-11-18 12:00:00.000`, UTC. */
  readonly occurred_at: string
  readonly received_at: string
  readonly session_id: string
  readonly user_id: string
  readonly anonymous_id: string
  readonly url: string
  readonly path: string
  readonly referrer: string
  readonly referrer_host: string
  readonly device: string
  readonly properties: Readonly<Record<string, unknown>>
}

type Step = readonly [afterSeconds: number, type: string, detail?: string | Readonly<Record<string, unknown>>]

interface Visit {
  readonly tenant?: string
  readonly user?: string
  readonly device?: string
  readonly session?: string
  readonly at: string
  /** Query of the first page. */
  readonly query?: string
  readonly from?: string
  /** When it arrives: at once if nothing is said. */
  readonly receivedAt?: string
  readonly steps: readonly Step[]
}

const NEWSLETTER = 'utm_source=newsletter&utm_medium=email&utm_campaign=autumn'
const item = (sku: string, price: number, quantity = 1) => ({ sku, name: sku.toUpperCase(), price, quantity })
const [MUG, PEN, PAD] = [item('mug', 12.5), item('pen', 4, 2), item('pad', 7.5)] as const
const order = (id: string, total: number, items: readonly object[], more: object = {}) => ({
  order_id: id,
  total,
  currency: 'EUR',
  items,
  ...more,
})
const view = (after: number, path: string): Step => [after, 'pageview', path]

const visits: readonly Visit[] = [
  // The week of October 26.
  {
    // Ann, before she signs in.
    ...{ device: 'd-ann', session: 's0', at: '2026-10-26 12:00:00', query: NEWSLETTER },
    steps: [view(0, '/')],
  },
  {
    ...{ user: 'ann', device: 'd-ann', session: 's1', at: '2026-10-27 10:00:00' },
    steps: [
      view(0, '/'),
      [5, 'identify', { email: 'ann@example.com', plan: 'free', 'address.city': 'Graz' }],
      view(30, '/product/mug'),
      [60, 'add_to_cart', { sku: 'mug' }],
      view(80, '/cart'),
      view(118, '/checkout'),
      [120, 'checkout_started', { total: 20 }],
      [300, 'Order Completed', order('o-1', 20, [MUG, PAD])],
      view(301, '/thanks'),
    ],
  },
  {
    ...{ device: 'd-bob', session: 's2', at: '2026-10-28 09:00:00', from: 'https://www.google.com/' },
    steps: [view(0, '/product/mug')],
  },
  // The week of November 2.
  {
    ...{ user: 'ann', device: 'd-ann', session: 's3', at: '2026-11-03 18:00:00' },
    steps: [
      view(0, '/'),
      [10, 'search', { query: 'Unicorn', results: 0 }],
      [40, 'search', { query: 'mug', results: 2 }],
    ],
  },
  {
    // Ann, as nobody else is in this session.
    ...{ session: 's3', at: '2026-11-03 18:01:00' },
    steps: [[0, 'form', { name: 'contact' }]],
  },
  {
    ...{ device: 'd-cat', session: 's4', at: '2026-11-04 20:00:00', from: 'https://facebook.com/' },
    steps: [view(0, '/blog/pens'), view(50, '/product/pen'), [90, 'add_to_cart', { sku: 'pen' }]],
  },
  // The week of November 9.
  {
    ...{ user: 'ann', device: 'd-ann', session: 's5', at: '2026-11-10 10:00:00', from: 'https://www.google.com/' },
    steps: [
      view(0, '/product/pen'),
      [20, 'identify', { plan: 'pro' }],
      [40, 'add_to_cart', { sku: 'pen' }],
      view(55, '/cart'),
      view(69, '/checkout'),
      [70, 'checkout_started', { total: 15.5 }],
      [100, 'Order Completed', order('o-2', 15.5, [PEN, PAD], { coupon: 'HELLO10' })],
      view(101, '/thanks'),
    ],
  },
  {
    ...{ user: 'bob', device: 'd-bob', session: 's6', at: '2026-11-11 11:10:00' },
    steps: [
      view(0, '/product/pen'),
      [15, 'identify', { email: 'bob@example.com', plan: 'free' }],
      [30, 'add_to_cart', { sku: 'pen' }],
      view(45, '/cart'),
      view(59, '/checkout'),
      [60, 'checkout_started', { total: 8 }],
    ],
  },
  // A terminal in the shop: Ann, Bob, and somebody.
  ...(['ann', 'bob', ''] as const).map((user, index) => ({
    ...{ user, device: 'd-shop', session: `t${index}`, at: `2026-11-12 1${index}:00:00` },
    steps: [[0, 'form', { name: 'loyalty card' }]] as const,
  })),
  // The week of November 16.
  {
    ...{ user: 'bob', device: 'd-bob', session: 's7', at: '2026-11-16 09:00:00' },
    steps: [
      view(0, '/product/mug'),
      [20, 'add_to_cart', { sku: 'mug' }],
      view(35, '/cart'),
      view(49, '/checkout'),
      [50, 'checkout_started', { total: 24 }],
      [140, 'Order Completed', order('o-3', 24, [MUG, PEN, PAD])],
      view(141, '/thanks'),
    ],
  },
  {
    ...{ device: 'd-eve', session: 's8', at: '2026-11-16 19:00:00', query: NEWSLETTER },
    steps: [
      view(0, '/'),
      [8, 'click', { selector: '.search', position: { x: 612, y: 40 } }],
      [12, 'search', { query: 'unicorn', results: 0 }],
      [20, 'click', { selector: '.search', position: { x: 618, y: 44 } }],
      [25, 'click', { selector: '#menu', position: { x: 20, y: 41 } }],
    ],
  },
  {
    // From a phone without network: it arrives on Wednesday.
    ...{ device: 'd-dan', session: 's9', at: '2026-11-16 23:00:00', receivedAt: '2026-11-18 08:00:00' },
    steps: [view(0, '/product/pad'), view(60, '/cart')],
  },
  {
    // Straight to the checkout: of no use to a funnel that begins with a product.
    ...{ device: 'd-cat', session: 's10', at: '2026-11-17 21:00:00' },
    steps: [view(0, '/checkout'), [10, 'checkout_started', { total: 4 }]],
  },
  {
    // From a server: no session, no device.
    ...{ user: 'bob', at: '2026-11-17 22:00:00' },
    steps: [[0, 'parcel_sent', { order_id: 'o-3', 'carrier.name': 'Post', weight: 1 }]],
  },
  {
    // Something hammers the search, which was quiet a week ago.
    ...{ device: 'd-bot', session: 's11', at: '2026-11-18 10:00:00' },
    steps: Array.from({ length: 16 }, (_, index): Step => [index, 'search', { query: 'mug', results: 2 }]),
  },
]

/** A neighbour with the same names, whom no recipe may count. */
const neighbour: readonly Visit[] = [
  {
    ...{ tenant: 'other', user: 'ann', device: 'd-ann', session: 's1', at: '2026-11-17 10:00:00' },
    steps: [view(0, '/'), [9, 'search', { query: 'x', results: 0 }], [20, 'Order Completed', order('x', 1e6, [MUG])]],
  },
]

/** All events, in the order of the visits. */
export const events: readonly ShopEvent[] = [...visits, ...neighbour]
  .flatMap(eventsOf)
  .map((event, index) => ({ ...event, event_id: `00000000-0000-4000-8000-${String(index).padStart(12, '0')}` }))

function eventsOf(visit: Visit): ShopEvent[] {
  return visit.steps.map(([afterSeconds, type, detail], index) => {
    const occurredAt = new Date(Date.parse(`${visit.at.replace(' ', 'T')}Z`) + afterSeconds * 1000)
    const path = typeof detail === 'string' ? detail : ''
    const query = index === 0 && visit.query ? `?${visit.query}` : ''
    const referrer = index === 0 ? (visit.from ?? '') : ''
    const time = (date: Date) => date.toISOString().replace('T', ' ').replace('Z', '')
    return {
      tenant_id: visit.tenant ?? 'demo',
      workspace_id: 'shop',
      event_id: '',
      type,
      protocol: visit.session === undefined ? 'v1/events' : 'api/track',
      occurred_at: time(occurredAt),
      received_at: visit.receivedAt ? `${visit.receivedAt}.000` : time(new Date(occurredAt.getTime() + 200)),
      session_id: visit.session ?? '',
      user_id: visit.user ?? '',
      anonymous_id: visit.device ?? '',
      url: path && `https://shop.example${path}${query}`,
      path,
      referrer,
      referrer_host: referrer && new URL(referrer).host.replace('www.', ''),
      device: visit.session === undefined ? '' : visit.device === 'd-dan' ? 'mobile' : 'desktop',
      properties: typeof detail === 'object' ? detail : {},
    }
  })
}
