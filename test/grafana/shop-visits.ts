/** What a few people did in a shop in the last weeks, few enough to count by hand. */

const DAY_MS = 86_400_000
const MINUTE_MS = 60_000
const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Safari/537.36'
const SHOP = 'https://shop.test'

interface Visit {
  readonly user?: string
  readonly device: string
  readonly startedAt: number
  readonly referrer?: string
  readonly steps: readonly Step[]
}

/** One minute after the other. */
interface Step {
  readonly type: string
  /** Path and query of the page. */
  readonly page: string
  readonly properties?: object
}

const view = (page: string): Step => ({ type: 'pageview', page })
const click = (page: string, selector: string, x: unknown, y: unknown): Step => ({
  type: 'click',
  page,
  properties: { selector, position: { x, y } },
})
const order = (total: unknown): Step => ({
  type: 'Order Completed',
  page: '/thanks',
  properties: {
    order_id: 'o-1',
    total,
    currency: 'EUR',
    items: [{ sku: 'A-1', name: 'Cup', price: 20.25, quantity: 2 }],
  },
})

/** 10:00 UTC on the Tuesday of the week that began so many weeks before this one. */
export function tuesday(weeksAgo: number, now = Date.now()): number {
  const today = Math.floor(now / DAY_MS)
  const monday = today - ((today + 3) % 7)
  return (monday - weeksAgo * 7 + 1) * DAY_MS + 600 * MINUTE_MS
}

const VISITS: readonly Visit[] = [
  {
    user: 'ada',
    device: 'a1',
    startedAt: tuesday(3),
    steps: [
      view('/?utm_source=newsletter&utm_medium=email&utm_campaign=autumn'),
      view('/product/A-1'),
      { type: 'add_to_cart', page: '/product/A-1' },
      { type: 'checkout_started', page: '/checkout' },
      order(40.5),
    ],
  },
  { user: 'ada', device: 'a1', startedAt: tuesday(2), referrer: 'https://www.google.com/', steps: [view('/')] },
  {
    user: 'bob',
    device: 'b1',
    startedAt: tuesday(3),
    steps: [view('/'), view('/product/A-1'), { type: 'add_to_cart', page: '/product/A-1' }],
  },
  {
    device: 'c1',
    startedAt: tuesday(2),
    referrer: 'https://www.google.com/',
    steps: [
      view('/product/B-2'),
      click('/product/B-2', '#buy', 101, 203),
      click('/product/B-2', '#buy', 99.4, 197),
      click('/product/B-2', 'img.large', 300, 40),
      click('/product/B-2', '#buy', 'left', null),
    ],
  },
  // Not in the order of the funnel, and with a total that is no number.
  { user: 'dan', device: 'd1', startedAt: tuesday(1), steps: [order('much'), view('/product/A-1'), view('/')] },
]

/** The events of all visits, for POST /v1/events. */
export function shopEvents(): Record<string, unknown>[] {
  return VISITS.flatMap((visit) => {
    const session_id = crypto.randomUUID()
    return visit.steps.map(({ type, page, properties = {} }, index) => ({
      type,
      timestamp: new Date(visit.startedAt + index * MINUTE_MS).toISOString(),
      session_id,
      anonymous_id: visit.device,
      ...(visit.user === undefined ? {} : { user_id: visit.user }),
      properties,
      context: {
        page_url: `${SHOP}${page}`,
        user_agent: CHROME,
        ...(visit.referrer === undefined || index > 0 ? {} : { referrer: visit.referrer }),
      },
    }))
  })
}
