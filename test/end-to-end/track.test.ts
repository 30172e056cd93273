/** The wire contract of `POST /api/track`, the browser script's protocol: what is answered, and what is then in ClickHouse. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runJson } from '../cli/run-cli.ts'
import { type Collector, startCollector } from '../support/collector.ts'

const UUID_V5 = /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const PAGE = 'https://shop.example/shoes?page=2'

let collector: Collector
let siteId: string

beforeAll(async () => {
  collector = await startCollector()
  const first = JSON.parse(readFileSync(join(collector.home.env.DATA_DIR ?? '', 'first-key.json'), 'utf8'))
  siteId = first.public_key
})

afterAll(async () => {
  expect(collector.lines.filter(({ level }) => /error|fatal/.test(level))).toEqual([])
  await collector.stop()
  collector.home.remove()
})

const newSession = () => `session ${crypto.randomUUID()}`
const pageview = (changes: object = {}) => ({
  type: 'pageview',
  timestamp: Date.now(),
  data: { url: PAGE },
  ...changes,
})
const item = (sessionId: string, event: object = pageview()) => ({ siteId, sessionId, event })

async function track(body: unknown, headers: Record<string, string> = {}): Promise<unknown[]> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const response = await fetch(`${collector.url}/api/track`, { method: 'POST', body: text, headers })
  return [response.status, await response.json()]
}

async function rowsOf(sessionId: string): Promise<Record<string, unknown>[]> {
  await collector.flushed()
  return collector.rows(
    `SELECT * FROM events WHERE session_id = '${sessionId}' ORDER BY occurred_at, toString(event_id)`,
  )
}

const DONE = [200, { success: true }]

test('an event is stored column by column, and the answer is as short as can be', async () => {
  const sessionId = newSession()
  const data = {
    url: PAGE,
    referrer: 'https://search.example/?q=shoes',
    title: 'Shoes',
    viewport: { width: 1280, height: 720 },
  }
  const event = pageview({ timestamp: Date.UTC(2026, 10, 20, 8, 9, 10, 123), data })
  const headers = {
    'user-agent': 'Browser/1',
    'content-type': 'text/plain;charset=UTF-8',
    'x-event-schema-version': '4',
  }
  expect(await track(item(sessionId, event), headers)).toEqual(DONE)
  const [row] = await rowsOf(sessionId)
  expect(row).toMatchObject({
    tenant_id: 'default',
    workspace_id: 'default',
    message_id: '',
    type: 'pageview',
    protocol: 'api/track',
    occurred_at: '2026-11-20 08:09:10.123',
    session_id: sessionId,
    user_id: '',
    url: PAGE,
    path: '/shoes',
    referrer: data.referrer,
    referrer_host: 'search.example',
    title: 'Shoes',
    user_agent: 'Browser/1',
    ip: '::ffff:127.0.0.1',
    schema_version: '4',
    properties: { viewport: { width: '1280', height: '720' } },
    context: {},
  })
  expect(row?.event_id).toMatch(UUID_V5)
})

test.each<[string, object, object]>([
  ['pageview', { url: PAGE, referrer: null, title: null }, {}],
  ['pageview', { url: '' }, {}],
  [
    'click',
    { url: PAGE, selector: '#buy', position: { x: 10.5, y: -3 }, text: 'Buy' },
    { selector: '#buy', position: { x: 10.5, y: '-3' }, text: 'Buy' },
  ],
  ['click', { selector: '' }, { selector: '' }],
  ['form', { formId: 'newsletter', fieldInteractions: 7 }, { formId: 'newsletter', fieldInteractions: '7' }],
  [
    'form',
    { formId: '', fieldInteractions: { mail: 2 }, done: true },
    { formId: '', fieldInteractions: { mail: '2' }, done: true },
  ],
  ['form', { formId: 'f', fieldInteractions: ['mail', 'name'] }, { formId: 'f', fieldInteractions: ['mail', 'name'] }],
  ['scroll', { scrollDepth: 75, timeAtDepth: 1200.5 }, { scrollDepth: '75', timeAtDepth: 1200.5 }],
  ['scroll', { scrollDepth: 0 }, { scrollDepth: '0' }],
  ['time', { timeOnPage: 30_000, visible: true }, { timeOnPage: '30000', visible: true }],
])('%s with the data %j is stored', async (type, data, properties) => {
  const sessionId = newSession()
  expect(await track(item(sessionId, { type, timestamp: Date.now(), data }))).toEqual(DONE)
  expect(await rowsOf(sessionId)).toMatchObject([{ type, properties, url: 'url' in data ? data.url : '' }])
})

test.each<[object, string]>([
  [{ type: 'hover' }, 'event.type: expected one of pageview, click, form, scroll, time, got "hover"'],
  [{ type: 7 }, 'event.type: expected one of'],
  [{ type: undefined }, 'event.type: expected one of'],
  [{ type: '__proto__' }, 'event.type: expected one of'],
  [{ timestamp: undefined }, 'event.timestamp: expected required property'],
  [{ timestamp: '2026-11-20T08:00:00Z' }, 'event.timestamp: expected number, got "2026'],
  [{ timestamp: 1e18 }, 'event.timestamp: expected milliseconds since 1970, got 1000000000000000000'],
  [{ timestamp: 1_790_000_000 }, 'event.timestamp: expected milliseconds since 1970, got 1790000000'],
  [{ timestamp: -1e18 }, 'event.timestamp: expected milliseconds'],
  [{ data: undefined }, 'event.data: expected required property'],
  [{ data: [] }, 'event.data: expected object, got an array'],
  [{ data: { url: 5 } }, 'event.data.url: expected string, got 5'],
  [{ data: {} }, 'event.data.url: expected required property'],
  [{ data: { url: PAGE, referrer: 5 } }, 'event.data.referrer: expected a text, got 5'],
  [{ data: { url: PAGE, title: {} } }, 'event.data.title: expected a text, got an object'],
  [{ type: 'click', data: {} }, 'event.data.selector: expected required property'],
  [
    { type: 'click', data: { selector: 'a', position: { x: 1 } } },
    'event.data.position.y: expected a number, got undefined',
  ],
  [
    { type: 'click', data: { selector: 'a', position: { x: '1', y: 1 } } },
    'event.data.position.x: expected a number, got',
  ],
  [{ type: 'form', data: { formId: null } }, 'event.data.formId: expected string, got null'],
  [{ type: 'form', data: { formId: 'f', fieldInteractions: 'many' } }, 'expected a number, an object or an array, got'],
  [{ type: 'scroll', data: {} }, 'event.data.scrollDepth: expected a number from 0, got undefined'],
  [{ type: 'scroll', data: { scrollDepth: -1 } }, 'event.data.scrollDepth: expected a number from 0, got'],
  [
    { type: 'scroll', data: { scrollDepth: 5, timeAtDepth: '1' } },
    'event.data.timeAtDepth: expected a number from 0, got',
  ],
  [{ type: 'time', data: { timeOnPage: -1 } }, 'event.data.timeOnPage: expected a number from 0, got'],
  [{ eventId: '' }, 'event.eventId: expected string length greater or equal to 1'],
  [{ id: 5 }, 'event.id: expected string, got 5'],
  [{ data: { url: PAGE, deep: JSON.parse('['.repeat(40) + ']'.repeat(40)) } }, 'nested more than 32 levels deep'],
])('an event with %j is refused and told why', async (changes, message) => {
  const answer = await track(item(newSession(), pageview(changes)))
  expect(answer).toMatchObject([400, { success: false, error: expect.stringContaining(message) }])
  expect(Object.keys(answer[1] as object)).toEqual(['success', 'error'])
})

test.each([undefined, '', 5, null, 'x'.repeat(257)])(
  'the session id %j is refused, 256 characters are not',
  async (id) => {
    const refused = await track({ siteId, sessionId: id, event: pageview() })
    expect(refused).toMatchObject([400, { error: expect.stringContaining('sessionId') }])
    const longest = crypto.randomUUID().padEnd(256, 'ä')
    expect(await track(item(longest))).toEqual(DONE)
    expect(await rowsOf(longest)).toHaveLength(1)
  },
)

describe('the shape of the body', () => {
  test.each<[string, (sessionId: string) => unknown]>([
    ['an array of items', (s) => [item(s), item(s, pageview({ data: { url: '/2' } }))]],
    ['{events} with items', (s) => ({ events: [item(s), item(s, pageview({ data: { url: '/2' } }))] })],
    [
      '{siteId, sessionId, events} with bare events',
      (sessionId) => ({ siteId, sessionId, events: [pageview(), pageview({ data: { url: '/2' } })] }),
    ],
    [
      '{siteId, events} with items that name their session',
      (sessionId) => ({
        siteId,
        events: [{ sessionId, event: pageview() }, item(sessionId, pageview({ type: 'time' }))],
      }),
    ],
    ['an array of which one item names the site', (sessionId) => [{ sessionId, event: pageview() }, item(sessionId)]],
  ])('%s is taken', async (_name, body) => {
    const sessionId = newSession()
    expect(await track(body(sessionId))).toEqual(DONE)
    expect((await rowsOf(sessionId)).length).toBeGreaterThan(0)
  })

  test.each(['[]', '{"events":[]}'])('%s is refused: there is no event', async (body) => {
    expect(await track(body, { 'api-key': siteId })).toMatchObject([400, { success: false }])
    const events = JSON.stringify({ siteId, events: [] })
    expect(await track(events)).toMatchObject([400, { success: false }])
  })

  test.each(['{}', 'null', '7', '"x"', '[7]', '{"events":{}}', '{"siteId":5}', '{"__proto__":{"siteId":"x"}}'])(
    '%s names no site: 401',
    async (body) => {
      expect(await track(body)).toEqual([401, { success: false, error: 'no site: send its public key as `siteId`' }])
    },
  )

  test.each(['', '{"siteId":', 'siteId=pk_x&type=pageview', '\0'])('malformed JSON, %j, is 400', async (body) => {
    const answer = await track(body, { 'content-type': 'application/x-www-form-urlencoded' })
    expect(answer).toMatchObject([400, { success: false, error: expect.stringContaining('at position') }])
  })
})

test('of good and bad events the good ones are kept, and the bad ones are told', async () => {
  const sessionId = newSession()
  const events = [pageview(), pageview({ type: 'hover' }), 5, pageview({ data: { url: '/2' } })]
  expect(await track({ siteId, sessionId, events })).toMatchObject([
    200,
    { success: true, rejected: 2, errors: [{ index: 1, path: 'event.type' }, { index: 2 }] },
  ])
  expect(await rowsOf(sessionId)).toHaveLength(2)
})

describe('the key', () => {
  test('siteId goes before a key in the headers, which may be a browser’s own; without it that one is taken', async () => {
    const sessionId = newSession()
    const basic = { authorization: `Basic ${btoa('somebody:password')}` }
    expect(await track(item(sessionId), basic)).toEqual(DONE)
    expect(await track(item(sessionId), { 'api-key': collector.key })).toEqual(DONE)
    expect(await track({ sessionId, event: pageview() }, { 'api-key': collector.key })).toEqual(DONE)
    expect(await track({ sessionId, event: pageview() }, { authorization: `Bearer ${siteId}` })).toEqual(DONE)
    expect(await track({ sessionId, event: pageview() }, basic)).toMatchObject([401, { success: false }])
    const unknown = { siteId: `pk_${'A'.repeat(43)}`, sessionId, event: pageview() }
    expect(await track(unknown, { 'api-key': collector.key })).toMatchObject([401, { success: false }])
  })

  test('a secret key as siteId is 403: it would stand in a page', async () => {
    const sessionId = newSession()
    const body = { siteId: collector.key, sessionId, event: pageview() }
    expect(await track(body)).toMatchObject([403, { success: false, error: expect.stringContaining('public key') }])
    expect(await rowsOf(sessionId)).toEqual([])
  })

  test('two sites in one request are refused, whatever keys they are', async () => {
    const sessionId = newSession()
    const other = { siteId: `pk_${'A'.repeat(43)}`, sessionId, event: pageview() }
    expect(await track([item(sessionId), other])).toMatchObject([
      400,
      { error: expect.stringContaining('same siteId') },
    ])
    const beside = { siteId, sessionId, events: [{ event: pageview(), siteId: 'x' }] }
    expect(await track(beside)).toMatchObject([400, { error: expect.stringContaining('same siteId') }])
    expect(await rowsOf(sessionId)).toEqual([])
  })

  test('it says whose the events are, and nothing else does', async () => {
    const workspace = ['--tenant', 'other', '--workspace', 'site']
    const { public_key } = await runJson(collector.home.env, 'provision', ...workspace)
    const sessionId = newSession()
    const body = { ...item(sessionId), siteId: public_key, tenant_id: 'default', workspaceId: 'default' }
    expect(await track(body)).toEqual(DONE)
    expect(await rowsOf(sessionId)).toMatchObject([{ tenant_id: 'other', workspace_id: 'site' }])
    // The same event on another site is another event.
    expect(await track({ ...body, siteId })).toEqual(DONE)
    const rows = await rowsOf(sessionId)
    expect(new Set(rows.map((row) => row.event_id)).size).toBe(2)
  })
})

describe('without an id of its own an event is known by its content', () => {
  const timestamp = Date.now()
  const base = { type: 'click', timestamp, data: { selector: '#a', deep: { one: 1, two: [1, { a: 1, b: 2 }] } } }

  async function idsOf(events: readonly object[], sessionIds: readonly string[] = [newSession()]): Promise<string[]> {
    const ids: string[] = []
    for (const event of events)
      for (const sessionId of sessionIds) {
        const before = new Set((await rowsOf(sessionId)).map((row) => String(row.event_id)))
        expect(await track(item(sessionId, event))).toEqual(DONE)
        const rows = (await rowsOf(sessionId)).map((row) => String(row.event_id))
        ids.push(rows.find((id) => !before.has(id)) ?? 'a copy')
      }
    return ids
  }

  test('the same again, also with its keys in another order, is a copy', async () => {
    const turned = { data: { deep: { two: [1, { b: 2, a: 1 }], one: 1 }, selector: '#a' }, timestamp, type: 'click' }
    expect(await idsOf([base, base, turned])).toEqual([expect.stringMatching(UUID_V5), 'a copy', 'a copy'])
  })

  test('another time, type, value, order in an array, or session is another event', async () => {
    const others = [
      base,
      { ...base, timestamp: timestamp - 1 },
      { ...base, type: 'time' },
      { ...base, data: { ...base.data, selector: '#b' } },
      { ...base, data: { ...base.data, deep: { one: 1, two: [{ a: 1, b: 2 }, 1] } } },
      { ...base, data: { ...base.data, deep: { one: '1', two: base.data.deep.two } } },
      { ...base, data: { ...base.data, nothing: null } },
    ]
    const ids = await idsOf(others)
    expect(new Set(ids).size).toBe(others.length)
    expect(ids).not.toContain('a copy')
    expect(await idsOf([base], [newSession(), newSession()])).not.toContain('a copy')
  })

  test('digits beyond 2^53 count too', async () => {
    const sessionId = newSession()
    for (const digits of ['9007199254740993', '9007199254740992', '9007199254740993']) {
      const text = JSON.stringify(item(sessionId, { ...base, data: { selector: 's', n: 'N' } })).replace('"N"', digits)
      expect(await track(text)).toEqual(DONE)
    }
    const rows = await rowsOf(sessionId)
    const numbers = new Set(rows.map((row) => (row.properties as { n: string }).n))
    expect(numbers).toEqual(new Set(['9007199254740993', '9007199254740992']))
    expect(new Set(rows.map((row) => row.event_id)).size).toBe(2)
  })

  test.each([
    ['scroll', '{"scrollDepth":#,"timeAtDepth":#}'],
    ['time', '{"timeOnPage":#}'],
    ['click', '{"selector":"s","position":{"x":-#,"y":#}}'],
    ['form', '{"formId":"f","fieldInteractions":#}'],
  ])('digits beyond 2^53 are taken where %s wants a number', async (type, data) => {
    const sessionId = newSession()
    const digits = data.replaceAll('#', '9007199254740995')
    const text = JSON.stringify(item(sessionId, { type, timestamp: base.timestamp, data: 'DATA' }))
    expect(await track(text.replace('"DATA"', digits))).toEqual(DONE)
    expect(JSON.stringify((await rowsOf(sessionId))[0]?.properties)).toContain('9007199254740995')
  })

  test('a beacon that comes again, or many times at once, or twice in one request, is stored once', async () => {
    const sessionId = newSession()
    const beacon = JSON.stringify(item(sessionId, base))
    expect(await track(beacon)).toEqual(DONE)
    const answers = await Promise.all(Array.from({ length: 20 }, () => track(beacon)))
    expect(answers).toEqual(answers.map(() => DONE))
    expect(await track({ events: [JSON.parse(beacon), JSON.parse(beacon)] })).toEqual(DONE)
    expect(await rowsOf(sessionId)).toHaveLength(1)
    await collector.flushed()
    expect(await track(beacon)).toEqual(DONE)
    expect(await rowsOf(sessionId)).toHaveLength(1)
    const other = newSession()
    const twice = [item(other, base), item(other, { ...base })]
    expect(await track(twice)).toEqual(DONE)
    expect(await rowsOf(other)).toHaveLength(1)
  })

  test('an id of the client goes before it: a UUID, or another text', async () => {
    const sessionId = newSession()
    const uuid = crypto.randomUUID()
    const events = [
      { ...base, eventId: uuid },
      { ...base, id: 'mine-1' },
      { ...base, eventId: 'mine-2', id: 'mine-1' },
    ]
    expect(await track({ siteId, sessionId, events })).toEqual(DONE)
    const rows = await rowsOf(sessionId)
    expect(new Set(rows.map((row) => row.message_id))).toEqual(new Set(['', 'mine-1', 'mine-2']))
    expect(rows.find((row) => row.message_id === '')?.event_id).toBe(uuid)
  })
})

describe('browsers', () => {
  const preflight = (headers: Record<string, string>) =>
    fetch(`${collector.url}/api/track`, {
      method: 'OPTIONS',
      headers: { 'access-control-request-method': 'POST', ...headers },
    })

  test.each(['https://shop.example', 'http://localhost:8080', 'null'])(
    'the origin %s may ask and send',
    async (origin) => {
      const asked = await preflight({ origin, 'access-control-request-headers': 'content-type' })
      expect(asked.status).toBe(204)
      const allowed = {
        'access-control-allow-origin': origin,
        'access-control-allow-credentials': 'true',
        'access-control-allow-methods': expect.stringContaining('POST'),
        'access-control-allow-headers': 'content-type',
      }
      expect(Object.fromEntries(asked.headers)).toMatchObject(allowed)
      const body = JSON.stringify(item(newSession()))
      const sent = await fetch(`${collector.url}/api/track`, { method: 'POST', body, headers: { origin } })
      expect(sent.status).toBe(200)
      expect(sent.headers.get('access-control-allow-origin')).toBe(origin)
      expect(sent.headers.get('access-control-allow-credentials')).toBe('true')
      expect(sent.headers.get('vary')).toBe('Origin')
    },
  )

  test('a key with origins is for their pages only, and others can read that they are refused', async () => {
    const workspace = ['--tenant', 'default', '--workspace', 'default', '--kind', 'public']
    const origins = ['--origins', 'https://shop.example,https://*.shop.example']
    const { key } = await runJson(collector.home.env, 'keys', 'create', ...workspace, ...origins)
    const send = async (origin: string | undefined) => {
      const headers = origin === undefined ? {} : { origin }
      const body = JSON.stringify({ siteId: key, sessionId: newSession(), event: pageview() })
      const response = await fetch(`${collector.url}/api/track`, { method: 'POST', body, headers })
      expect(response.headers.get('access-control-allow-origin')).toBe(origin ?? null)
      return [response.status, await response.json()]
    }
    expect(await send('https://shop.example')).toEqual(DONE)
    expect(await send('https://de.shop.example')).toEqual(DONE)
    expect(await send(undefined)).toEqual(DONE)
    for (const origin of ['https://evil.example', 'http://shop.example', 'https://shop.example.evil.example', 'null'])
      expect(await send(origin)).toEqual([403, { success: false, error: `the key is not for pages of ${origin}` }])
  })
})

test('NUL characters, lone surrogates and keys of the language itself are data like any other', async () => {
  const sessionId = newSession()
  const data = '{"url":"/","__proto__":{"polluted":1},"constructor":{"prototype":2},"\\u0000":"\\ud800","toString":"3"}'
  const text = JSON.stringify(item(sessionId, pageview({ data: 'DATA' }))).replace('"DATA"', () => data)
  const withProto = text.replace('{', '{"__proto__":{"siteId":"evil","sessionId":"evil"},')
  expect(await track(`{"events":[${withProto}]}`)).toEqual(DONE)
  await collector.flushed()
  const sql = `SELECT toString(properties) AS text FROM events WHERE session_id = '${sessionId}'`
  const [row] = await collector.rows<{ text: string }>(sql)
  for (const part of [
    '"__proto__":{"polluted":"1"}',
    '"constructor":{"prototype":"2"}',
    '"\\u0000":"\ufffd"',
    '"toString":"3"',
  ])
    expect(row?.text).toContain(part)
})

test('GET /api/track/health tells database, buffer and versions to anyone, from any page', async () => {
  const response = await fetch(`${collector.url}/api/track/health`, { headers: { origin: 'https://shop.example' } })
  expect(response.status).toBe(200)
  expect(response.headers.get('access-control-allow-origin')).toBe('https://shop.example')
  expect(response.headers.get('x-request-id')).not.toBeNull()
  expect(await response.json()).toEqual({
    status: 'ok',
    database: { status: 'ok', response_time_ms: expect.any(Number) },
    buffer: expect.objectContaining({ log_bytes: expect.any(Number), oldest_unflushed_age_ms: expect.any(Number) }),
    versions: { penstock: expect.stringMatching(/^\d+\.\d+/), clickhouse: expect.stringMatching(/^\d+\.\d+/) },
  })
})
