/** The wire contract of `POST /v1/events`: what is answered, and what is then in ClickHouse. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type Collector, startCollector } from '../support/collector.ts'
import { makeDraft, makeDrafts } from '../support/event-drafts.ts'

const UUID_V5 = /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
/** Longer texts of properties are cut. */
const TEXT_CHARS_MAX = 10_240
const NDJSON = { 'content-type': 'application/x-ndjson' }

let collector: Collector

beforeAll(async () => {
  collector = await startCollector()
})

afterAll(async () => {
  await collector.stop()
  collector.home.remove()
})

/** A type that no other test uses, to find a test's rows again. */
const newType = () => `test ${crypto.randomUUID()}`

async function rowsOf(type: string): Promise<Record<string, unknown>[]> {
  await collector.flushed()
  return collector.rows(`SELECT * FROM events WHERE type = '${type}' ORDER BY occurred_at, toString(properties)`)
}

test('an event with every field is answered with 201 and stored column by column', async () => {
  const type = newType()
  const event = {
    type,
    timestamp: '2026-11-20T08:09:10.123+02:00',
    session_id: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b',
    event_id: '0190A1B2-c3d4-4e5f-8a9b-0c1d2e3f4a5c',
    user_id: 'user 1',
    anonymous_id: 'anonymous ä',
    schema_version: '2026-1',
    properties: {
      plan: 'pro',
      amount: 12.5,
      count: 3,
      ok: true,
      nothing: null,
      tags: ['a', 'ü', '😀'],
      cart: { id: 'c1', lines: [{ sku: 's1' }] },
    },
    context: {
      ip: '203.0.113.9',
      user_agent: 'Agent/1.0',
      locale: 'de-AT',
      page_url: 'https://shop.test/a/b?c=d#e',
      page_title: 'Title',
      referrer: 'https://search.test/?q=x',
      app: { version: '1.2' },
    },
  }
  const before = Date.now()
  const response = await collector.postEvents([event])
  expect(response.status).toBe(201)
  expect(response.headers.get('content-type')).toStartWith('application/json')
  expect(await response.json()).toEqual({ accepted: 1, rejected: 0 })

  const [row] = await rowsOf(type)
  expect(row).toMatchObject({
    tenant_id: 'default',
    workspace_id: 'default',
    event_id: event.event_id.toLowerCase(),
    message_id: '',
    type,
    protocol: 'v1/events',
    occurred_at: '2026-11-20 06:09:10.123',
    session_id: event.session_id,
    user_id: 'user 1',
    anonymous_id: 'anonymous ä',
    url: 'https://shop.test/a/b?c=d#e',
    referrer: 'https://search.test/?q=x',
    title: 'Title',
    locale: 'de-AT',
    user_agent: 'Agent/1.0',
    ip: '::ffff:203.0.113.9',
    schema_version: '2026-1',
    context: { app: { version: '1.2' } },
  })
  expect(row?.properties).toEqual({
    plan: 'pro',
    amount: 12.5,
    count: '3',
    ok: true,
    tags: ['a', 'ü', '😀'],
    cart: { id: 'c1', lines: [{ sku: 's1' }] },
  })
  const receivedAt = Date.parse(`${row?.received_at}Z`)
  expect(receivedAt).toBeGreaterThanOrEqual(before)
  expect(receivedAt).toBeLessThanOrEqual(Date.now())
})

test('what an event leaves out comes from the request, or is empty', async () => {
  const type = newType()
  const timestamp = new Date().toISOString()
  expect((await collector.postEvents([makeDraft({ type, timestamp })], { 'user-agent': 'Test/2' })).status).toBe(201)
  const [row] = await rowsOf(type)
  const occurredAt = timestamp.replace('T', ' ').replace('Z', '')
  expect(row).toMatchObject({ occurred_at: occurredAt, user_agent: 'Test/2', ip: '::ffff:127.0.0.1' })
  expect(row).toMatchObject({ schema_version: '1', user_id: '', anonymous_id: '', message_id: '', locale: '' })
  expect(row).toMatchObject({ url: '', referrer: '', title: '', properties: {}, context: {} })
  expect(row?.event_id).toMatch(UUID_V7)
})

test('of a mixed batch the good events are stored, and each bad one is told with index, code and path', async () => {
  const type = newType()
  const bad: [unknown, string][] = [
    [{}, 'type'],
    [null, ''],
    [5, ''],
    [[], ''],
    [makeDraft({ type: '' }), 'type'],
    [makeDraft({ type: 'x'.repeat(101) }), 'type'],
    [makeDraft({ type: 7 }), 'type'],
    [makeDraft({ timestamp: 'yesterday' }), 'timestamp'],
    [makeDraft({ timestamp: 1_790_000_000_000 }), 'timestamp'],
    [makeDraft({ session_id: 'abc' }), 'session_id'],
    [makeDraft({ session_id: null }), 'session_id'],
    [makeDraft({ event_id: '' }), 'event_id'],
    [makeDraft({ user_id: 12 }), 'user_id'],
    [makeDraft({ anonymous_id: 'x'.repeat(257) }), 'anonymous_id'],
    [makeDraft({ properties: [] }), 'properties'],
    [makeDraft({ properties: undefined }), 'properties'],
    [makeDraft({ context: 'here' }), 'context'],
    [makeDraft({ context: { ip: 'localhost' } }), 'context.ip'],
    [makeDraft({ context: { locale: 5 } }), 'context.locale'],
    [makeDraft({ schema_version: '' }), 'schema_version'],
  ]
  const good = [makeDraft({ type, properties: { n: 1 } }), makeDraft({ type, properties: { n: 2 } })]
  const response = await collector.postEvents([good[0], ...bad.map(([event]) => event), good[1]] as object[])
  expect(response.status).toBe(201)
  const receipt = (await response.json()) as { errors: Record<string, unknown>[] }
  expect(receipt).toMatchObject({ accepted: 2, rejected: bad.length })
  expect(receipt).not.toHaveProperty('warnings')
  expect(receipt.errors.map(({ index, code, path }) => ({ index, code, path }))).toEqual(
    bad.map(([, path], index) => ({ index: index + 1, code: 'invalid_event', path })),
  )
  for (const { message } of receipt.errors) expect(message).toMatch(/^expected .+, got /)
  expect((await rowsOf(type)).map((row) => row.properties)).toEqual([{ n: '1' }, { n: '2' }])
})

test('a request without any good event is 400 with the details of each', async () => {
  const response = await collector.postEvents([makeDraft({ type: 3 }), makeDraft({ timestamp: '' })])
  expect(response.status).toBe(400)
  const { error } = (await response.json()) as { error: Record<string, unknown> }
  expect(error).toMatchObject({ code: 'invalid_event', request_id: response.headers.get('x-request-id') })
  expect(error.details).toMatchObject([
    { index: 0, path: 'type' },
    { index: 1, path: 'timestamp' },
  ])
})

test.each(['{}', 'null', '[]', '7', '"events"', '{"events":{}}', '{"events":[]}', '{"Events":[{}]}'])(
  'a body of another shape, such as %s, is 400 and says what was expected',
  async (body) => {
    const response = await collector.post(body)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { code: 'invalid_event', details: [{ path: 'events' }] } })
  },
)

test('a time in the future is replaced by the server’s, with a warning', async () => {
  const type = newType()
  const before = Date.now()
  const response = await collector.postEvents([makeDraft({ type, timestamp: '2199-01-01T00:00:00Z' })])
  expect(response.status).toBe(201)
  expect(await response.json()).toMatchObject({ accepted: 1, warnings: [{ index: 0, code: 'timestamp_in_future' }] })
  const [row] = await rowsOf(type)
  expect(row?.occurred_at).toBe(row?.received_at)
  expect(Date.parse(`${row?.occurred_at}Z`)).toBeGreaterThanOrEqual(before)
})

test('string values over 10 KB are cut between characters, with a warning each', async () => {
  const type = newType()
  const properties = { exact: 'x'.repeat(10_240), ascii: 'x'.repeat(10_241), deep: { wide: ['ü'.repeat(6_000)] } }
  const response = await collector.postEvents([makeDraft({ type }), makeDraft({ type, properties })])
  expect(response.status).toBe(201)
  const { warnings } = (await response.json()) as { warnings: { index: number; code: string; message: string }[] }
  expect(warnings.map(({ index, code }) => [index, code])).toEqual([
    [1, 'property_truncated'],
    [1, 'property_truncated'],
  ])
  const stored = (await rowsOf(type)).map((row) => row.properties)
  const cut = { exact: properties.exact, ascii: 'x'.repeat(10_240), deep: { wide: ['ü'.repeat(5_120)] } }
  expect(stored).toContainEqual(cut)
})

test('an id that is a UUID is kept, another text gives a stable UUIDv5 and is kept too, without one a UUIDv7 is made', async () => {
  const type = newType()
  const uuid = crypto.randomUUID()
  const ids = [uuid, 'order-17', 'order-18', 'ä'.repeat(256), undefined, undefined]
  const events = ids.map((event_id, n) => makeDraft({ type, event_id, properties: { n } }))
  expect((await collector.postEvents(events)).status).toBe(201)
  const rows = new Map((await rowsOf(type)).map((row) => [Number((row.properties as { n: string }).n), row]))
  const eventIds = ids.map((_, n) => String(rows.get(n)?.event_id))
  expect(ids.map((_, n) => rows.get(n)?.message_id)).toEqual(['', 'order-17', 'order-18', ids[3], '', ''])
  expect(eventIds[0]).toBe(uuid)
  for (const n of [1, 2, 3]) expect(eventIds[n]).toMatch(UUID_V5)
  expect(eventIds[1]).toBe(Bun.randomUUIDv5('order-17', '6f0f3a52-7d7a-4b0e-9a3c-52c4a1c9f7be'))
  for (const n of [4, 5]) expect(eventIds[n]).toMatch(UUID_V7)
  expect(new Set(eventIds).size).toBe(6)
})

test.each(['application/json', 'application/x-ndjson'])(
  'integers beyond 2^53 are read back exactly (%s)',
  async (contentType) => {
    const type = newType()
    const integers = ['9007199254740993', '-9007199254740993', '9223372036854775807', '-9223372036854775808']
    const unsigned = '18446744073709551615'
    const properties = `{"one":${integers[0]},"list":[${integers.join(',')}],"unsigned":${unsigned},"deep":{"id":${integers[2]}}}`
    const event = JSON.stringify(makeDraft({ type, properties: 'P' })).replace('"P"', properties)
    const body = contentType === 'application/json' ? `{"events":[${event}]}` : `${event}\n`
    expect((await collector.post(body, { 'content-type': contentType })).status).toBe(201)
    const [row] = await rowsOf(type)
    expect(row?.properties).toEqual({ one: integers[0], list: integers, unsigned, deep: { id: integers[2] } })
  },
)

test('the schema version comes from the event, else from the header, else it is 1', async () => {
  const type = newType()
  const versions = { 'x-event-schema-version': '7' }
  const own = makeDraft({ type, schema_version: '8', properties: { n: 1 } })
  await collector.postEvents([own, makeDraft({ type, properties: { n: 2 } })], versions)
  await collector.postEvents([makeDraft({ type, properties: { n: 3 } })])
  const rows = await rowsOf(type)
  const pairs = rows.map((row) => [(row.properties as { n: string }).n, row.schema_version])
  expect(Object.fromEntries(pairs)).toEqual({ '1': '8', '2': '7', '3': '1' })
})

test('a sane request id is kept, another one is made, and both are in errors too', async () => {
  const kept = await collector.post('{', { 'x-request-id': 'abc-123:4.5_6' })
  expect(kept.headers.get('x-request-id')).toBe('abc-123:4.5_6')
  expect(await kept.json()).toMatchObject({ error: { request_id: 'abc-123:4.5_6' } })
  const ids = new Set<string>()
  for (const given of ['', 'a b', '-x', 'x'.repeat(129), '<script>']) {
    const made = await collector.postEvents([makeDraft()], { 'x-request-id': given })
    const id = made.headers.get('x-request-id') ?? ''
    expect(id).toMatch(/^[0-9a-z]{1,13}$/)
    ids.add(id)
  }
  expect(ids.size).toBe(5)
})

test('the path may be written with a slash at its end, and with a query', async () => {
  const type = newType()
  for (const path of ['/v1/events', '/v1/events/', '/v1/events?a=b', '/v1/events/?a=b']) {
    const response = await fetch(`${collector.url}${path}`, {
      method: 'POST',
      headers: { 'api-key': collector.key },
      body: JSON.stringify({ events: [makeDraft({ type })] }),
    })
    expect([path, response.status]).toEqual([path, 201])
  }
  expect(await rowsOf(type)).toHaveLength(4)
})

test.each(['text/plain', 'application/x-www-form-urlencoded', 'application/json; charset=utf-8', 'image/png', ''])(
  'the content type %j is not believed: the body is JSON',
  async (contentType) => {
    const response = await collector.postEvents([makeDraft()], { 'content-type': contentType })
    expect(await response.json()).toEqual({ accepted: 1, rejected: 0 })
  },
)

test('NDJSON takes one event a line: empty lines, CRLF, and a last line without its end', async () => {
  const type = newType()
  const lines = [0, 1, 2].map((n) => JSON.stringify(makeDraft({ type, properties: { n } })))
  const response = await collector.post(`\n${lines[0]}\r\n\r\n\n${lines[1]}\n${lines[2]}`, NDJSON)
  expect(response.status).toBe(201)
  expect(await response.json()).toEqual({ accepted: 3, rejected: 0 })
  expect((await rowsOf(type)).map((row) => row.properties)).toEqual([{ n: '0' }, { n: '1' }, { n: '2' }])
})

test.each(['', '\n', '\r\n\n'])('NDJSON without an event is 400: %j', async (body) => {
  const message = 'expected at least one event, one a line'
  for (const [sent, headers] of [
    [body, NDJSON],
    [Bun.gzipSync(body), { ...NDJSON, 'content-encoding': 'gzip' }],
  ] as const) {
    const response = await collector.post(sent, headers)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { code: 'invalid_event', message } })
  }
})

test('NDJSON is read until too many of its lines are no JSON, and what was good before stays', async () => {
  const good = () => JSON.stringify(makeDraft())
  const broken = Array.from({ length: 1_000 }, () => '{')
  const few = await collector.post([good(), ...broken, good()].join('\n'), NDJSON)
  expect(few.status).toBe(201)
  expect(await few.json()).toMatchObject({ accepted: 2, rejected: 1_000 })
  const many = await collector.post([good(), ...broken, good(), '{', good()].join('\n'), NDJSON)
  expect(many.status).toBe(400)
  const { error } = (await many.json()) as { error: { details: unknown[] } }
  expect(error).toMatchObject({ code: 'malformed_json', message: expect.stringContaining('1000 lines'), accepted: 2 })
  expect(error.details[0]).toMatchObject({ index: 1, path: '' })
  expect(error.details).toHaveLength(100)
})

test('NDJSON of many short lines tells each by its number', async () => {
  const short = Array.from({ length: 9_999 }, (_, n) => (n % 3 === 0 ? '' : '7'))
  const late = JSON.stringify(makeDraft({ timestamp: '2199-01-01' }))
  const response = await collector.post([...short, late].join('\n'), NDJSON)
  expect(response.status).toBe(201)
  expect(await response.json()).toMatchObject({
    accepted: 1,
    rejected: 6_666,
    warnings: [{ index: 9_999, code: 'timestamp_in_future' }],
  })
})

test('NDJSON tells bad lines by their number, also malformed ones, and takes the others', async () => {
  const good = JSON.stringify(makeDraft())
  const late = JSON.stringify(makeDraft({ timestamp: '2199-01-01' }))
  const response = await collector.post([good, '', '{"type":', '{}', late, '7'].join('\n'), NDJSON)
  expect(response.status).toBe(201)
  expect(await response.json()).toMatchObject({
    accepted: 2,
    rejected: 3,
    errors: [
      { index: 2, code: 'malformed_json', path: '' },
      { index: 3, code: 'invalid_event', path: 'type' },
      { index: 5, code: 'invalid_event', path: '' },
    ],
    warnings: [{ index: 4, code: 'timestamp_in_future' }],
  })
})

test('NDJSON is cut into batches between lines, however long they are and however they come', async () => {
  const type = newType()
  const sizes = [300_000, 10, 131_000, 500_000, 1, 70_000, 200_000, 90_000]
  const line = (n: number) =>
    JSON.stringify(makeDraft({ type, properties: { n, text: 'x'.repeat(sizes[n % 8] ?? 0) } }))
  const lines = Array.from({ length: 24 }, (_, n) => line(n))
  lines[11] = '{"type":'
  const body = lines.join('\n')
  const pieces = [body.slice(0, 100), body.slice(100, -500_000), body.slice(-500_000)]
  const slowly = async function* () {
    for (const piece of pieces) yield await Bun.sleep(20).then(() => Buffer.from(piece))
  }
  for (const sent of [body, slowly()]) {
    const response = await collector.post(sent as RequestInit['body'], NDJSON)
    expect(response.status).toBe(201)
    expect(await response.json()).toMatchObject({
      accepted: 23,
      rejected: 1,
      errors: [{ index: 11, code: 'malformed_json' }],
    })
  }
  const counts = `SELECT toUInt32(properties.n::String) AS n, length(properties.text::String) AS size, count() AS events`
  await collector.flushed()
  const rows = await collector.rows(`${counts} FROM events WHERE type = '${type}' GROUP BY ALL ORDER BY n`)
  const taken = lines.flatMap((_, n) =>
    n === 11 ? [] : [{ n, size: Math.min(sizes[n % 8] ?? 0, TEXT_CHARS_MAX), events: 2 }],
  )
  expect(rows.map(({ n, size, events }) => ({ n: Number(n), size: Number(size), events: Number(events) }))).toEqual(
    taken as never,
  )
})

test('NDJSON of many batches is stored line for line, and lists its first 100 errors', async () => {
  const type = newType()
  const lines = makeDrafts(10_000).map((event, n) => (n % 50 === 49 ? '{}' : JSON.stringify({ ...event, type })))
  const response = await collector.post(lines.join('\n'), NDJSON)
  expect(response.status).toBe(201)
  const receipt = (await response.json()) as { errors: { index: number }[] }
  expect(receipt).toMatchObject({ accepted: 9_800, rejected: 200 })
  expect(receipt.errors.map(({ index }) => index)).toEqual(Array.from({ length: 100 }, (_, n) => n * 50 + 49))
  await collector.flushed()
  const sql = `SELECT count() AS events, uniqExact(properties.n) AS different FROM events WHERE type = '${type}'`
  expect(await collector.rows(sql)).toEqual([{ events: '9800', different: '9800' }])
})
