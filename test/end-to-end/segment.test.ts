/** Segment's HTTP API: what each call becomes in ClickHouse, field by field. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type Collector, startCollector } from '../support/collector.ts'

type Row = Record<string, unknown>

let collector: Collector

beforeAll(async () => {
  collector = await startCollector()
})

afterAll(async () => {
  expect(collector.lines.filter(({ level }) => /error|fatal/.test(level))).toEqual([])
  await collector.stop()
  collector.home.remove()
})

const send = (path: string, body: unknown) => collector.post(JSON.stringify(body), {}, path)

/** A user that no other test has, to find a test's rows again. */
const newUser = () => `user ${crypto.randomUUID()}`

async function rowsOf(userId: string): Promise<Row[]> {
  await collector.flushed()
  return collector.rows(`SELECT * FROM events WHERE user_id = '${userId}' ORDER BY occurred_at, message_id`)
}

/** Sends calls as one batch and gives their rows. */
async function rowsOfBatch(userId: string, batch: readonly object[], more: object = {}): Promise<Row[]> {
  const response = await send('/v1/batch', { batch: batch.map((call) => ({ userId, ...call })), ...more })
  expect([response.status, await response.text()]).toEqual([200, '{"success":true}'])
  const rows = await rowsOf(userId)
  expect(rows).toHaveLength(batch.length)
  return rows
}

/** The one row of a call. */
async function rowOf(call: object, more: object = {}): Promise<Row> {
  const [row] = await rowsOfBatch(newUser(), [call], more)
  return row ?? {}
}

test('a track call with every field is answered with 200 and stored column by column', async () => {
  const userId = newUser()
  const call = {
    event: 'Order Completed',
    userId,
    anonymousId: 'anonymous ä',
    messageId: 'message-1',
    properties: { revenue: 49.9, count: 3, coupon: null, products: [{ sku: 's1' }], tags: ['a', 'ü'], url: 'kept' },
    context: {
      ip: '203.0.113.9',
      userAgent:
        'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36',
      locale: 'de-AT',
      sessionId: 1_655_993_987,
      sessionStart: true,
      page: {
        url: 'https://shop.test/a/b?c=d#e',
        path: '/a/b',
        title: 'Title',
        referrer: 'https://www.search.test/?q=x',
        search: '?c=d',
      },
      campaign: { name: 'spring' },
      library: { name: 'analytics.js', version: '2.11.1' },
      traits: { plan: 'pro' },
      groupId: 'company-3',
    },
    integrations: { All: true, Mixpanel: false },
    timestamp: '2026-11-20T08:09:10.123+02:00',
    type: 'page',
    _metadata: { nodeVersion: '20' },
    anything: 'else',
  }
  const before = Date.now()
  const response = await send('/v1/track', call)
  expect([response.status, await response.text()]).toEqual([200, '{"success":true}'])
  const [row] = await rowsOf(userId)
  expect(row).toMatchObject({
    event_id: Bun.randomUUIDv5('message-1', '6f0f3a52-7d7a-4b0e-9a3c-52c4a1c9f7be'),
    message_id: 'message-1',
    type: 'Order Completed',
    protocol: 'segment',
    occurred_at: '2026-11-20 06:09:10.123',
    session_id: '1655993987',
    user_id: userId,
    anonymous_id: 'anonymous ä',
    url: 'https://shop.test/a/b?c=d#e',
    path: '/a/b',
    referrer: 'https://www.search.test/?q=x',
    referrer_host: 'search.test',
    title: 'Title',
    locale: 'de-AT',
    browser: 'Chrome',
    os: 'macOS',
    device: 'desktop',
    ip: '::ffff:203.0.113.9',
    schema_version: '1',
  })
  expect(row?.user_agent).toBe(call.context.userAgent)
  expect(row?.properties).toEqual({
    revenue: 49.9,
    count: '3',
    products: [{ sku: 's1' }],
    tags: ['a', 'ü'],
    url: 'kept',
  })
  expect(row?.context).toEqual({
    sessionStart: true,
    page: { search: '?c=d' },
    campaign: { name: 'spring' },
    library: { name: 'analytics.js', version: '2.11.1' },
    traits: { plan: 'pro' },
    groupId: 'company-3',
  })
  const receivedAt = Date.parse(`${row?.received_at}Z`)
  expect(receivedAt).toBeGreaterThanOrEqual(before)
  expect(receivedAt).toBeLessThanOrEqual(Date.now())
})

const PAGE = { url: 'https://shop.test/cart?x=1', title: 'Cart', referrer: 'https://a.test/' }

test.each<[string, call: object, row: object]>([
  ['track', { event: 'Signed Up', properties: { plan: 'pro' } }, { type: 'Signed Up', properties: { plan: 'pro' } }],
  ['track', { event: 'Signed Up' }, { type: 'Signed Up', properties: {} }],
  [
    'identify',
    { traits: { email: 'a@b.test', age: 3 } },
    { type: 'identify', properties: { email: 'a@b.test', age: '3' } },
  ],
  ['page', { name: 'Home', category: 'Docs' }, { type: 'pageview', properties: { name: 'Home', category: 'Docs' } }],
  [
    'page',
    { properties: PAGE },
    { type: 'pageview', ...PAGE, path: '/cart', referrer_host: 'a.test', properties: PAGE },
  ],
  ['screen', { name: 'Home', properties: { n: 1 } }, { type: 'screen', properties: { name: 'Home', n: '1' }, url: '' }],
  [
    'group',
    { groupId: 'g1', traits: { name: 'Initech' } },
    { type: 'group', properties: { groupId: 'g1', name: 'Initech' } },
  ],
  ['alias', { previousId: 'old' }, { type: 'alias', properties: { previousId: 'old' } }],
])('a call of type %s, %j, becomes %j, alone and in a batch', async (type, call, expected) => {
  const userId = newUser()
  expect((await send(`/v1/${type}`, { userId, ...call })).status).toBe(200)
  const inBatch = { batch: [{ type, userId, ...call }] }
  for (const path of ['/v1/batch', '/batch', '/v1/import', '/v1/batch/'])
    expect((await send(path, inBatch)).status).toBe(200)
  const rows = await rowsOf(userId)
  expect(rows).toHaveLength(5)
  for (const row of rows) expect(row).toMatchObject(expected)
})

test('what stands beside the properties goes before what is in them', async () => {
  expect(await rowOf({ type: 'page', name: 'outer', properties: { name: 'inner', n: 1 } })).toMatchObject({
    properties: { name: 'outer', n: '1' },
  })
  expect(await rowOf({ type: 'group', groupId: 'outer', traits: { groupId: 'inner' } })).toMatchObject({
    properties: { groupId: 'outer' },
  })
})

test('a page call’s own properties say which page it was, not the context', async () => {
  const context = {
    page: { url: 'https://shop.test/context', path: '/context', title: 'Context', referrer: 'https://r.test/' },
  }
  const properties = { url: 'https://shop.test/properties', title: 'Properties' }
  expect(await rowOf({ type: 'page', properties, context })).toMatchObject({
    url: properties.url,
    path: '/properties',
    title: 'Properties',
    referrer: 'https://r.test/',
    properties,
    context: {},
  })
  expect(await rowOf({ type: 'page', context })).toMatchObject({ url: 'https://shop.test/context', path: '/context' })
  expect(await rowOf({ type: 'track', event: 'x', properties, context })).toMatchObject({ title: 'Context' })
})

test('traits in the context of an identify call are traits; those of the call go before; in other calls they are context', async () => {
  const context = { traits: { plan: 'free', age: 5 }, library: { name: 'l' } }
  expect(await rowOf({ type: 'identify', traits: { plan: 'pro' }, context })).toMatchObject({
    properties: { plan: 'pro', age: '5' },
    context: { library: { name: 'l' } },
  })
  const [first, second] = await rowsOfBatch(newUser(), [
    { type: 'identify', messageId: 'a', timestamp: '2026-01-01', context },
    { type: 'track', event: 'x', messageId: 'b', timestamp: '2026-01-02', context },
  ])
  expect(first).toMatchObject({ properties: { plan: 'free', age: '5' }, context: { library: { name: 'l' } } })
  expect(second).toMatchObject({ properties: {}, context: { traits: { plan: 'free', age: '5' } } })
})

test('the context of a batch holds for every call, and what a call says goes before, key by key', async () => {
  const context = {
    ip: '203.0.113.1',
    locale: 'en',
    app: { name: 'app', version: '1' },
    page: { url: 'https://a.test/x' },
  }
  const own = { locale: 'de', app: { version: '2' }, page: { title: 'T' }, timezone: 'Europe/Vienna' }
  const calls = [
    { type: 'track', event: 'x', timestamp: '2026-01-01' },
    { type: 'track', event: 'x', timestamp: '2026-01-02', context: own },
    { type: 'track', event: 'x', timestamp: '2026-01-03', context: null },
  ]
  const [plain, merged, nothing] = await rowsOfBatch(newUser(), calls, { context })
  const common = { ip: '::ffff:203.0.113.1', url: 'https://a.test/x', path: '/x' }
  expect(plain).toMatchObject({ ...common, locale: 'en', title: '' })
  expect(plain?.context).toEqual({ app: { name: 'app', version: '1' } })
  expect(nothing).toMatchObject({ ...common, locale: 'en', context: plain?.context })
  expect(merged).toMatchObject({ ...common, locale: 'de', title: 'T' })
  expect(merged?.context).toEqual({ app: { name: 'app', version: '2' }, timezone: 'Europe/Vienna' })
})

test('what of a context is not as it should be stays there, and the call is taken', async () => {
  const context = {
    ip: '::g',
    userAgent: 5,
    locale: 'x'.repeat(65),
    sessionId: 'x'.repeat(257),
    page: { url: 7, title: null, referrer: ['r'], path: '/p' },
    channel: 'mobile',
  }
  const row = await rowOf({ type: 'track', event: 'x', context, channel: 'server' })
  expect(row).toMatchObject({ ip: '::ffff:127.0.0.1', locale: '', session_id: '', url: '', path: '/p', referrer: '' })
  expect(row.user_agent).not.toBe('5')
  expect(row.context).toEqual({ ...context, userAgent: '5', page: { url: '7', referrer: ['r'] } })
  expect(await rowOf({ type: 'screen', context: { page: 'here', sessionId: 'abc' } })).toMatchObject({
    session_id: 'abc',
    context: { page: 'here' },
  })
})

test('ids may be numbers, exactly; null and the empty text are no ids', async () => {
  const [large, digits] = ['9007199254740993', '1655993987123']
  const body = `{"batch":[{"type":"group","userId":"U","anonymousId":${large},"groupId":${digits},"messageId":17,
    "traits":{"n":${large}}}],"context":{"device":{"id":${large}}}}`
  const userId = newUser()
  expect((await collector.post(body.replace('"U"', JSON.stringify(userId)), {}, '/v1/batch')).status).toBe(200)
  const [row] = await rowsOf(userId)
  expect(row).toMatchObject({ anonymous_id: large, message_id: '17', properties: { groupId: digits, n: large } })
  expect(row).toMatchObject({ context: { device: { id: large } } })

  const anonymousId = crypto.randomUUID()
  const calls = [null, ''].map((nothing) => {
    return { type: 'identify', userId: nothing, messageId: nothing, anonymousId, traits: nothing === null ? null : {} }
  })
  expect((await send('/v1/batch', { batch: calls })).status).toBe(200)
  await collector.flushed()
  const rows = await collector.rows(`SELECT * FROM events WHERE anonymous_id = '${anonymousId}'`)
  expect(rows).toHaveLength(2)
  for (const one of rows) expect(one).toMatchObject({ user_id: '', message_id: '', properties: {} })
  expect(new Set(rows.map((one) => one.event_id)).size).toBe(2)
})

const HOUR = 3_600_000
const at = (ms: number) => new Date(ms).toISOString()
/** How long before its receipt a call happened, in milliseconds. */
const age = (row: Row) => Date.parse(`${row.received_at}Z`) - Date.parse(`${row.occurred_at}Z`)

test('the time of a call is corrected by how far the client’s clock is off', async () => {
  const call = { type: 'track', event: 'x' }
  const ages = [0, -HOUR, HOUR, -Date.now()].flatMap((skew) => {
    const sentAt = at(Date.now() + skew)
    const original = at(Date.parse(sentAt) - 5_000)
    const times: [ofCall: object, ofBatch: object][] = [
      [{ originalTimestamp: original }, { sentAt }],
      [{ timestamp: original }, { sentAt }],
      [{ originalTimestamp: original, sentAt }, { sentAt: at(0) }],
      [{ originalTimestamp: original, timestamp: at(9_000) }, { sentAt }],
    ]
    return times.map(async ([ofCall, ofBatch]) => age(await rowOf({ ...call, ...ofCall }, ofBatch)))
  })
  expect(await Promise.all(ages)).toEqual(Array(16).fill(5_000))
})

test('without a time it happened now, and without the time it was sent the client’s time holds', async () => {
  expect(age(await rowOf({ type: 'page' }))).toBe(0)
  expect(age(await rowOf({ type: 'page' }, { sentAt: at(0) }))).toBe(0)
  const timestamp = '2026-01-02T03:04:05.678Z'
  const sentAts = [undefined, null, 'yesterday', 5, '', true]
  const rows = await Promise.all(sentAts.map((sentAt) => rowOf({ type: 'page', timestamp, sentAt }, { sentAt })))
  for (const row of rows) expect(row.occurred_at).toBe('2026-01-02 03:04:05.678')
})

test('a time that the caller gave to a library of RudderStack’s holds as it is', async () => {
  const now = Date.now()
  const call = { type: 'track', event: 'x', channel: 'server', originalTimestamp: at(now - 1_000), sentAt: at(now) }
  const row = await rowOf({ ...call, timestamp: '2020-01-02T03:04:05.678Z' }, { timestamp: at(now), sentAt: at(now) })
  expect(row).toMatchObject({ occurred_at: '2020-01-02 03:04:05.678', context: { channel: 'server' } })
})

test('a time in the future is replaced by the server’s, with a warning', async () => {
  const userId = newUser()
  const response = await send('/v1/track', { userId, event: 'x', timestamp: '2199-01-01T00:00:00Z' })
  expect(response.status).toBe(200)
  expect(await response.json()).toMatchObject({
    success: true,
    accepted: 1,
    warnings: [{ index: 0, code: 'timestamp_in_future' }],
  })
  const [row] = await rowsOf(userId)
  expect(row?.occurred_at).toBe(String(row?.received_at))
})

test('the schema version comes from the header', async () => {
  const userId = newUser()
  const body = JSON.stringify({ userId, event: 'x' })
  expect((await collector.post(body, { 'x-event-schema-version': '2026-2' }, '/v1/track')).status).toBe(200)
  expect(await rowsOf(userId)).toMatchObject([{ schema_version: '2026-2' }])
})

test('calls with the same messageId are one, in a batch and in several', async () => {
  const userId = newUser()
  const [text, uuid] = [crypto.randomUUID().slice(1), crypto.randomUUID()]
  const batch = [text, uuid, text].map((messageId) => ({ type: 'track', event: 'x', userId, messageId }))
  for (let n = 0; n < 2; n++) expect(await (await send('/v1/batch', { batch })).text()).toBe('{"success":true}')
  expect((await send('/v1/track', batch[0])).status).toBe(200)
  expect((await rowsOf(userId)).map((row) => row.message_id)).toEqual(['', text])
})
