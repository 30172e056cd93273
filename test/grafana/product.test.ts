/** Every query of the dashboards that read ClickHouse, on what a collector stored. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Collector, newHome, startCollector } from '../support/collector.ts'
import { type DashboardName, type PanelQuery, queriesOf, queryOf, readDashboard } from '../support/dashboards.ts'
import { type Chosen, expandSql, type QueryContext } from '../support/grafana.ts'
import { shopEvents, tuesday } from './shop-visits.ts'

const WEEK_MS = 7 * 86_400_000

interface Result {
  readonly meta: readonly { readonly name: string; readonly type: string }[]
  readonly data: readonly Record<string, unknown>[]
}

const home = newHome()
let collector: Collector

beforeAll(async () => {
  collector = await startCollector({ home })
  const response = await collector.postEvents(shopEvents())
  expect(response.status).toBe(201)
  expect(await response.json()).toEqual({ accepted: shopEvents().length, rejected: 0 })
  await collector.flushed()
})

afterAll(async () => {
  await collector.stop()
  home.remove()
})

async function run(sql: string, context: QueryContext): Promise<Result> {
  const text = await collector.query(`${expandSql(sql, context)}\nFORMAT JSON`)
  return JSON.parse(text) as Result
}

function contextOf(variables: Readonly<Record<string, Chosen>>, weeks = 8, intervalMs = 3_600_000): QueryContext {
  const to = new Date(Date.now() + 1_000) // whole seconds are compared
  return { from: new Date(to.getTime() - weeks * WEEK_MS), to, intervalMs, variables }
}

/** Asks for the options of each variable, as a dashboard does when it opens, and chooses what is wanted, or all, or the first. */
async function choose(dashboard: DashboardName, wanted: Readonly<Record<string, string>> = {}) {
  const chosen: Record<string, Chosen> = {}
  const options: Record<string, string[]> = {}
  for (const variable of readDashboard(dashboard).templating.list.filter(
    ({ datasource }) => datasource.uid === 'clickhouse',
  )) {
    const { name, includeAll } = variable
    const { data } = await run(queryOf(variable), contextOf(chosen))
    const values = data.map((row) => String(Object.values(row)[0]))
    options[name] = values
    const [first] = values
    if (first === undefined) throw new Error(`the variable ${name} of ${dashboard} has no values`)
    chosen[name] = wanted[name] ?? (includeAll === true ? { all: values } : first)
  }
  return { chosen, options }
}

/** The query of the panel with a title; of the product dashboard, where nothing else is said. */
function sqlOfPanel(title: string, dashboard: DashboardName = 'product'): string {
  const [found] = queriesOf(dashboard, 'clickhouse').filter(({ panel }) => panel.title === title)
  if (found?.rawSql === undefined) throw new Error(`there is no panel ${title}`)
  return found.rawSql
}

async function ask(title: string, dashboard: DashboardName = 'product'): Promise<readonly Record<string, unknown>[]> {
  const { chosen } = await choose(dashboard, dashboard === 'product' ? { user: 'ada', page: '/product/B-2' } : {})
  return (await run(sqlOfPanel(title, dashboard), contextOf(chosen))).data
}

const day = (time: number) => new Date(time).toISOString().slice(0, 10)

for (const dashboard of ['product', 'tenants'] as const) {
  describe(`every query of ${dashboard}`, () => {
    test('returns rows, with the columns that the panel speaks of', async () => {
      const { chosen } = await choose(dashboard, dashboard === 'product' ? { user: 'ada', page: '/product/B-2' } : {})
      const faults: string[] = []
      for (const query of queriesOf(dashboard, 'clickhouse')) faults.push(...(await faultsOf(query, contextOf(chosen))))
      expect(faults).toEqual([])
    })

    test('names the tenant and the workspace', () => {
      const careless = queriesOf(dashboard, 'clickhouse').filter(
        ({ rawSql = '' }) => !rawSql.includes('${tenant:') || !rawSql.includes('${workspace:'),
      )
      expect(careless.map(({ name }) => name)).toEqual([])
    })
  })
}

async function faultsOf(query: PanelQuery, context: QueryContext): Promise<string[]> {
  const { name, rawSql = '', format, panel } = query
  try {
    const { meta, data } = await run(rawSql, context)
    const columns = meta.map((column) => column.name)
    const named = (panel.fieldConfig?.overrides ?? []).filter(({ matcher }) => matcher.id === 'byName')
    const missing = named.map(({ matcher }) => matcher.options).filter((column) => !columns.includes(column))
    const hasTime = meta[0]?.name === 'time' && meta[0].type.startsWith('DateTime')
    const odd = meta.filter(({ type }) => !/^(LowCardinality\(|Nullable\()*(String|U?Int|Float|Date)/.test(type))
    const hasNumber = meta.some(({ type }) => /Int|Float/.test(type))
    return [
      ...(data.length === 0 ? [`${name}: no rows`] : []),
      ...missing.map((column) => `${name}: no column ${column}`),
      ...odd.map((column) => `${name}: ${column.name} is ${column.type}`),
      ...(format === 0 && !(hasTime && hasNumber) ? [`${name}: no series: ${columns}`] : []),
    ]
  } catch (error) {
    return [`${name}: ${error}`]
  }
}

test('users are distinct over days, weeks and months', async () => {
  const rows = await ask('Active users')
  const at = (weeksAgo: number) => rows.find(({ time }) => String(time).startsWith(day(tuesday(weeksAgo))))
  expect(at(3)).toMatchObject({ daily: 2, weekly: 2, monthly: 2 })
  expect(at(2)).toMatchObject({ daily: 2, weekly: 2, monthly: 3 })
  expect(at(1)).toMatchObject({ daily: 1, weekly: 1, monthly: 4 })
  expect(await ask('Users')).toEqual([{ users: 4 }])
})

test('a session counts for a step of the funnel only after the steps before it', async () => {
  expect((await ask('From product to order')).map(({ step, sessions }) => [step, sessions])).toEqual([
    ['Product page', 4],
    ['In the cart', 2],
    ['Checkout', 1],
    ['Order', 1],
  ])
})

test('sessions bounce that see one page, and enter where they start', async () => {
  expect(await ask('Bounce rate')).toEqual([{ bounced: 0.4 }])
  expect(await ask('Median duration')).toEqual([{ duration: 120 }])
  const entries = (await ask('Entry pages')).map(({ path, sessions, bounced }) => [path, sessions, bounced])
  expect(entries.sort()).toEqual([
    ['/', 3, 1 / 3],
    ['/product/A-1', 1, 0],
    ['/product/B-2', 1, 1],
  ])
})

test('sources are campaigns, or else the hosts that visitors come from', async () => {
  const sources = await ask('Sources and campaigns')
  expect(sources.map(({ source, medium, campaign, sessions }) => [source, medium, campaign, sessions]).sort()).toEqual([
    ['direct', 'none', '', 2],
    ['google.com', 'referral', '', 2],
    ['newsletter', 'email', 'autumn', 1],
  ])
  expect(await ask('Referrers')).toEqual([{ referrer: 'google.com', pageviews: 2, users: 2, sessions: 2 }])
  expect((await ask('Top pages'))[0]).toEqual({ path: '/', pageviews: 4, users: 3 })
})

test('cohorts are the users of their first week, and weeks to come are empty', async () => {
  const [first, second, third] = await ask('Weekly retention')
  const monday = (weeksAgo: number) => day(tuesday(weeksAgo) - 86_400_000)
  expect(first).toMatchObject({
    cohort: monday(3),
    users: 2,
    'week 1': 0.5,
    'week 2': 0,
    'week 3': 0,
    'week 4': null,
  })
  expect(second).toMatchObject({ cohort: monday(2), users: 1, 'week 1': 0, 'week 3': null })
  expect(third).toMatchObject({ cohort: monday(1), users: 1, 'week 1': 0, 'week 2': null })
})

test('revenue is the sum of the totals that are numbers', async () => {
  const rows = await ask('Revenue')
  expect(rows.reduce((sum, { revenue }) => sum + Number(revenue ?? 0), 0)).toBe(40.5)
  expect(await ask('Orders')).toEqual([{ orders: 2 }])
  expect(await ask('Products')).toEqual([{ sku: 'A-1', name: 'Cup', pieces: 4, revenue: 81 }])
})

test('clicks are counted in squares, and those without a place only by selector', async () => {
  expect(await ask('Click map of $page')).toEqual([
    { x: 100, y: -200, clicks: 2 },
    { x: 300, y: -40, clicks: 1 },
  ])
  expect(await ask('Clicked on $page')).toEqual([
    { selector: '#buy', clicks: 3, users: 1 },
    { selector: 'img.large', clicks: 1, users: 1 },
  ])
})

test('a journey is what one user did, the newest first', async () => {
  const rows = await ask('Journey of $user')
  expect(rows.map(({ type }) => type)).toEqual([
    'pageview',
    'Order Completed',
    'checkout_started',
    'add_to_cart',
    'pageview',
    'pageview',
  ])
})

test('a type that is chosen leaves the others out', async () => {
  const { chosen } = await choose('product')
  const context = contextOf({ ...chosen, type: ['click', "it's"] })
  const { data } = await run(sqlOfPanel('Types'), context)
  expect(data.map(({ type, events }) => [type, events])).toEqual([['click', 4]])
})

test('the time range leaves out what was before it', async () => {
  const { chosen } = await choose('product')
  const { data } = await run(sqlOfPanel('Events'), { ...contextOf(chosen), from: new Date(tuesday(1) - 3_600_000) })
  expect(data).toEqual([{ events: 3 }])
})

test('the users to choose from are those of the workspace', async () => {
  const { options } = await choose('product')
  expect(options.user?.toSorted()).toEqual(['ada', 'bob', 'dan'])
  expect(options.page?.toSorted()).toEqual(['/', '/product/A-1', '/product/B-2'])
})
