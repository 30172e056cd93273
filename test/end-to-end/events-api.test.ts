/** The wire contract of `POST /events`: what is answered, and what is then in ClickHouse. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { runJson } from '../cli/run-cli.ts'
import { type Collector, startCollector } from '../support/collector.ts'

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const TYPES = [
  'session_start',
  'page_view',
  'search',
  'purchase',
  'add_to_cart',
  'remove_from_cart',
  'button_click',
  'form_submit',
  'video_play',
  'video_pause',
]

let collector: Collector

beforeAll(async () => {
  collector = await startCollector()
})

afterAll(async () => {
  await collector.stop()
  collector.home.remove()
})

const newUser = () => `user ${crypto.randomUUID()}`
const makeEvent = (changes: object = {}) => ({ userId: 'u', sessionId: 's', type: 'page_view', ...changes })

interface Answer {
  readonly message: string
  readonly count: number
  readonly eventIds: string[]
  readonly errors?: { index: number; path: string }[]
}

async function send(body: unknown, headers?: Record<string, string>): Promise<{ status: number; answer: Answer }> {
  const response = await collector.post(JSON.stringify(body), headers, '/events')
  return { status: response.status, answer: (await response.json()) as Answer }
}

async function rowsOf(userId: string): Promise<Record<string, unknown>[]> {
  await collector.flushed()
  return collector.rows(`SELECT * FROM events WHERE user_id = '${userId}' ORDER BY occurred_at, toString(properties)`)
}

test('one event is stored column by column, and the answer names its id', async () => {
  const userId = newUser()
  const event = {
    userId,
    sessionId: 'session 1',
    type: 'purchase',
    payload: { amount: 12.5, url: 'https://shop.example/', lines: [{ sku: 's1' }] },
    occurredAt: '2026-11-20T08:09:10.123+02:00',
    eventId: crypto.randomUUID(),
  }
  const { status, answer } = await send(event, { 'x-event-schema-version': '7' })
  expect(status).toBe(202)
  expect(answer).toEqual({ message: 'all events were taken', count: 1, eventIds: [event.eventId] })
  expect(await rowsOf(userId)).toMatchObject([
    {
      tenant_id: 'default',
      workspace_id: 'default',
      event_id: event.eventId,
      message_id: '',
      type: 'purchase',
      protocol: 'events',
      occurred_at: '2026-11-20 06:09:10.123',
      session_id: 'session 1',
      user_id: userId,
      anonymous_id: '',
      url: '',
      schema_version: '7',
      properties: { amount: 12.5, url: 'https://shop.example/', lines: [{ sku: 's1' }] },
    },
  ])
})

test('every type of the contract is taken, in one array; ids come back in its order, made ones too', async () => {
  const userId = newUser()
  const ids = ['order-1', undefined, crypto.randomUUID().toUpperCase(), undefined]
  const events = TYPES.map((type, n) => makeEvent({ userId, type, eventId: ids[n], payload: { n } }))
  const { status, answer } = await send(events)
  expect(status).toBe(202)
  expect(answer).toMatchObject({ count: TYPES.length, message: 'all events were taken' })
  expect(answer.eventIds).toEqual(TYPES.map((_, n) => ids[n] ?? expect.stringMatching(UUID_V7)))
  const rows = await rowsOf(userId)
  expect(rows.map((row) => row.type)).toEqual(TYPES)
  const stored = rows.map((row) => row.message_id || row.event_id)
  expect(stored).toEqual(answer.eventIds.map((id) => (id === 'order-1' ? id : id.toLowerCase())))
  expect(rows.every((row) => row.occurred_at === row.received_at)).toBe(true)
})

test.each([
  [1_790_000_000_123, '2026-09-21 14:13:20.123'],
  [1_790_000_000_123.9, '2026-09-21 14:13:20.123'],
  [-1, '1969-12-31 23:59:59.999'],
  ['2026-11-20', '2026-11-20 00:00:00.000'],
])('occurredAt may be %j', async (occurredAt, stored) => {
  const userId = newUser()
  expect((await send(makeEvent({ userId, occurredAt }))).status).toBe(202)
  expect(await rowsOf(userId)).toMatchObject([{ occurred_at: stored }])
})

test('a time in the future is replaced by the server’s, with a warning', async () => {
  const userId = newUser()
  const { status, answer } = await send(makeEvent({ userId, occurredAt: Date.now() + 3_600_000 }))
  expect(status).toBe(202)
  expect(answer).toMatchObject({ count: 1, warnings: [{ index: 0, code: 'timestamp_in_future' }] })
  const [row] = await rowsOf(userId)
  expect(row?.occurred_at).toBe(row?.received_at)
})

const BAD: [unknown, string, string][] = [
  [5, '', 'expected object, got 5'],
  [null, '', 'expected object, got null'],
  [[], '', 'expected object, got an array'],
  [makeEvent({ userId: undefined }), 'userId', 'expected required property'],
  [makeEvent({ userId: '' }), 'userId', 'expected string length greater or equal to 1'],
  [makeEvent({ userId: 5 }), 'userId', 'expected string, got 5'],
  [makeEvent({ userId: 'x'.repeat(257) }), 'userId', 'expected string length less or equal to 256'],
  [makeEvent({ sessionId: undefined }), 'sessionId', 'expected required property'],
  [makeEvent({ sessionId: null }), 'sessionId', 'expected string, got null'],
  [makeEvent({ type: undefined }), 'type', 'expected required property'],
  [makeEvent({ type: 'pageview' }), 'type', `expected one of ${TYPES.join(', ')}, got "pageview"`],
  [makeEvent({ type: 'constructor' }), 'type', 'expected one of'],
  [makeEvent({ payload: [] }), 'payload', 'expected object, got an array'],
  [makeEvent({ payload: null }), 'payload', 'expected object, got null'],
  [makeEvent({ occurredAt: 'yesterday' }), 'occurredAt', 'expected an ISO 8601 time or milliseconds'],
  [makeEvent({ occurredAt: 1e300 }), 'occurredAt', 'expected an ISO 8601 time or milliseconds'],
  [makeEvent({ occurredAt: 1_790_000_000 }), 'occurredAt', 'expected an ISO 8601 time or milliseconds'],
  [makeEvent({ occurredAt: true }), 'occurredAt', 'expected an ISO 8601 time or milliseconds since 1970, got true'],
  [makeEvent({ eventId: '' }), 'eventId', 'expected string length greater or equal to 1'],
  [makeEvent({ eventId: 17 }), 'eventId', 'expected string, got 17'],
]

test('of a mixed array the good events are kept, their ids named in order, and each bad one is told', async () => {
  const userId = newUser()
  const good = ['a', 'b'].map((eventId) => makeEvent({ userId, eventId: `${userId} ${eventId}` }))
  const { status, answer } = await send([good[0], ...BAD.map(([event]) => event), good[1]])
  expect(status).toBe(202)
  expect(answer).toMatchObject({ count: 2, message: `2 of ${BAD.length + 2} events were taken` })
  expect(answer.eventIds).toEqual(good.map(({ userId, ...event }) => (event as unknown as { eventId: string }).eventId))
  expect(answer.errors).toMatchObject(
    BAD.map(([, path, message], n) => ({ index: n + 1, path, message: expect.stringContaining(message) })),
  )
  expect(await rowsOf(userId)).toHaveLength(2)
})

test.each(BAD.filter(([event]) => !Array.isArray(event)))('%j alone is 400', async (event, path) => {
  const response = await collector.post(JSON.stringify(event), {}, '/events')
  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({ error: { code: 'invalid_event', details: [{ index: 0, path }] } })
})

test('an event that comes again with its id is stored once, and counted and named as taken', async () => {
  const userId = newUser()
  const [first, second] = ['a', 'b'].map((name) => makeEvent({ userId, eventId: `${userId} ${name}` }))
  const ids = [`${userId} a`, `${userId} b`, `${userId} a`]
  for (let time = 0; time < 3; time++) {
    const { status, answer } = await send([first, second, first])
    expect(status).toBe(202)
    expect(answer).toMatchObject({ count: 3, eventIds: ids })
  }
  expect((await rowsOf(userId)).map((row) => row.message_id).sort()).toEqual(ids.slice(0, 2))
  const without = makeEvent({ userId: `${userId} again` })
  await send([without, without])
  await send(without)
  expect(await rowsOf(`${userId} again`)).toHaveLength(3)
})

test('an empty array is 400', async () => {
  expect((await send([])).status).toBe(400)
})

test('a workspace has its own types, or takes any', async () => {
  const cli = (...args: string[]) => runJson(collector.home.env, ...args)
  const keyOf = async (workspace: string, ...more: string[]) => {
    const made = await cli('provision', '--tenant', 'types', '--workspace', workspace, ...more)
    return made.secret_key as string
  }
  const own = await keyOf('own', '--event-types', 'signup, log out')
  const any = await keyOf('any', '--event-types', 'any')
  const statusOf = async (key: string, type: unknown) => (await send(makeEvent({ type }), { 'api-key': key })).status
  expect(await statusOf(own, 'signup')).toBe(202)
  expect(await statusOf(own, 'log out')).toBe(202)
  expect(await statusOf(own, 'purchase')).toBe(400)
  expect(await statusOf(any, 'whatever ä')).toBe(202)
  expect(await statusOf(any, 'x'.repeat(100))).toBe(202)
  expect(await statusOf(any, 'x'.repeat(101))).toBe(400)
  expect(await statusOf(any, '')).toBe(400)
  expect(await statusOf(any, 5)).toBe(400)
})
