/** What events make of sessions, pages per day and referrers per day. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import fc from 'fast-check'
import { enrich } from '../../src/enrich.ts'
import type { Event } from '../../src/event.ts'
import type { InsertTarget } from '../../src/sink/insert.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { makeEvent } from '../support/events.ts'
import { insertEvents, preparedTarget } from './sink-fixture.ts'

const TABLES = ['session_states', 'pages_per_day', 'referrers_per_day']
const MINUTE_MS = 60_000
const T0 = Date.UTC(2026, 10, 20, 12)

let clickhouse: TestClickHouse
let target: InsertTarget

beforeAll(async () => {
  clickhouse = await startTestClickHouse()
  target = await preparedTarget(clickhouse)
})
beforeEach(async () => {
  for (const table of ['events', ...TABLES]) await query(`TRUNCATE TABLE ${table}`)
})
afterAll(() => clickhouse.stop())

function query(sql: string): Promise<string> {
  return clickhouse.query(sql, { database: target.database })
}

async function rows<Row = Record<string, unknown>>(sql: string): Promise<Row[]> {
  const settings = { database: target.database, output_format_json_quote_64bit_integers: '0' }
  const text = await clickhouse.query(`${sql} FORMAT JSONEachRow`, settings)
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
}

let inserts = 0

/** Inserts events as one segment, as the flusher does. */
async function insert(events: readonly Partial<Event>[], token = `sessions/${inserts++}`): Promise<void> {
  const enriched = events.map((changes) => {
    const event = makeEvent({ sessionId: 's', occurredAt: T0, ...changes })
    enrich(event)
    return event
  })
  expect(await insertEvents(target, enriched, token)).toEqual({ outcome: 'inserted' })
}

const view = (url: string, minutes: number, changes: Partial<Event> = {}): Partial<Event> => ({
  type: 'pageview',
  url: `https://shop.example${url}`,
  occurredAt: T0 + minutes * MINUTE_MS,
  ...changes,
})

const VISIT = [
  view('/?utm_source=news%20letter&utm_medium=e+mail&utm_campaign=spring', 0, {
    referrer: 'https://www.google.com/search',
    anonymousId: 'device-1',
    browser: 'Firefox',
    os: 'Linux',
    device: 'desktop',
  }),
  { type: 'click', anonymousId: 'device-1', occurredAt: T0 + MINUTE_MS },
  view('/product/1', 2, { type: 'page_view', anonymousId: 'device-1', referrer: 'https://shop.example/' }),
  { type: 'identify', userId: 'ada', occurredAt: T0 + 3 * MINUTE_MS },
  view('/cart#top', 4.5, { userId: 'ada' }),
  { type: 'click', occurredAt: T0 + 5 * MINUTE_MS },
]

const SESSION = {
  tenant_id: 'tenant',
  workspace_id: 'workspace',
  session_id: 's',
  user_id: 'ada',
  anonymous_id: 'device-1',
  started_at: '2026-11-20 12:00:00.000',
  ended_at: '2026-11-20 12:05:00.000',
  duration_seconds: 300,
  events: 6,
  pageviews: 3,
  entry_path: '/',
  exit_path: '/cart',
  referrer_host: 'google.com',
  source: 'news letter',
  medium: 'e mail',
  campaign: 'spring',
  browser: 'Firefox',
  os: 'Linux',
  device: 'desktop',
}

const ALL_TIMES = "sessions_between(tenant = 'tenant', workspace = 'workspace', from = '1900-01-01', to = '2299-12-31')"

test('a session is the same however its events are cut into inserts, in whatever order they come, before and after merges', async () => {
  const split = fc.tuple(
    fc.shuffledSubarray([...VISIT.keys()], { minLength: VISIT.length }),
    fc.array(fc.integer({ min: 0, max: 2 }), { minLength: VISIT.length, maxLength: VISIT.length }),
    fc.boolean(),
  )
  await fc.assert(
    fc.asyncProperty(split, async ([order, cuts, isMerged]) => {
      await query('TRUNCATE TABLE session_states')
      for (const part of [0, 1, 2]) {
        const events = order.filter((_, index) => cuts[index] === part).map((index) => VISIT[index] ?? {})
        if (events.length > 0) await insert(events)
      }
      if (isMerged) await query('OPTIMIZE TABLE session_states FINAL')
      expect(await rows('SELECT * FROM sessions')).toEqual([SESSION])
      expect(await rows(`SELECT * FROM ${ALL_TIMES}`)).toEqual([SESSION])
    }),
    { numRuns: 6, endOnFailure: true },
  )
})

test('source and medium say where a session came from: its campaign, else the host before, else nothing', async () => {
  await insert([
    view('/', 0, { sessionId: 'campaign', referrer: 'https://t.co/x', url: 'https://a.example/?utm_source=mail' }),
    view('/', 0, { sessionId: 'referrer', referrer: 'https://www.bing.com/' }),
    view('/', 0, { sessionId: 'nothing' }),
    { type: 'click', sessionId: 'no page', referrer: 'https://www.bing.com/' },
  ])
  expect(
    await rows(
      'SELECT session_id, source, medium, campaign, referrer_host, entry_path FROM sessions ORDER BY session_id',
    ),
  ).toEqual([
    {
      session_id: 'campaign',
      source: 'mail',
      medium: 'referral',
      campaign: '',
      referrer_host: 't.co',
      entry_path: '/',
    },
    { session_id: 'no page', source: 'direct', medium: 'none', campaign: '', referrer_host: '', entry_path: '' },
    { session_id: 'nothing', source: 'direct', medium: 'none', campaign: '', referrer_host: '', entry_path: '/' },
    {
      session_id: 'referrer',
      source: 'bing.com',
      medium: 'referral',
      campaign: '',
      referrer_host: 'bing.com',
      entry_path: '/',
    },
  ])
})

test('a session over midnight is one, and belongs to the day on which it began', async () => {
  const midnight = Date.UTC(2026, 10, 21)
  await insert([view('/before', 0, { occurredAt: midnight - MINUTE_MS })])
  await insert([view('/after', 0, { occurredAt: midnight + MINUTE_MS })])
  await query('OPTIMIZE TABLE session_states FINAL')
  expect(await query('SELECT count() FROM session_states')).toBe('2\n')
  const expected = [{ entry_path: '/before', exit_path: '/after', events: 2 }]
  expect(await rows('SELECT entry_path, exit_path, events FROM sessions')).toEqual(expected)
  const between = (from: string, to: string) =>
    rows(
      `SELECT entry_path, exit_path, events
       FROM sessions_between(tenant = 'tenant', workspace = 'workspace', from = '${from}', to = '${to}')`,
    )
  expect(await between('2026-11-20', '2026-11-21')).toEqual(expected)
  expect(await between('2026-11-21', '2026-11-22')).toEqual([])
})

test('sessions of a range are found without reading the days around it', async () => {
  const days = Array.from({ length: 30 }, (_, day) => day)
  const crowd = days.flatMap((day) =>
    Array.from({ length: 2_000 }, (_, index) => view('/', day * 1440, { sessionId: `${day}/${index}` })),
  )
  await insert(crowd)
  await query('OPTIMIZE TABLE session_states FINAL')
  const plan = await query(
    `EXPLAIN indexes = 1 SELECT count(), avg(duration_seconds) FROM
     sessions_between(tenant = 'tenant', workspace = 'workspace', from = '2026-12-01', to = '2026-12-02')`,
  )
  const granules = [...plan.matchAll(/Granules: (\d+)\/(\d+)/g)].at(-1)
  expect(Number(granules?.[1])).toBeLessThan(Number(granules?.[2]) / 2)
  expect(await query(`SELECT count() FROM ${ALL_TIMES}`)).toBe('60000\n')
})

test('the sessions of two workspaces with one id are two, and events without a session make none', async () => {
  await insert([
    view('/', 0, { tenantId: 'a' }),
    view('/', 0, { tenantId: 'b' }),
    view('/', 0, { tenantId: 'b', workspaceId: 'w' }),
    view('/', 0, { sessionId: '' }),
  ])
  expect(await query('SELECT tenant_id, workspace_id, events FROM sessions ORDER BY ALL')).toBe(
    'a\tworkspace\t1\nb\tw\t1\nb\tworkspace\t1\n',
  )
})

test('pageviews are counted once per page and once per referring host, and other events not at all', async () => {
  await insert(VISIT)
  await insert([view('/', 24 * 60, { sessionId: 't', userId: 'ada' }), view('/', 24 * 60, { sessionId: '' })])
  const pages = 'day, path, pageviews, users, sessions'
  expect(await query(`SELECT ${pages} FROM page_counts_per_day ORDER BY ALL`)).toBe(
    [
      '2026-11-20\t/\t1\t1\t1',
      '2026-11-20\t/cart\t1\t1\t1',
      '2026-11-20\t/product/1\t1\t1\t1',
      '2026-11-21\t/\t2\t1\t1\n',
    ].join('\n'),
  )
  const referrers = 'day, referrer_host, pageviews, users, sessions'
  expect(await query(`SELECT ${referrers} FROM referrer_counts_per_day ORDER BY ALL`)).toBe(
    [
      '2026-11-20\t\t1\t1\t1',
      '2026-11-20\tgoogle.com\t1\t1\t1',
      '2026-11-20\tshop.example\t1\t1\t1',
      '2026-11-21\t\t2\t1\t1\n',
    ].join('\n'),
  )
})

test('times before 1970 count on its first day', async () => {
  await insert([
    view('/', 0, { occurredAt: Date.UTC(1900, 0, 1) }),
    view('/', 0, { occurredAt: Date.UTC(1969, 11, 31, 23, 59), sessionId: 't' }),
  ])
  expect(await query('SELECT DISTINCT day FROM page_counts_per_day')).toBe('1970-01-01\n')
  expect(await query('SELECT DISTINCT day FROM referrer_counts_per_day')).toBe('1970-01-01\n')
  expect(await query('SELECT started_at FROM sessions ORDER BY 1')).toBe(
    '1900-01-01 00:00:00.000\n1969-12-31 23:59:00.000\n',
  )
  expect(await query(`SELECT count() FROM ${ALL_TIMES}`)).toBe('2\n')
})

test('what is too long is cut, and characters stay whole', async () => {
  const path = `/${'ä'.repeat(9_000)}`
  await insert([
    view(path, 0, { sessionId: '😀'.repeat(300), userId: 'ü'.repeat(9_000), referrerHost: 'r'.repeat(9_000) }),
  ])
  const [page] = await rows<{ path: string }>('SELECT path FROM page_counts_per_day')
  expect(page?.path).toBe(path.slice(0, 512))
  const [session] = await rows('SELECT session_id, user_id, entry_path, exit_path, referrer_host FROM sessions')
  expect(session).toEqual({
    session_id: '😀'.repeat(256),
    user_id: 'ü'.repeat(256),
    entry_path: path.slice(0, 512),
    exit_path: path.slice(0, 512),
    referrer_host: 'r'.repeat(256),
  })
  expect(await query('SELECT length(referrer_host) FROM referrer_counts_per_day')).toBe('256\n')
})

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  fc.constantFrom(
    '',
    '\0',
    '~',
    '\0\0\0\0\0',
    '\ud800',
    'a\udfff',
    '%',
    '%zz',
    '%ff%fe',
    '%00',
    '\u{10ffff}',
    'x'.repeat(70_000),
  ),
)
const utm = fc.tuple(fc.constantFrom('utm_source', 'utm_medium', 'utm_campaign', 'utm_'), text)
const hostileUrl = fc.oneof(
  text,
  fc.webUrl({ withQueryParameters: true, withFragments: true }),
  fc.tuple(text, fc.array(utm, { maxLength: 4 })).map(([path, pairs]) => {
    const pairTexts = pairs.map(([name, value]) => `${name}=${value}`)
    return `https://x.example/${path}?${pairTexts.join('&')}`
  }),
)
const hostileEvent = fc.record({
  type: fc.constantFrom('pageview', 'page_view', 'click', 'identify', ''),
  url: hostileUrl,
  path: text,
  referrer: hostileUrl,
  referrerHost: text,
  sessionId: text,
  userId: text,
  anonymousId: text,
  browser: text,
  os: text,
  device: text,
  occurredAt: fc.oneof(
    fc.integer({ min: Date.UTC(1900, 0, 1), max: Date.UTC(2300, 0, 1) - 1 }),
    fc.constantFrom(
      Date.UTC(1900, 0, 1),
      -1,
      0,
      2 ** 31 * 1000,
      2 ** 32 * 1000,
      Date.UTC(2149, 5, 7),
      Date.UTC(2299, 11, 31),
    ),
  ),
})

test('nothing that a client sends stops an insert or makes a view unreadable, and every event is counted', async () => {
  let events = 0
  let pageviews = 0
  await fc.assert(
    fc.asyncProperty(fc.array(hostileEvent, { minLength: 1, maxLength: 60 }), async (batch) => {
      await insert(batch)
      const inSession = batch.filter(({ sessionId }) => sessionId !== '')
      events += inSession.length
      pageviews += batch.filter(({ type }) => /^page_?view$/.test(type)).length
      for (const name of ['sessions', ALL_TIMES, 'page_counts_per_day', 'referrer_counts_per_day'])
        expect((await query(`SELECT * FROM ${name} FORMAT Native`)).length).toBeGreaterThan(-1)
      expect(await query('SELECT sum(events) FROM sessions')).toBe(`${events}\n`)
      expect(await query('SELECT sum(pageviews) FROM page_counts_per_day')).toBe(`${pageviews}\n`)
      expect(await query('SELECT sum(pageviews) FROM referrer_counts_per_day')).toBe(`${pageviews}\n`)
    }),
    { numRuns: 12, endOnFailure: true },
  )
})
