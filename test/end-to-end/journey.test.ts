/** The wire contract of `GET /users/:userId/journey`: what is asked, what is answered, and who may. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHmac } from 'node:crypto'
import { freePort } from '../../src/sink/engine-setup.ts'
import { runJson } from '../cli/run-cli.ts'
import { type Collector, newHome, startCollector } from '../support/collector.ts'
import { openConnection } from '../support/raw-http.ts'

const T0 = Date.UTC(2025, 10, 20, 8)
const HOUR = 3_600_000

let collector: Collector

beforeAll(async () => {
  collector = await startCollector({ env: { KEY_CACHE_LIFETIME_MS: '0' } })
})

afterAll(async () => {
  expect(collector.lines.filter(({ level }) => /error|fatal/.test(level))).toEqual([])
  await collector.stop()
  collector.home.remove()
})

interface Journey {
  readonly userId: string
  readonly count: number
  readonly events: { readonly event_id: string; readonly type: string; readonly [field: string]: unknown }[]
  readonly next_cursor?: string
}

const newUser = () => `user ${crypto.randomUUID()}`

const cli = (...args: string[]) => runJson(collector.home.env, ...args)

/** Events of a user, an hour apart from `T0` on, and waits until they are in ClickHouse. */
async function sendEvents(userId: string, count: number, key = collector.key): Promise<void> {
  const events = Array.from({ length: count }, (_, n) => ({
    userId,
    sessionId: 's',
    type: 'search',
    eventId: `${userId} ${n}`,
    occurredAt: T0 + n * HOUR,
    payload: { n },
  }))
  expect((await collector.post(JSON.stringify(events), { 'api-key': key }, '/events')).status).toBe(202)
  await collector.flushed()
}

function ask(path: string, headers: Record<string, string> = { 'api-key': collector.key }): Promise<Response> {
  return fetch(`${collector.url}/users/${path}`, { headers })
}

async function journeyOf(path: string, headers?: Record<string, string>): Promise<Journey> {
  const response = await ask(path, headers)
  expect(response.status).toBe(200)
  return (await response.json()) as Journey
}

const numbersOf = ({ events }: Journey) => events.map(({ properties }) => (properties as { n: number }).n)

async function expectRefused(response: Response, status: number, code: string, paths?: string[]): Promise<void> {
  expect(response.headers.get('cache-control')).toBe('no-store')
  const body = (await response.json()) as { error: { code: string; request_id: string; details?: { path: string }[] } }
  expect([response.status, body.error.code]).toEqual([status, code])
  expect(body.error.request_id).toBe(response.headers.get('x-request-id') ?? '')
  if (paths !== undefined) expect(body.error.details?.map(({ path }) => path)).toEqual(paths)
}

test('a user’s events come newest first, and no cache may keep them', async () => {
  const userId = newUser()
  await sendEvents(userId, 3)
  const response = await ask(`${encodeURIComponent(userId)}/journey`)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toStartWith('application/json')
  expect(response.headers.get('cache-control')).toBe('no-store')
  const journey = (await response.json()) as Journey
  expect(Object.keys(journey)).toEqual(['userId', 'count', 'events'])
  expect(journey).toMatchObject({ userId, count: 3 })
  expect(numbersOf(journey)).toEqual([2, 1, 0])
  expect(journey.events[0]).toEqual({
    event_id: `${userId} 2`,
    type: 'search',
    occurred_at: '2025-11-20T10:00:00.000Z',
    received_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.+Z$/),
    protocol: 'events',
    session_id: 's',
    user_id: userId,
    user_agent: expect.stringMatching(/^Bun/),
    device: 'library',
    ip: '127.0.0.1',
    schema_version: '1',
    properties: { n: 2 },
  } as unknown as Journey['events'][number])
  expect(await journeyOf(`${newUser()}/journey`)).toMatchObject({ count: 0, events: [] })
})

test('from is the first moment, to the first one after; both may be ISO 8601 or milliseconds', async () => {
  const userId = newUser()
  await sendEvents(userId, 4)
  const numbers = async (query: string) => numbersOf(await journeyOf(`${userId}/journey?${query}`))
  expect(await numbers(`from=${T0 + HOUR}`)).toEqual([3, 2, 1])
  expect(await numbers(`to=${T0 + 3 * HOUR}`)).toEqual([2, 1, 0])
  expect(await numbers('from=2025-11-20T09:00:00Z&to=2025-11-20T11:00:00.000Z')).toEqual([2, 1])
  expect(await numbers('from=2025-11-20T11:00:00+02:00&to=2025-11-20T13:00:00%2B02:00')).toEqual([2, 1])
  expect(await numbers('from=2025-11-20&to=2025-11-20%2009:30')).toEqual([1, 0])
  expect(await numbers(`from=${T0}&to=${T0}`)).toEqual([])
  expect(await numbers('from=1900-01-01&to=2299-12-31')).toEqual([3, 2, 1, 0])
})

test('pages follow one another by the cursor, each event once', async () => {
  const userId = newUser()
  await sendEvents(userId, 10)
  expect((await journeyOf(`${userId}/journey?limit=10`)).next_cursor).toBeUndefined()
  const seen: number[] = []
  let cursor = ''
  for (let page = 0; page < 4; page++) {
    const journey = await journeyOf(`${userId}/journey?limit=3&from=2025-01-01${cursor}`)
    expect(journey.count).toBe(journey.events.length)
    seen.push(...numbersOf(journey))
    expect(journey.next_cursor).toEqual(page === 3 ? undefined : expect.any(String))
    cursor = `&cursor=${journey.next_cursor}`
  }
  expect(seen).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
})

test('an answer has 100 events when nothing is said, and 1,000 at most', async () => {
  const userId = newUser()
  for (let part = 0; part < 3; part++) {
    const event = { userId, sessionId: 's', type: 'search' }
    const body = JSON.stringify(Array.from({ length: 400 }, () => event))
    expect((await collector.post(body, {}, '/events')).status).toBe(202)
  }
  await collector.flushed()
  expect((await journeyOf(`${userId}/journey`)).count).toBe(100)
  expect((await journeyOf(`${userId}/journey?limit=1`)).count).toBe(1)
  const journey = await journeyOf(`${userId}/journey?limit=1000`)
  expect([journey.count, new Set(journey.events.map((event) => event.event_id)).size]).toEqual([1000, 1000])
  expect((await journeyOf(`${userId}/journey?limit=1000&cursor=${journey.next_cursor}`)).count).toBe(200)
})

test.each<[string, string[]]>([
  ['limit=0', ['limit']],
  ['limit=1001', ['limit']],
  ['limit=-1', ['limit']],
  ['limit=1.5', ['limit']],
  ['limit=1e2', ['limit']],
  ['limit=', ['limit']],
  ['limit=all', ['limit']],
  ['from=yesterday', ['from']],
  ['from=', ['from']],
  ['from=2025-02-30', ['from']],
  ['to=1899-12-31', ['to']],
  ['to=99999999999999', ['to']],
  ['from=2025-11-20&to=2025-11-19', ['to']],
  ['cursor=', ['cursor']],
  ['cursor=abc', ['cursor']],
  ['from=x&to=y&limit=z', ['from', 'to', 'limit']],
])('%s is 400 and says what was expected', async (query, paths) => {
  const response = await ask(`u/journey?${query}`)
  const { error } = (await response.clone().json()) as { error: { details: { message: string }[] } }
  for (const { message } of error.details) expect(message).toMatch(/^expected .+, got |^cursor is not one/)
  await expectRefused(response, 400, 'invalid_event', paths)
})

test('a cursor is good for its own question only', async () => {
  const userId = newUser()
  await sendEvents(userId, 2)
  const { next_cursor } = await journeyOf(`${userId}/journey?limit=1&from=2025-01-01`)
  expect(numbersOf(await journeyOf(`${userId}/journey?from=2025-01-01&cursor=${next_cursor}`))).toEqual([0])
  for (const path of [
    `${userId}/journey?cursor=${next_cursor}`,
    `${newUser()}/journey?from=2025-01-01&cursor=${next_cursor}`,
  ])
    await expectRefused(await ask(path), 400, 'invalid_event', ['cursor'])
})

test.each(['a/b', 'ä😀', '\0', '%', '%zz', 'a+b c', "' OR 1=1 --", '?x#y', 'a/journey', '../x', '_%', '...', '\u202e'])(
  'the user id %j is found in percent-encoding',
  async (name) => {
    const userId = `${name} ${crypto.randomUUID()}`
    await sendEvents(userId, 1)
    expect(await journeyOf(`${encodeURIComponent(userId)}/journey`)).toMatchObject({ userId, count: 1 })
  },
)

test('a slash behind the path changes nothing', async () => {
  const userId = newUser()
  await sendEvents(userId, 2)
  expect(numbersOf(await journeyOf(`${userId}/journey/`))).toEqual([1, 0])
  expect(numbersOf(await journeyOf(`${userId}/journey/?limit=1`))).toEqual([1])
})

test('a path that is not percent-encoded UTF-8 is 400, one without a user is 404', async () => {
  for (const path of [
    '%zz/journey',
    '%/journey',
    '%ff/journey',
    '%c0%af/journey',
    '%ed%a0%80/journey',
    '%2e%2e/journey',
  ]) {
    const connection = await openConnection(collector.port)
    await connection.send(`GET /users/${path} HTTP/1.1\r\nhost: test\r\napi-key: ${collector.key}\r\n\r\n`)
    const answer = await connection.answer()
    connection.close()
    expect([path, answer?.status]).toEqual([path, 400])
    expect(JSON.parse(answer?.body ?? '')).toMatchObject({ error: { details: [{ path: 'userId' }] } })
  }
  for (const path of ['/journey', 'a/b/journey', 'a/journey/x', 'a']) expect((await ask(path)).status).toBe(404)
})

describe('the key', () => {
  test('has to be there and good, and to have the scope read: a public one never has', async () => {
    const made = await cli('provision', '--tenant', 'acme', '--workspace', 'keys')
    const workspace = ['--tenant', 'acme', '--workspace', 'keys']
    const writer = await cli('keys', 'create', ...workspace, '--scopes', 'ingest')
    const revoked = await cli('keys', 'create', ...workspace)
    const expiring = await cli('keys', 'create', ...workspace, '--expires-in', '1s')
    await cli('keys', 'revoke', revoked.id)
    await Bun.sleep(1_000)
    for (const headers of [{}, { 'api-key': 'nonsense' }, { 'api-key': revoked.key }, { 'api-key': expiring.key }])
      await expectRefused(await ask('u/journey', headers as Record<string, string>), 401, 'unauthorized')
    for (const key of [made.public_key, writer.key])
      await expectRefused(await ask('u/journey', { 'api-key': key }), 403, 'forbidden')
    // A key in an address would be in every log on its way.
    await expectRefused(await ask(`u/journey?api_key=${collector.key}`, {}), 401, 'unauthorized')
    const reader = await cli('keys', 'create', ...workspace, '--scopes', 'read')
    for (const headers of [
      { 'x-api-key': reader.key },
      { authorization: `Bearer ${reader.key}` },
      { authorization: `Basic ${btoa(`${reader.key}:`)}` },
    ])
      expect((await ask('u/journey', headers as Record<string, string>)).status).toBe(200)
  })

  test('says whose events are read: another workspace’s, or tenant’s, are not there', async () => {
    const userId = newUser()
    const keyOf = async (tenant: string, workspace: string) =>
      (await cli('provision', '--tenant', tenant, '--workspace', workspace)).secret_key as string
    const keys = [await keyOf('one', 'web'), await keyOf('one', 'app'), await keyOf('two', 'web')]
    for (const [n, key] of keys.entries()) await sendEvents(userId, n + 1, key)
    for (const [n, key] of keys.entries())
      expect((await journeyOf(`${userId}/journey`, { 'api-key': key })).count).toBe(n + 1)
    const { next_cursor } = await journeyOf(`${userId}/journey?limit=1`, { 'api-key': keys[2] ?? '' })
    const foreign = await ask(`${userId}/journey?cursor=${next_cursor}`, { 'api-key': keys[0] ?? '' })
    await expectRefused(foreign, 400, 'invalid_event', ['cursor'])
  })

  test('may want a signature, over an empty body, which is good as often as the question is asked', async () => {
    const made = await cli('provision', '--tenant', 'acme', '--workspace', 'signed')
    const names = ['--tenant', 'acme', '--workspace', 'signed', '--signing', 'required']
    const { key } = await cli('keys', 'create', ...names)
    await expectRefused(await ask('u/journey', { 'api-key': key }), 401, 'unauthorized')
    const timestamp = String(Math.floor(Date.now() / 1000))
    const signature = createHmac('sha256', made.signing_secret).update(`${timestamp}.`).digest('hex')
    const headers = { 'api-key': key, 'x-timestamp': timestamp, 'x-signature': signature }
    for (let time = 0; time < 2; time++) expect((await ask('u/journey', headers)).status).toBe(200)
  })

  test('that is for some origins is refused to others, readably', async () => {
    const names = ['--tenant', 'default', '--workspace', 'default', '--origins', 'https://shop.example']
    const { key } = await cli('keys', 'create', ...names)
    const refused = await ask('u/journey', { 'api-key': key, origin: 'https://evil.example' })
    expect(refused.headers.get('access-control-allow-origin')).toBe('https://evil.example')
    await expectRefused(refused, 403, 'forbidden')
  })
})

test.each(['POST', 'PUT', 'DELETE', 'PATCH'])('%s is 405 and says what is allowed', async (method) => {
  const response = await fetch(`${collector.url}/users/u/journey`, { method })
  expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, OPTIONS'])
})

test('many questions at once are all answered', async () => {
  const userId = newUser()
  await sendEvents(userId, 5)
  const answers = await Promise.all(Array.from({ length: 40 }, () => journeyOf(`${userId}/journey`)))
  expect(answers.map(({ count }) => count)).toEqual(answers.map(() => 5))
})

test('while ClickHouse is away the answer is 503 with a time to come again, and events are taken', async () => {
  const home = newHome({ CLICKHOUSE_URL: `http://127.0.0.1:${freePort()}` })
  const alone = await startCollector({ home, untilFlowing: false })
  const response = await fetch(`${alone.url}/users/u/journey`, { headers: { 'api-key': alone.key } })
  expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
  const { error } = (await response.clone().json()) as { error: { message: string } }
  expect(error.message).not.toContain('127.0.0.1')
  await expectRefused(response, 503, 'overloaded')
  const event = JSON.stringify({ userId: 'u', sessionId: 's', type: 'search' })
  expect((await alone.post(event, {}, '/events')).status).toBe(202)
  await alone.stop()
  home.remove()
})
