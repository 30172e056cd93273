/** Segment's HTTP API: keys, and what is refused, with which words. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type Collector, startCollector } from '../support/collector.ts'
import { answerTo, sendText as sendTo } from '../support/segment-answers.ts'

const PATHS = ['track', 'identify', 'page', 'screen', 'group', 'alias'].map((type) => `/v1/${type}`)

let collector: Collector

beforeAll(async () => {
  collector = await startCollector()
})

afterAll(async () => {
  expect(collector.lines.filter(({ level }) => /error|fatal/.test(level))).toEqual([])
  expect((await collector.stats()).bodies_in_flight_bytes).toBe(0)
  await collector.stop()
  collector.home.remove()
})

const sendText = (path: string, text: string) => sendTo(collector, path, text)
const send = (path: string, body: unknown) => sendText(path, JSON.stringify(body))

test('the key is taken as user of Basic authentication, in the other headers, and as writeKey in the body', async () => {
  const { url, key } = collector
  const call = { userId: 'u', event: 'x' }
  const post = async (path: string, headers: Record<string, string>, body: object) => {
    const response = await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
    return response.status
  }
  const basic = (text: string) => ({ authorization: `Basic ${btoa(text)}` })
  for (const [path, body] of [
    ['/v1/track', call],
    ['/v1/batch', { batch: [{ type: 'track', ...call }] }],
    ['/batch', { batch: [{ type: 'track', ...call }] }],
  ] as const) {
    for (const headers of [basic(`${key}:`), basic(key), basic(`${key}:""`), { 'api-key': key }])
      expect(await post(path, headers, body)).toBe(200)
    expect(await post(path, {}, { ...body, writeKey: key })).toBe(200)
    expect(await post(path, basic(':'), { ...body, writeKey: key })).toBe(200)
    // The header decides.
    expect(await post(path, basic('nonsense:'), { ...body, writeKey: key })).toBe(401)
    expect(await post(path, basic(`${key}:`), { ...body, writeKey: 'nonsense' })).toBe(200)
    for (const writeKey of [undefined, null, '', 'nonsense', 5, {}, [key]])
      expect(await post(path, {}, { ...body, writeKey })).toBe(401)
    expect(await post(`${path}?writeKey=${key}`, {}, body)).toBe(401)
  }
  const response = await fetch(`${url}/v1/track`, { method: 'POST', body: JSON.stringify(call) })
  expect(await answerTo(response)).toMatchObject({
    error: { code: 'unauthorized', message: expect.stringContaining('writeKey') },
  })
  // A key in the body is looked at before anything else that may be wrong there.
  expect((await fetch(`${url}/v1/batch`, { method: 'POST', body: '{"batch":5}' })).status).toBe(401)
})

test.each(PATHS)('a body that is no call is 400 with the path of what is wrong: %s', async (path) => {
  const good = { userId: 'u', event: 'x', groupId: 'g', previousId: 'p' }
  expect(await send(path, good)).toEqual({ status: 200, success: true })
  const bad: [unknown, string][] = [
    [[], ''],
    [[good], ''],
    [null, ''],
    [5, ''],
    ['call', ''],
    [{ ...good, userId: undefined }, 'userId'],
    [{ ...good, userId: '', anonymousId: null }, 'userId'],
    [{ ...good, userId: {} }, 'userId'],
    [{ ...good, userId: true }, 'userId'],
    [{ ...good, userId: 'x'.repeat(257) }, 'userId'],
    [{ ...good, anonymousId: ['a'] }, 'anonymousId'],
    [{ ...good, messageId: false }, 'messageId'],
    [{ ...good, messageId: 'x'.repeat(257) }, 'messageId'],
    [{ ...good, context: 'here' }, 'context'],
    [{ ...good, context: [] }, 'context'],
    [{ ...good, context: 0 }, 'context'],
    [{ ...good, integrations: 'All' }, 'integrations'],
    [{ ...good, timestamp: 'yesterday' }, 'timestamp'],
    [{ ...good, timestamp: 1_790_000_000_000 }, 'timestamp'],
    [{ ...good, timestamp: true }, 'timestamp'],
    [{ ...good, originalTimestamp: '2026-13-01' }, 'originalTimestamp'],
  ]
  for (const [body, where] of bad) {
    const { status, error } = await send(path, body)
    expect({ status, code: error?.code, body }).toEqual({ status: 400, code: 'invalid_event', body })
    expect(error?.details).toMatchObject([
      { index: 0, path: where, message: expect.stringMatching(/^expected .+, got /) },
    ])
  }
})

test.each<[string, object, string]>([
  ['track', {}, 'event'],
  ['track', { event: '' }, 'event'],
  ['track', { event: null }, 'event'],
  ['track', { event: 404 }, 'event'],
  ['track', { event: true }, 'event'],
  ['track', { event: 'x'.repeat(257) }, 'event'],
  ['track', { event: 'x', properties: [] }, 'properties'],
  ['track', { event: 'x', properties: 'none' }, 'properties'],
  ['identify', { traits: [] }, 'traits'],
  ['identify', { traits: 5 }, 'traits'],
  ['page', { name: 5 }, 'name'],
  ['page', { category: {} }, 'category'],
  ['page', { properties: false }, 'properties'],
  ['screen', { name: [] }, 'name'],
  ['group', {}, 'groupId'],
  ['group', { groupId: '' }, 'groupId'],
  ['group', { groupId: {} }, 'groupId'],
  ['group', { groupId: 'g', traits: 'none' }, 'traits'],
  ['alias', {}, 'previousId'],
  ['alias', { previousId: null }, 'previousId'],
])('a %s call with %j is refused because of %s', async (type, call, path) => {
  const { status, error } = await send(`/v1/${type}`, { userId: 'u', ...call })
  expect([status, error?.details]).toMatchObject([400, [{ index: 0, path }]])
})

test('the longest ids and event names are taken', async () => {
  const longest = 'ä'.repeat(256)
  const ids = { userId: longest, anonymousId: longest, messageId: longest, groupId: longest, previousId: longest }
  for (const path of PATHS) expect((await send(path, { ...ids, event: longest })).status).toBe(200)
})

test('of a mixed batch the good calls are kept and answered with 200, and the others are told', async () => {
  const userId = crypto.randomUUID()
  const good = { type: 'track', userId, event: 'x' }
  const bad: [unknown, string][] = [
    [null, ''],
    [5, ''],
    [[], ''],
    [{}, 'type'],
    [{ ...good, type: undefined }, 'type'],
    [{ ...good, type: 'Track' }, 'type'],
    [{ ...good, type: ['track'] }, 'type'],
    [{ ...good, type: 'constructor' }, 'type'],
    [{ type: 'batch', batch: [good] }, 'type'],
    [{ ...good, event: undefined }, 'event'],
    [{ type: 'track', event: 'x' }, 'userId'],
    [{ type: 'group', userId }, 'groupId'],
    [{ ...good, timestamp: '5' }, 'timestamp'],
    [{ ...good, properties: { ['k'.repeat(257)]: 1 } }, 'properties'],
  ]
  const answer = await send('/v1/batch', { batch: [good, ...bad.map(([call]) => call), { ...good, type: 'page' }] })
  expect(answer).toMatchObject({ status: 200, success: true, accepted: 2, rejected: bad.length })
  expect(answer.errors).toMatchObject(bad.map(([, path], index) => ({ index: index + 1, code: 'invalid_event', path })))
  await collector.flushed()
  expect(await collector.query(`SELECT count() FROM events WHERE user_id = '${userId}'`)).toBe('2\n')
})

test.each([
  '{}',
  'null',
  '[]',
  '7',
  '"batch"',
  '{"batch":{}}',
  '{"batch":[]}',
  '{"batch":null}',
  '{"Batch":[{}]}',
  '[{}]',
])('a body such as %s is no batch', async (body) => {
  const { status, error } = await sendText('/v1/batch', body)
  expect([status, error]).toMatchObject([400, { code: 'invalid_event', details: [{ path: 'batch' }] }])
})

test.each(['"here"', '5', '[]', 'true'])('the context of a batch cannot be %s', async (context) => {
  const { status, error } = await sendText('/v1/batch', `{"batch":[{"type":"page","userId":"u"}],"context":${context}}`)
  expect([status, error]).toMatchObject([400, { code: 'invalid_event', details: [{ path: 'context' }] }])
})

test('a batch without any good call is 400, which the libraries do not try again', async () => {
  const { status, error } = await send('/v1/batch', { batch: [{}, { type: 'track', userId: 'u' }] })
  expect([status, error]).toMatchObject([
    400,
    { code: 'invalid_event', details: [{ path: 'type' }, { path: 'event' }] },
  ])
})

test('objects inside one another without end are refused wherever they are', async () => {
  const deep = `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`
  const arrays = '['.repeat(20_000) + ']'.repeat(20_000)
  for (const nested of [deep, arrays]) {
    for (const field of ['properties', 'context', 'userId', 'timestamp', 'event']) {
      const call = `{"type":"track","event":"x","userId":"u","${field}":${nested}}`
      for (const [path, body] of [
        ['/v1/track', call],
        ['/v1/batch', `{"batch":[${call}]}`],
        ['/v1/batch', `{"batch":[${call}],"context":${deep}}`],
        ['/v1/batch', nested],
        ['/v1/batch', `{"batch":[${nested}]}`],
      ] as const) {
        const { status } = await sendText(path, body)
        expect([path, field, [400, 413].includes(status)]).toEqual([path, field, true])
      }
    }
  }
  // What is not kept does not matter.
  const ignored = `{"event":"x","userId":"u","integrations":{"a":${'['.repeat(5_000)}${']'.repeat(5_000)}},"other":${'['.repeat(5_000)}${']'.repeat(5_000)}}`
  expect((await sendText('/v1/track', ignored)).status).toBe(200)
})

test('keys of the language itself are keys like any other', async () => {
  const userId = crypto.randomUUID()
  const evil = `{"__proto__":{"userId":"evil"},"constructor":{"prototype":{"x":1}}}`
  const call = `{"__proto__":{"userId":"evil","event":"evil"},"type":"identify","userId":"${userId}","traits":${evil}}`
  expect((await sendText('/v1/batch', `{"batch":[${call}],"context":${evil}}`)).status).toBe(200)
  await collector.flushed()
  const sql = `SELECT toString(properties) AS traits, toString(context) AS context FROM events WHERE user_id = '${userId}'`
  const [row] = await collector.rows<Record<string, string>>(sql)
  for (const text of [row?.traits, row?.context]) {
    expect(text).toContain('"__proto__":{"userId":"evil"}')
    expect(text).toContain('"constructor":{"prototype":{"x":"1"}}')
  }
  const own = await sendText('/v1/track', '{"__proto__":{"userId":"u","event":"x"}}')
  expect([own.status, own.error?.details]).toMatchObject([400, [{ path: 'event' }]])
})

test('malformed JSON is 400, and other methods are 405', async () => {
  for (const path of [...PATHS, '/v1/batch', '/batch']) {
    expect(await sendText(path, '{"batch":[')).toMatchObject({ status: 400, error: { code: 'malformed_json' } })
    expect(await sendText(path, '')).toMatchObject({ status: 400, error: { code: 'malformed_json' } })
    for (const method of ['GET', 'PUT']) expect((await fetch(`${collector.url}${path}`, { method })).status).toBe(405)
  }
})
