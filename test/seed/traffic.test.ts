import { describe, expect, test } from 'bun:test'
import type { Authenticated } from '../../src/auth/key-cache.ts'
import type { Draft } from '../../src/draft.ts'
import { readDraft } from '../../src/draft.ts'
import { Findings } from '../../src/event-reading.ts'
import { DAY_MS } from '../../src/seed/calendar.ts'
import { SEARCHES } from '../../src/seed/catalogue.ts'
import { type TrafficPlan, traffic } from '../../src/seed/traffic.ts'
import { DEVICES, visitorOf } from '../../src/seed/visitors.ts'
import { parseUserAgent } from '../../src/user-agent.ts'

/** A Friday afternoon. */
const UNTIL = Date.parse('2026-11-20T15:30:00Z')
const PLAN: TrafficPlan = { seed: '1', days: 7, events: 30_000, visitors: 2_000, untilMs: UNTIL }

const visits = [...traffic(PLAN)]
const drafts = visits.flat()
const timeOf = ({ timestamp }: Draft) => Date.parse(timestamp)
const has = (visit: readonly Draft[], type: string) => visit.some((draft) => draft.type === type)
const pathOf = (draft: Draft) => new URL(draft.context?.page_url ?? '').pathname
const ofType = (type: string) => drafts.filter((draft) => draft.type === type)

describe('what comes out', () => {
  test('is the same for the same plan, and another for another seed', () => {
    const small = { ...PLAN, events: 2_000 }
    expect([...traffic(small)]).toEqual([...traffic(small)])
    const [one, other] = [small, { ...small, seed: '2' }].map((plan) => [...traffic(plan)].flat())
    const ids = new Set(one?.map(({ event_id }) => event_id))
    expect(other?.filter(({ event_id }) => ids.has(event_id))).toEqual([])
    expect(visitorOf('1', 7)).toEqual(visitorOf('1', 7))
  })

  test('brings the same visitors at another time, with new ids', () => {
    const later = [...traffic({ ...PLAN, events: 5_000, untilMs: UNTIL + DAY_MS })].flat()
    const ids = new Set(drafts.map(({ event_id }) => event_id))
    const visitors = new Set(drafts.map(({ anonymous_id }) => anonymous_id))
    expect(later.some(({ event_id }) => ids.has(event_id))).toBe(false)
    expect(later.filter(({ anonymous_id }) => visitors.has(anonymous_id)).length).toBeGreaterThan(4_000)
  })

  test('has exactly as many events as wanted, with ids that are all different', () => {
    expect(drafts).toHaveLength(PLAN.events)
    expect(new Set(drafts.map(({ event_id }) => event_id)).size).toBe(PLAN.events)
    for (const events of [1, 2, 17]) expect([...traffic({ ...PLAN, events, visitors: 1 })].flat()).toHaveLength(events)
  })

  test('has about as many visitors as wanted, who come more than once when there are few', () => {
    const visitors = (plan: TrafficPlan) => new Set([...traffic(plan)].flat().map((draft) => draft.anonymous_id)).size
    for (const wanted of [10, 300, 2_000]) {
      const found = visitors({ ...PLAN, visitors: wanted })
      expect(found).toBeGreaterThanOrEqual(wanted * 0.98)
      expect(found).toBeLessThanOrEqual(wanted)
    }
  })

  test('is taken by the reader of the front door without a word', () => {
    const facts = {
      key: { tenantId: 'demo', workspaceId: 'shop' } as Authenticated,
      protocol: 'v1/events',
      receivedAt: UNTIL,
      ip: new Uint8Array(16),
      anonymizeIp: false,
      userAgent: '',
      schemaVersion: '1',
    }
    const findings = new Findings()
    for (const [index, draft] of drafts.entries()) readDraft(draft, index, facts, findings)
    const { errors, warnings, imprecise } = findings
    expect({ errors, warnings, imprecise }).toEqual({ errors: [], warnings: [], imprecise: false })
  })
})

describe('times', () => {
  test('lie in the wanted days, on every one of them', () => {
    const times = drafts.map(timeOf)
    expect(Math.min(...times)).toBeGreaterThanOrEqual(UNTIL - 7 * DAY_MS)
    expect(Math.max(...times)).toBeLessThanOrEqual(UNTIL)
    expect(UNTIL - Math.max(...times)).toBeLessThan(600_000)
    expect(new Set(drafts.map(({ timestamp }) => timestamp.slice(0, 10))).size).toBe(8)
  })

  test('rise inside of a visit, with pauses shorter than half an hour, and from visit to visit', () => {
    for (const visit of visits) {
      const times = visit.map(timeOf)
      expect(times).toEqual(times.toSorted((one, other) => one - other))
      for (let at = 1; at < times.length; at++) {
        expect((times[at] as number) - (times[at - 1] as number)).toBeLessThan(30 * 60_000)
      }
    }
    const begins = visits.map((visit) => timeOf(visit[0] as Draft))
    expect(begins).toEqual(begins.toSorted((one, other) => one - other))
  })

  test('follow day and night', () => {
    const hours = Array<number>(24).fill(0)
    for (const draft of drafts) {
      const hour = new Date(timeOf(draft)).getUTCHours()
      hours[hour] = (hours[hour] as number) + 1
    }
    expect(hours[19]).toBeGreaterThan((hours[3] as number) * 5)
  })
})

describe('visits', () => {
  test('are one session of one visitor on one device, and never two of a visitor at one time', () => {
    const ended = new Map<string, number>()
    const sessions = new Set<string>()
    for (const visit of visits) {
      const [first, last] = [visit[0] as Draft, visit.at(-1) as Draft]
      for (const key of ['session_id', 'anonymous_id'] as const) {
        expect(new Set(visit.map((draft) => draft[key])).size).toBe(1)
      }
      expect(new Set(visit.map(({ context }) => `${context?.user_agent} ${context?.ip} ${context?.locale}`)).size).toBe(
        1,
      )
      const visitor = first.anonymous_id ?? ''
      expect(ended.get(visitor) ?? 0).toBeLessThan(timeOf(first))
      ended.set(visitor, timeOf(last))
      sessions.add(first.session_id)
    }
    expect(sessions.size).toBe(visits.length)
  })

  test('begin with a page, and every event happens on the page that was opened last', () => {
    for (const visit of visits) {
      let page: string | undefined
      for (const draft of visit) {
        if (draft.type === 'pageview') page = draft.context?.page_url
        expect(draft.context?.page_url).toBe(page as string)
      }
    }
  })

  test('carry their campaign on the entry page alone', () => {
    for (const [, ...others] of visits.map((visit) => visit.filter(({ type }) => type === 'pageview'))) {
      expect(others.some(({ context }) => context?.page_url?.includes('utm_'))).toBe(false)
    }
    const entries = visits.map(([first]) => first?.context?.page_url ?? '')
    for (const source of ['google', 'facebook', 'newsletter']) {
      expect(entries.some((url) => url.includes(`utm_source=${source}`))).toBe(true)
    }
  })

  test('are of all lengths, and often of one page', () => {
    const bounced = visits.filter((visit) => visit.filter(({ type }) => type === 'pageview').length === 1).length
    expect(bounced / visits.length).toBeGreaterThan(0.3)
    expect(bounced / visits.length).toBeLessThan(0.7)
    expect(Math.max(...visits.map((visit) => visit.length))).toBeGreaterThan(40)
  })

  test('bring back some visitors on later days, fewer with every day', () => {
    const first = new Map<string, number>()
    const back = new Map<number, Set<string>>()
    for (const [draft] of visits) {
      const [visitor, day] = [draft?.anonymous_id ?? '', Math.floor((timeOf(draft as Draft) - UNTIL) / DAY_MS)]
      first.set(visitor, first.get(visitor) ?? day)
      const age = day - (first.get(visitor) as number)
      back.set(age, (back.get(age) ?? new Set()).add(visitor))
    }
    const [newcomers, nextDay, later] = [0, 1, 4].map((age) => back.get(age)?.size ?? 0)
    expect(nextDay).toBeLessThan(newcomers as number)
    expect(nextDay).toBeGreaterThan(later as number)
    expect(later).toBeGreaterThan(0)
  })
})

describe('the shop', () => {
  test('sells in a funnel: products, cart, checkout, order, with about three orders in a hundred visits', () => {
    const product = visits.filter((visit) => visit.some((draft) => pathOf(draft).startsWith('/product/')))
    const cart = visits.filter((visit) => has(visit, 'add_to_cart'))
    const checkout = visits.filter((visit) => has(visit, 'checkout_started'))
    const order = visits.filter((visit) => has(visit, 'Order Completed'))
    const steps = [visits, product, cart, checkout, order].map((step) => new Set(step))
    for (let at = 1; at < steps.length; at++) {
      expect([...(steps[at] ?? [])].every((visit) => steps[at - 1]?.has(visit))).toBe(true)
      expect(steps[at]?.size ?? 0).toBeLessThan(steps[at - 1]?.size ?? 0)
    }
    expect(order.length / visits.length).toBeGreaterThan(0.02)
    expect(order.length / visits.length).toBeLessThan(0.045)
  })

  test('takes orders whose totals are those of their items, less what a coupon gives', () => {
    interface Order {
      readonly order_id: string
      readonly total: number
      readonly coupon?: string
      readonly items: readonly { readonly price: number; readonly quantity: number }[]
    }
    const orders = ofType('Order Completed').map(({ properties }) => properties as Order)
    for (const { total, coupon, items } of orders) {
      const full = items.reduce((sum, { price, quantity }) => sum + price * quantity, 0)
      expect(total).toBeCloseTo(coupon === undefined ? full : full * 0.9, 1)
    }
    expect(new Set(orders.map(({ order_id }) => order_id)).size).toBe(orders.length)
    expect(orders.some(({ coupon }) => coupon !== undefined)).toBe(true)
  })

  test('finds nothing for some searches', () => {
    const results = ofType('search').map(({ properties }) => (properties as { results: number }).results)
    const empty = results.filter((count) => count === 0).length / results.length
    expect(empty).toBeGreaterThan(0.05)
    expect(empty).toBeLessThan(0.5)
    expect(SEARCHES.some(({ query }) => query === 'tent')).toBe(true)
  })

  test('sees clicks with their places', () => {
    for (const { properties } of ofType('click')) {
      expect(properties).toEqual({
        selector: expect.any(String),
        position: { x: expect.any(Number), y: expect.any(Number) },
      })
    }
  })

  test('knows users from the moment they sign in, with traits that stay theirs', () => {
    const traits = new Map<string, unknown>()
    const known = new Set<string>()
    for (const draft of drafts.toSorted((one, other) => timeOf(one) - timeOf(other))) {
      if (draft.user_id === undefined) continue
      if (draft.type === 'signup' || draft.type === 'identify') known.add(draft.user_id)
      expect(known.has(draft.user_id)).toBe(true)
      if (draft.type !== 'identify') continue
      expect(draft.properties).toEqual(traits.get(draft.user_id) ?? draft.properties)
      traits.set(draft.user_id, draft.properties)
    }
    expect(known.size).toBeGreaterThan(50)
    expect(known).toEqual(new Set(traits.keys()))
    expect(drafts.filter(({ user_id }) => user_id === undefined).length).toBeGreaterThan(drafts.length / 2)
  })

  test('is visited with browsers that the collector recognizes', () => {
    for (const { userAgent } of DEVICES) {
      const { browser, os, device } = parseUserAgent(userAgent)
      expect([browser, os]).not.toContain('')
      expect(['desktop', 'mobile', 'tablet']).toContain(device)
    }
  })
})
