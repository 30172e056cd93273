import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import fc from 'fast-check'
import { parseAddress } from '../src/address.ts'
import type { Event } from '../src/event.ts'
import { type Journey, type JourneyQuery, PAGE_BYTES_MAX, readJourney } from '../src/journey.ts'
import { cursorAt, positionOf } from '../src/journey-cursor.ts'
import { isProblem } from '../src/problem.ts'
import { type ClickHouse, createClickHouse } from '../src/sink/clickhouse.ts'
import type { InsertTarget } from '../src/sink/insert.ts'
import { insertEvents, preparedTarget } from './sink/sink-fixture.ts'
import { startTestClickHouse, type TestClickHouse } from './support/clickhouse.ts'

let server: TestClickHouse
let target: InsertTarget
let clickhouse: ClickHouse

beforeAll(async () => {
  server = await startTestClickHouse()
  target = await preparedTarget(server)
  clickhouse = createClickHouse(target)
})
beforeEach(async () => {
  await server.query('TRUNCATE TABLE events', { database: target.database })
})
afterAll(async () => {
  await clickhouse.close()
  await server.stop()
})

const T0 = Date.UTC(2026, 10, 20, 8)

let inserts = 0

async function insert(events: readonly Partial<Event>[]): Promise<void> {
  const ofAda = events.map((event) => ({
    occurredAt: T0,
    receivedAt: event.occurredAt ?? T0,
    userId: 'ada',
    ...event,
  }))
  expect(await insertEvents(target, ofAda, `journey/${inserts++}`)).toEqual({ outcome: 'inserted' })
}

async function read(changes: Partial<JourneyQuery> = {}, from = clickhouse): Promise<Journey> {
  const question = { tenantId: 'tenant', workspaceId: 'workspace', userId: 'ada', limit: 100, ...changes }
  const journey = await readJourney(from, question)
  if (isProblem(journey)) throw new Error(journey.message)
  return journey
}

interface Told extends Record<string, unknown> {
  readonly event_id: string
  readonly occurred_at: string
}

async function events(changes: Partial<JourneyQuery> = {}): Promise<Told[]> {
  return (await read(changes)).events.map((text) => JSON.parse(text))
}

/** All pages, one after the other. */
async function pages(limit: number, between: (page: number) => Promise<void> = async () => {}): Promise<string[]> {
  const ids: string[] = []
  let cursor: string | undefined
  for (let page = 0; page === 0 || cursor !== undefined; page++) {
    const journey = await read({ limit, cursor })
    expect(journey.events.length).toBeLessThanOrEqual(limit)
    ids.push(...journey.events.map((text) => JSON.parse(text).event_id))
    cursor = journey.nextCursor
    await between(page)
  }
  return ids
}

test('an event is told by its canonical names, and what is empty is left out', async () => {
  const full: Partial<Event> = {
    eventId: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5c',
    type: 'Order Completed',
    occurredAt: T0 + 1,
    receivedAt: T0 + 2,
    anonymousId: 'device-1',
    url: 'https://shop.example/a?b',
    path: '/a',
    referrer: 'https://www.google.com/',
    referrerHost: 'google.com',
    title: 'Shop',
    locale: 'de-AT',
    userAgent: 'curl/8',
    browser: 'Chrome',
    os: 'Linux',
    device: 'desktop',
    ip: parseAddress('203.0.113.9') as Uint8Array,
    properties: { price: 9.5, items: [{ sku: 'a' }] },
    context: { screen: { width: 390 } },
  }
  await insert([full, { eventId: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5d', messageId: 'order-7', sessionId: '' }])
  expect(await events()).toEqual([
    {
      event_id: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5c',
      type: 'Order Completed',
      occurred_at: '2026-11-20T08:00:00.001Z',
      received_at: '2026-11-20T08:00:00.002Z',
      protocol: 'v1/events',
      session_id: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b',
      user_id: 'ada',
      anonymous_id: 'device-1',
      url: 'https://shop.example/a?b',
      path: '/a',
      referrer: 'https://www.google.com/',
      referrer_host: 'google.com',
      title: 'Shop',
      locale: 'de-AT',
      user_agent: 'curl/8',
      browser: 'Chrome',
      os: 'Linux',
      device: 'desktop',
      schema_version: '1',
      ip: '203.0.113.9',
      properties: { price: 9.5, items: [{ sku: 'a' }] },
      context: { screen: { width: 390 } },
    },
    {
      event_id: 'order-7',
      type: 'pageview',
      occurred_at: '2026-11-20T08:00:00.000Z',
      received_at: '2026-11-20T08:00:00.000Z',
      protocol: 'v1/events',
      user_id: 'ada',
      schema_version: '1',
      properties: {},
    },
  ])
})

test('properties come back as they were sent: large integers, dots in keys, slashes', async () => {
  const properties = {
    big: 9223372036854775807n,
    unsigned: 18446744073709551615n,
    'a.b': { 'c.d': 1 },
    url: 'https://a/b',
  }
  await insert([{ properties, context: { 'x.y': [1, null, 'z'] } }])
  const [text] = (await read()).events
  expect(text).toContain(
    '"properties":{"a.b":{"c.d":1},"big":9223372036854775807,"unsigned":18446744073709551615,"url":"https://a/b"}',
  )
  expect(text).toContain('"context":{"x.y":[1,null,"z"]}')
})

test('newest first, from and to bound the time, limit the number', async () => {
  const hour = 3_600_000
  await insert(
    [2, 0, 3, 1].map((hours) => ({
      eventId: undefined,
      type: `t${hours}`,
      occurredAt: T0 + hours * hour,
      receivedAt: T0 + hours * hour,
    })),
  )
  const types = async (changes: Partial<JourneyQuery>) => (await events(changes)).map(({ type }) => type)
  expect(await types({})).toEqual(['t3', 't2', 't1', 't0'])
  expect(await types({ from: T0 + hour })).toEqual(['t3', 't2', 't1'])
  expect(await types({ to: T0 + 3 * hour })).toEqual(['t2', 't1', 't0'])
  expect(await types({ from: T0 + hour, to: T0 + 2 * hour })).toEqual(['t1'])
  expect(await types({ limit: 2 })).toEqual(['t3', 't2'])
  expect(await types({ from: Date.UTC(1900, 0, 1), to: Date.UTC(2299, 11, 31) })).toHaveLength(4)
  expect(await types({ from: T0 + 9 * hour })).toEqual([])
})

test('an event that was received days after it happened is found by when it happened', async () => {
  await insert([{ occurredAt: T0, receivedAt: T0 + 30 * 86_400_000 }])
  expect(await events({ from: T0, to: T0 + 1 })).toHaveLength(1)
})

test('pages of any size give every event once, in order, also when many happened in the same millisecond', async () => {
  const times = fc.sample(fc.integer({ min: 0, max: 4 }), 53)
  await insert(times.map((time) => ({ eventId: crypto.randomUUID(), occurredAt: T0 + time })))
  const all = await events({ limit: 1000 })
  const ids = all.map(({ event_id }) => event_id)
  expect(new Set(ids).size).toBe(53)
  const told = all.map(({ occurred_at }) => occurred_at)
  expect(told).toEqual(told.toSorted().reverse())
  for (const limit of [1, 2, 7, 52, 53, 54]) expect(await pages(limit)).toEqual(ids)
})

test('pages stay where they are while new and late events arrive', async () => {
  const before = Array.from({ length: 30 }, (_, index) => ({
    eventId: crypto.randomUUID(),
    occurredAt: T0 + (index >> 2),
  }))
  await insert(before)
  const ids = (await events({ limit: 1000 })).map(({ event_id }) => event_id)
  const seen = await pages(7, async (page) => {
    await insert([{ occurredAt: T0 + 1000 + page }, { occurredAt: T0 - 1000 - page }, { occurredAt: T0 + (page % 8) }])
  })
  expect(seen.filter((id) => ids.includes(id))).toEqual(ids)
  expect(new Set(seen).size).toBe(seen.length)
})

/** One that may hold nothing in the first so many queries. */
function withoutMemory(queries: number): ClickHouse {
  let asked = 0
  const client = {
    query(asking: Parameters<ClickHouse['client']['query']>[0]) {
      const none = { max_memory_usage: '1', max_untracked_memory: '0' }
      const clickhouse_settings = { ...asking.clickhouse_settings, ...(asked++ < queries ? none : {}) }
      return clickhouse.client.query({ ...asking, clickhouse_settings })
    },
  }
  return { ...clickhouse, client: client as ClickHouse['client'] }
}

test('a page ends where its events become too many bytes, however they are read, and the next one goes on there', async () => {
  const texts = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, 'x"'.repeat(5000)]))
  await insert(Array.from({ length: 12 }, (_, n) => ({ occurredAt: T0 + n, properties: texts(60) })))
  await insert([{ occurredAt: T0 + 12, properties: texts(600) }]) // more than a page by itself
  for (const queries of [0, 1, 2]) {
    const times: string[] = []
    const counts: number[] = []
    let cursor: string | undefined
    do {
      const journey = await read({ cursor }, withoutMemory(queries))
      if (journey.events.length > 1)
        expect(Buffer.byteLength(journey.events.join(''))).toBeLessThanOrEqual(PAGE_BYTES_MAX)
      counts.push(journey.events.length)
      times.push(...journey.events.map((text) => JSON.parse(text).occurred_at))
      cursor = journey.nextCursor
    } while (cursor !== undefined)
    expect(times).toEqual(Array.from({ length: 13 }, (_, n) => new Date(T0 + 12 - n).toISOString()))
    expect(counts).toEqual([1, 9, 3])
  }
  const oneByOne = await read({ to: T0 + 12 }, withoutMemory(3))
  expect([oneByOne.events.length, typeof oneByOne.nextCursor]).toEqual([1, 'string'])
})

test('more than ClickHouse may hold is told from its being away', async () => {
  await insert([{}])
  const question = { tenantId: 'tenant', workspaceId: 'workspace', userId: 'ada', limit: 1 }
  expect(await readJourney(withoutMemory(9), question)).toMatchObject({ problem: 'too_much_asked' })
  expect((await read({ limit: 2 }, withoutMemory(1))).nextCursor).toBeUndefined()
})

test('a last page that is exactly full leads nowhere', async () => {
  await insert([{ occurredAt: T0 }, { occurredAt: T0 + 1 }])
  const first = await read({ limit: 1 })
  expect(first.nextCursor).toBeString()
  expect((await read({ limit: 1, cursor: first.nextCursor })).nextCursor).toBeUndefined()
  expect((await read({ limit: 2 })).nextCursor).toBeUndefined()
})

test('a cursor is good for its question only', async () => {
  await insert([{ occurredAt: T0 }, { occurredAt: T0 + 1 }])
  const question = { tenantId: 'tenant', workspaceId: 'workspace', userId: 'ada', limit: 1, from: T0, to: T0 + 10 }
  const { nextCursor: cursor } = await read(question)
  expect((await read({ ...question, cursor, limit: 5 })).events).toHaveLength(1)
  const wrong: Partial<JourneyQuery>[] = [
    { userId: 'bob' },
    { workspaceId: 'other' },
    { tenantId: 'other' },
    { from: T0 + 1 },
    { from: undefined },
    { to: undefined },
    { cursor: '' },
    { cursor: `${cursor}=` },
    { cursor: `${cursor}A` },
    { cursor: cursor?.slice(0, -1) },
    { cursor: `B${cursor?.slice(1)}` },
    { cursor: "' OR 1=1 --" },
    { cursor: 'x'.repeat(100_000) },
    { cursor: cursorAt({ occurredAt: 9e18, eventId: crypto.randomUUID() }, question) },
  ]
  for (const change of wrong)
    expect(await readJourney(clickhouse, { ...question, cursor, ...change })).toMatchObject({
      problem: 'invalid_cursor',
    })
})

test('a cursor holds any time and id', () => {
  const question = { tenantId: 't', workspaceId: 'w', userId: 'u' }
  fc.assert(
    fc.property(fc.integer({ min: -2_208_988_800_000, max: 10_413_791_999_999 }), fc.uuid(), (occurredAt, eventId) => {
      expect(positionOf(cursorAt({ occurredAt, eventId }, question), question)).toEqual({ occurredAt, eventId })
    }),
  )
})

const HOSTILE = [
  "'",
  "' OR '1'='1",
  "ada' --",
  'ada%',
  '%',
  '_da',
  '\\',
  "\\'",
  'ada\0',
  '\0',
  'ada\n',
  'ada\t',
  '\r\n',
  '{userId:String}',
  'ä',
  'a\u0308',
  '😀',
  '\u202e',
  'ADA',
  ' ada',
  'ada ',
  '\\N',
  'NULL',
  'param_userId=ada&x=1',
  'a'.repeat(256),
]

test('whatever a user is called, the events are that user’s', async () => {
  await insert([...HOSTILE, 'ada'].map((userId) => ({ userId, properties: { of: userId } })))
  for (const userId of [...HOSTILE, 'ada'])
    expect((await events({ userId })).map(({ properties }) => properties)).toEqual([{ of: userId }])
  expect(await events({ userId: 'nobody' })).toEqual([])
})

test('events of nobody are no user’s, and a lone surrogate is read as it is stored', async () => {
  await insert([{ userId: '' }, { userId: 'x\ufffd' }])
  expect(await events({ userId: '' })).toEqual([])
  expect(await events({ userId: 'x\ud800' })).toHaveLength(1)
})

test('tenants and workspaces do not see one another, whatever they are called', async () => {
  const names = ['tenant', "tenant' OR 1=1 --", 'tenant%', 'tenant\0', 'tenänt', '\\', '']
  await insert(
    names.flatMap((tenantId) =>
      names.map((workspaceId) => ({ tenantId, workspaceId, properties: { of: [tenantId, workspaceId] } })),
    ),
  )
  for (const tenantId of names)
    for (const workspaceId of names)
      expect((await events({ tenantId, workspaceId })).map(({ properties }) => properties)).toEqual([
        { of: [tenantId, workspaceId] },
      ])
})

test('ClickHouse away, or without its tables, is a problem and not an error', async () => {
  const question = { tenantId: 'tenant', workspaceId: 'workspace', userId: 'ada', limit: 1 }
  for (const options of [
    { ...target, url: 'http://127.0.0.1:1' },
    { ...target, database: 'missing' },
  ]) {
    const away = createClickHouse(options)
    expect(await readJourney(away, question)).toMatchObject({ problem: 'clickhouse_unavailable' })
    await away.close()
  }
})

test('a user’s events are found without reading everybody’s', async () => {
  const crowd = Array.from({ length: 40_000 }, (_, index) => ({ userId: `user-${index >> 2}`, occurredAt: T0 + index }))
  await insert(crowd)
  const explain = `EXPLAIN indexes = 1 SELECT type FROM events WHERE tenant_id = 'tenant' AND workspace_id = 'workspace' AND user_id = 'user-7'`
  const plan = await server.query(explain, { database: target.database })
  expect(plan).toContain('user_filter')
  const granules = [...plan.matchAll(/Granules: (\d+)\/(\d+)/g)].map(([, left]) => Number(left))
  expect(granules.at(-1)).toBe(1)
})
