/** docs/sql.md tells the truth: every query is run on a small shop, and every result in it is what comes out. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { preparedTarget } from '../sink/sink-fixture.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { events, NOW, type ShopEvent } from './shop.ts'

const text = readFileSync(join(import.meta.dir, '../../docs/sql.md'), 'utf8')

interface Recipe {
  readonly name: string
  readonly heading: string
  readonly sql: string
  /** The table below the query, as ClickHouse would write it. */
  readonly result: string | undefined
}

const recipes: readonly Recipe[] = text.split(/^(?=###? )/m).flatMap((section) => {
  const heading = /^#+ (.*)/.exec(section)?.[1] ?? ''
  const blocks = [...section.matchAll(/^```sql\n([\s\S]*?)^```\n(?:\n((?:\|.*\n)+))?/gm)]
  return blocks.map(([, sql = '', result], index) => ({ name: `${heading} ${index + 1}`, heading, sql, result }))
})

let server: TestClickHouse
let database: string

beforeAll(async () => {
  server = await startTestClickHouse()
  ;({ database } = await preparedTarget(server))
  await server.query(`ALTER TABLE ${database}.events REMOVE TTL`) // the shop has a date
  const rows = events.map((event) => JSON.stringify(event)).join('\n')
  const settings = 'input_format_try_infer_dates = 0, input_format_try_infer_datetimes = 0'
  await server.query(`INSERT INTO ${database}.events SETTINGS ${settings} FORMAT JSONEachRow ${rows}`)
})

afterAll(() => server.stop())

/** Runs a recipe at the shop's time. */
function run({ sql }: Recipe, format = 'Markdown'): Promise<string> {
  const query = sql.replaceAll(/now\((?:'UTC')?\)/g, `toDateTime('${NOW}', 'UTC')`)
  const hasFormat = /^FORMAT /m.test(query)
  return server.query(hasFormat ? query : `${query}\nFORMAT ${format}`, { database, param_user: 'ann' })
}

/** Without the alignment, which is for the eye. */
const cells = (table: string) =>
  table
    .trim()
    .split('\n')
    .filter((line) => !/^\|[-:|]+\|$/.test(line))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )

describe('every query', () => {
  test.each(recipes.map((recipe) => [recipe.name, recipe] as const))('%s', async (_, recipe) => {
    const answer = await run(recipe)
    if (process.env.SHOW) console.log(`${recipe.name}\n${answer}`)
    expect(answer.trim().split('\n').length).toBeGreaterThan(recipe.sql.includes('FORMAT') ? 0 : 2)
    if (recipe.result) expect(cells(answer)).toEqual(cells(recipe.result))
  })
})

/** The shop's own events, without the neighbour's. */
const own = events.filter(({ tenant_id }) => tenant_id === 'demo')
const time = (at: string) => Date.parse(`${at.replace(' ', 'T')}Z`)
const DAY_MS = 86_400_000
const now = time(NOW)
const day = (at: string) => at.slice(0, 10)
const visitorOf = (event: ShopEvent) => event.anonymous_id || event.user_id
const ofType = (...types: string[]) => own.filter(({ type }) => types.includes(type))
const orders = ofType('Order Completed').map((event) => ({ ...event, total: Number(event.properties.total) }))
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
const groups = <Item>(items: readonly Item[], key: (item: Item) => string) => Map.groupBy(items, key)

/** The only recipe, or the one of that number, under a heading. */
function recipe(heading: string, number = 1): Recipe {
  const found = recipes.find(({ name }) => name === `${heading} ${number}`)
  if (found === undefined) throw new Error(`no recipe ${heading} ${number}`)
  return found
}

async function rowsOf(heading: string, number = 1): Promise<string[][]> {
  return cells(await run(recipe(heading, number))).slice(1)
}

const texts = (rows: readonly (readonly (string | number)[])[]) => rows.map((row) => row.map(String))

describe('counted otherwise, the same comes out of', () => {
  test('the funnel', async () => {
    const steps: ((event: ShopEvent) => boolean)[] = [
      ({ type, path }) => type === 'pageview' && path.startsWith('/product/'),
      ...['add_to_cart', 'checkout_started', 'Order Completed'].map(
        (name) =>
          ({ type }: ShopEvent) =>
            type === name,
      ),
    ]
    /** The longest chain that begins with this event, within a day of it. */
    const chainFrom = (first: ShopEvent, later: readonly ShopEvent[]) => {
      let length = 1
      for (const event of later)
        if (time(event.occurred_at) <= time(first.occurred_at) + DAY_MS && steps[length]?.(event)) length += 1
      return length
    }
    const reached = [...groups(own, visitorOf).values()].map((journey) =>
      Math.max(0, ...journey.map((event, at) => (steps[0]?.(event) ? chainFrom(event, journey.slice(at + 1)) : 0))),
    )
    const counts = [1, 2, 3, 4].map((step) => reached.filter((length) => length >= step).length)
    expect(counts).toEqual([4, 3, 2, 2])
    const rows = await rowsOf('Funnel')
    expect(rows.map(([, , visitors]) => Number(visitors))).toEqual(counts)
    expect(rows.map(([, , , percent]) => Number(percent))).toEqual(counts.map((count) => (100 * count) / 4))
  })

  test('retention', async () => {
    const owners = new Map(
      own.filter((it) => it.user_id && it.anonymous_id).map((it) => [it.anonymous_id, it.user_id] as const),
    )
    const monday = (at: string) => {
      const date = new Date(time(`${day(at)} 00:00:00`))
      return date.getTime() - ((date.getUTCDay() + 6) % 7) * DAY_MS
    }
    const people = [...groups(own, (it) => it.user_id || owners.get(it.anonymous_id) || it.anonymous_id)]
      .filter(([person]) => person !== '')
      .map(([, journey]) => new Set(journey.map((it) => monday(it.occurred_at))))
    const cohorts = Map.groupBy(people, (weeks) => Math.min(...weeks))
    const matrix = [...cohorts]
      .sort(([a], [b]) => a - b)
      .map(([cohort, weeks]) => [
        new Date(cohort).toISOString().slice(0, 10),
        weeks.length,
        ...[1, 2, 3].map((later) => weeks.filter((all) => all.has(cohort + later * 7 * DAY_MS)).length),
      ])
    expect(await rowsOf('Retention')).toEqual(texts(matrix))
    expect(matrix.map((row) => row.slice(1))).toEqual([
      [2, 1, 2, 1],
      [1, 0, 1, 0],
      [3, 0, 0, 0],
    ])
  })

  /** Sessions with a pageview. */
  const sessions = [
    ...groups(
      own.filter((it) => it.session_id),
      (it) => it.session_id,
    ).values(),
  ]
    .map((all) => {
      const pages = all.filter(({ type }) => type === 'pageview')
      const first = pages[0]
      const parameters = first ? new URL(first.url).searchParams : new URLSearchParams()
      const times = all.map((it) => time(it.occurred_at))
      return {
        startedAt: Math.min(...times),
        seconds: (Math.max(...times) - Math.min(...times)) / 1000,
        pageviews: pages.length,
        visitor: all.map(visitorOf).find(Boolean) ?? '',
        source: parameters.get('utm_source') ?? (first?.referrer_host || 'direct'),
        campaign: parameters.get('utm_campaign') ?? '',
      }
    })
    .filter(({ pageviews }) => pageviews > 0)

  test('sessions per day', async () => {
    const recent = sessions.filter(({ startedAt }) => startedAt >= time(`${day(NOW)} 00:00:00`) - 14 * DAY_MS)
    const perDay = groups(recent, ({ startedAt }) => new Date(startedAt).toISOString().slice(0, 10))
    const expected = [...perDay]
      .sort()
      .map(([date, visits]) => [
        date,
        visits.length,
        visits.map(({ seconds }) => seconds).sort((a, b) => a - b)[Math.floor(visits.length / 2)] ?? 0,
        Math.round((10 * sum(visits.map(({ pageviews }) => pageviews))) / visits.length) / 10,
        Math.round((1000 * visits.filter(({ pageviews }) => pageviews === 1).length) / visits.length) / 10,
      ])
    expect(await rowsOf('Sessions per day')).toEqual(texts(expected))
  })

  test.each(['First touch', 'Last touch'])('attribution: %s', async (heading) => {
    const touched = orders.map((it) => {
      const visits = sessions
        .filter(({ visitor }) => visitor === visitorOf(it))
        .filter(({ source }) => heading === 'First touch' || source !== 'direct')
        .filter(({ startedAt }) => heading === 'First touch' || startedAt <= time(it.occurred_at))
        .sort((a, b) => a.startedAt - b.startedAt)
      const touch = heading === 'First touch' ? visits[0] : visits.at(-1)
      return { buyer: visitorOf(it), total: it.total, key: `${touch?.source ?? 'direct'}\t${touch?.campaign ?? ''}` }
    })
    const expected = [...groups(touched, ({ key }) => key)]
      .map(([key, all]) => ({ key, all, revenue: sum(all.map(({ total }) => total)) }))
      .sort((a, b) => b.revenue - a.revenue)
      .map(({ key, all, revenue }) => [
        ...key.split('\t'),
        new Set(all.map(({ buyer }) => buyer)).size,
        all.length,
        revenue,
      ])
    expect(await rowsOf(heading)).toEqual(texts(expected))
    expect(sum(touched.map(({ total }) => total))).toBe(59.5)
  })

  test('percentiles, exact and merged from sketches of days', async () => {
    const totals = orders.map(({ total }) => total).sort((a, b) => a - b)
    const at = (level: number) => totals[Math.floor(level * totals.length)]
    const levels = `[${[0.25, 0.5, 0.9].map(at).join()}]`
    expect(await rowsOf('Percentiles')).toEqual(texts([[totals.length, sum(totals), levels]]))
    for (const [date = '', count, values] of await rowsOf('Percentiles over a window')) {
      const end = time(`${date} 00:00:00`) + DAY_MS
      const week = orders.filter((it) => time(it.occurred_at) < end && time(it.occurred_at) >= end - 7 * DAY_MS)
      const of = week.map(({ total }) => total)
      expect([count, values]).toEqual([String(week.length), `[${Math.min(...of)},${Math.max(...of)}]`])
    }
  })

  test('time to convert', async () => {
    const chains = orders.map((it) => {
      const before = own.filter((other) => other.session_id === it.session_id && other.occurred_at <= it.occurred_at)
      const product = before.find(({ path }) => path.startsWith('/product/'))
      const cart = before.find(({ type }) => type === 'add_to_cart')
      const checkout = before.find(({ type }) => type === 'checkout_started')
      const times = [product, cart, checkout, it].map((step) => time(step?.occurred_at ?? '') / 1000)
      const [viewed = 0, put = 0, begun = 0, ordered = 0] = times
      return [put - viewed, begun - put, ordered - begun, ordered - viewed]
    })
    const medians = [0, 1, 2, 3].map((part) => chains.map((chain) => chain[part] ?? 0).sort((a, b) => a - b)[1] ?? 0)
    expect(await rowsOf('Time to convert')).toEqual(texts([[orders.length, ...medians]]))
  })

  test('active users', async () => {
    const users = (from: number, to: number) =>
      new Set(
        own
          .filter((it) => time(it.occurred_at) >= from && time(it.occurred_at) < to)
          .map((it) => it.user_id || it.anonymous_id)
          .filter(Boolean),
      ).size
    const expected = [3, 2, 1, 0].map((back) => {
      const end = time(`${day(NOW)} 00:00:00`) + DAY_MS - back * DAY_MS
      const [dau, wau, mau] = [1, 7, 28].map((days) => users(end - days * DAY_MS, end)) as [number, number, number]
      const date = new Date(end - DAY_MS).toISOString().slice(0, 10)
      return [date, dau, wau, mau, Math.round((100 * dau) / mau) / 100]
    })
    expect(await rowsOf('Active users')).toEqual(texts(expected))
  })

  test('late data: when it came, to which day it was added, and what a report had said before', async () => {
    const isLate = (it: ShopEvent) => time(it.received_at) > time(it.occurred_at) + 3_600_000
    const late = own.filter(isLate)
    expect(late.length).toBe(2)
    const [browsers = [], servers = []] = await rowsOf('How late events are')
    const recent = own.filter((it) => time(it.received_at) >= now - 7 * DAY_MS)
    expect([browsers[1], browsers[3], browsers[4]]).toEqual([
      String(recent.filter(({ protocol }) => protocol === 'api/track').length),
      String(late.length),
      '33',
    ])
    expect(servers[3]).toBe('0')

    for (const [date = '', all, after, before] of await rowsOf('Days that changed later')) {
      const that = own.filter((it) => day(it.occurred_at) === date)
      const later = that.filter((it) => day(it.received_at) > date)
      expect([all, after, before].map(Number)).toEqual([that.length, later.length, that.length - later.length])
    }
    const perDay = await rowsOf('Aggregates against events')
    for (const [date, stored, counted, difference] of perDay) {
      const there = own.filter((it) => day(it.occurred_at) === date).length
      expect([stored, counted, difference].map(Number)).toEqual([there, there, 0])
    }
    expect(perDay.length).toBe(4)
  })

  test('what was bought together', async () => {
    const baskets = orders.map(({ properties }) => (properties.items as { sku: string }[]).map(({ sku }) => sku))
    for (const [sku = '', other = '', together, share] of await rowsOf('Bought together')) {
      const having = baskets.filter((skus) => skus.includes(sku))
      const both = having.filter((skus) => skus.includes(other))
      expect([together, share].map(Number)).toEqual([
        both.length,
        Math.round((100 * both.length) / having.length) / 100,
      ])
    }
  })

  test('everything about a person: no event of theirs is missing, none of others is there', async () => {
    const lines = async (number: number): Promise<Record<string, unknown>[]> =>
      (await run(recipe('Everything about one person', number)))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
    const complete = own.filter(
      (it) =>
        it.user_id === 'ann' ||
        it.session_id === 's0' || // on her device, before she signed in
        it.session_id === 's3', // with a form that has no id but its session's
    )
    const stored = await lines(1)
    expect(stored.map(({ event_id }) => event_id).sort()).toEqual(complete.map(({ event_id }) => event_id).sort())
    expect(stored.length).toBe(23)
    for (const line of stored) {
      const sent = complete.find(({ event_id }) => event_id === line.event_id)
      expect(line).toMatchObject({ ...sent })
    }
    expect(await lines(2)).toEqual([
      expect.objectContaining({ traits: { email: 'ann@example.com', plan: 'pro', 'address.city': 'Graz' } }),
    ])
    expect((await lines(3)).map(({ session_id }) => session_id)).toEqual(['s0', 's1', 's3', 's5', 't0'])
  })
})

describe('the page', () => {
  test('leads to each of its headings, and has each that it leads to', () => {
    const anchor = (heading: string) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\s-]/g, '')
        .replaceAll(/\s/g, '-')
    const headings = [...text.matchAll(/^###? (.*)$/gm)].map(([, heading = '']) => anchor(heading))
    const contents = text.slice(text.indexOf('\n- ['), text.indexOf('**Who is who.**'))
    expect([...contents.matchAll(/\]\(#([\w-]+)\)/g)].map(([, target]) => target)).toEqual(headings)
    expect(new Set(headings).size).toBe(headings.length)
  })

  test('names the workspace in every query of the tables', () => {
    for (const { name, sql } of recipes.filter((it) => !it.sql.includes('FROM system.'))) {
      const reads = [
        ...sql.matchAll(
          /^ *FROM (events|users|user_traits|sessions|session_states|sessions_between\(.*|\w+_per_\w+)$/gm,
        ),
      ].length
      const filters = [
        ...sql.matchAll(/tenant_id = 'demo' AND workspace_id = 'shop'|tenant = 'demo', workspace = 'shop'/g),
      ].length
      expect([name, filters]).toEqual([name, reads])
    }
  })

  test('has many recipes, most of them with their result', () => {
    expect(recipes.length).toBeGreaterThan(35)
    expect(recipes.filter(({ result }) => result !== undefined).length).toBeGreaterThan(30)
  })

  test('names what prunes: the plan has the partitions and the whole primary key', async () => {
    const plan = await run(recipe('What a filter prunes'), 'TSVRaw')
    expect(plan).toMatch(/Partition\n\s+Keys:\n\s+toDate\(received_at\)/)
    expect(plan).toMatch(/PrimaryKey\n\s+Keys:\n\s+tenant_id\n\s+workspace_id\n\s+type\n\s+occurred_at/)
  })
})
