/** What no honest client sends: each gets its code, never a 5xx, and the collector goes on as if nothing had been. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import zlib from 'node:zlib'
import { type Collector, startCollector, waitUntil } from '../support/collector.ts'
import { makeDraft, makeDrafts } from '../support/event-drafts.ts'
import { openConnection, postHead, rawRequest } from '../support/raw-http.ts'

const MiB = 1024 * 1024
const NDJSON = 'application/x-ndjson'

let collector: Collector

beforeAll(async () => {
  collector = await startCollector()
})

afterAll(async () => {
  expect(collector.lines.filter(({ level }) => /error|fatal/.test(level))).toEqual([])
  expect(collector.stderr).toBe('')
  expect((await collector.stats()).bodies_in_flight_bytes).toBe(0)
  const { accepted } = (await collector.stats()).events
  await collector.flushed()
  expect(await collector.query('SELECT count() FROM events')).toBe(`${accepted}\n`)
  await collector.stop()
  collector.home.remove()
})

interface Refusal {
  readonly code: string
  readonly message: string
  readonly details?: { readonly path: string; readonly message: string }[]
}

async function refusal(response: Response): Promise<Refusal & { status: number }> {
  const { error } = (await response.json()) as { error: Refusal }
  return { status: response.status, ...error }
}

/** One event whose properties are this text. */
const withProperties = (text: string) =>
  `{"events":[${JSON.stringify(makeDraft({ properties: 'P' })).replace('"P"', () => text)}]}`

test.each([
  ['', 0],
  [' ', 1],
  ['{"events":[', 11],
  ['{"events":[]', 12],
  ['{"events":[1,]}', 13],
  ["{'events':[]}", 1],
  ['{"events":[}]', 11],
  ['{"a":01}', 6],
  ['{"a":"\n"}', 6],
  ['{"a":NaN}', 5],
  ['{"a":\\u0031}', 5],
  ['{"a":"\\x"}', 6],
  ['{"ä😀":tru}', 7],
  ['[1] 2', 4],
  ['undefined', 0],
])('malformed JSON, %j, is 400 and says where: %i', async (body, position) => {
  const { status, code, message } = await refusal(await collector.post(body))
  expect({ status, code }).toEqual({ status: 400, code: 'malformed_json' })
  expect(message).toContain(`at position ${position} (line `)
})

test('the position in a text of several lines names line and column', async () => {
  const { message } = await refusal(await collector.post('{\n  "events": [\n    x\n  ]\n}'))
  expect(message).toContain('at position 20 (line 3, column 5)')
})

test.each([
  ['1e400', 'properties.a'],
  ['-1e400', 'properties.a'],
  ['{"b":[1,{"c":1e400}]}', 'properties.a.b[1].c'],
  [`[${'9'.repeat(400)}]`, 'properties.a.0'],
])('a number that no float holds, %s, is refused with its path', async (number, path) => {
  const { code, details } = await refusal(await collector.post(withProperties(`{"a":${number}}`)))
  expect(code).toBe('invalid_event')
  expect(details).toMatchObject([{ path }])
})

test.each([
  ['arrays', '['.repeat(100_000) + ']'.repeat(100_000)],
  ['objects', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`],
])('100,000 %s inside one another are refused', async (_name, nested) => {
  for (const body of [nested, `{"events":[${nested}]}`, withProperties(`{"a":${nested}}`)]) {
    const { status, code } = await refusal(await collector.post(body))
    expect([status, code]).toEqual([400, 'invalid_event'])
    const line = body.startsWith('{"events":[{"type"') ? body.slice('{"events":['.length, -2) : body
    expect((await refusal(await collector.post(line, { 'content-type': NDJSON }))).status).toBe(400)
  }
  expect(await refusal(await collector.post('['.repeat(1_000_000)))).toMatchObject({ code: 'malformed_json' })
})

test('100,000 arrays inside one another beside an integer beyond 2^53: one is refused, the other keeps its digits', async () => {
  const type = `t ${crypto.randomUUID()}`
  const good = JSON.stringify(makeDraft({ type, properties: 'P' })).replace('"P"', '{"n":9007199254740993}')
  const deep = JSON.stringify(makeDraft({ properties: 'P' })).replace(
    '"P"',
    `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
  )
  for (const [body, headers] of [
    [`{"events":[${good},${deep}]}`, {}],
    [`${good}\n${deep}`, { 'content-type': NDJSON }],
  ] as const) {
    const response = await collector.post(body, headers)
    expect([response.status, await response.json()]).toMatchObject([201, { accepted: 1, rejected: 1 }])
  }
  await collector.flushed()
  const sql = `SELECT toString(properties.n) AS n FROM events WHERE type = '${type}'`
  expect(await collector.rows(sql)).toEqual([{ n: '9007199254740993' }, { n: '9007199254740993' }])
})

test('10,000 keys, and keys without end, are refused', async () => {
  const many = Object.fromEntries(makeDrafts(10_000).map((_, n) => [`k${n}`, n]))
  expect(await refusal(await collector.postEvents([makeDraft({ properties: many })]))).toMatchObject({ status: 400 })
  const long = { ['k'.repeat(257)]: 1 }
  expect(await refusal(await collector.postEvents([makeDraft({ properties: long })]))).toMatchObject({ status: 400 })
  // New keys in every request: what is kept of them is bounded.
  for (let n = 0; n < 50; n++) {
    const properties = Object.fromEntries(Array.from({ length: 1_000 }, (_, k) => [`key ${n} ${k}`, k]))
    expect((await collector.postEvents([makeDraft({ properties })])).status).toBe(201)
  }
})

test('a byte order mark is passed over, however the body comes', async () => {
  const event = JSON.stringify(makeDraft({ properties: { replaced: '\ufffd' } }))
  for (const [text, type] of [
    [`\ufeff{"events":[${event}]}`, 'application/json'],
    [`\ufeff${event}`, NDJSON],
  ] as const) {
    const headers = { 'content-type': type }
    expect((await collector.post(text, headers)).status).toBe(201)
    expect((await collector.post(zlib.gzipSync(text), { ...headers, 'content-encoding': 'gzip' })).status).toBe(201)
  }
})

test('invalid UTF-8 is 400, in JSON and NDJSON', async () => {
  const good = Buffer.from(JSON.stringify({ events: [makeDraft({ user_id: 'USER' })] }))
  for (const bytes of [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82], [0x80]]) {
    const at = good.indexOf('USER')
    const body = Buffer.concat([good.subarray(0, at), Buffer.from(bytes), good.subarray(at + 4)])
    for (const headers of [{}, { 'content-type': NDJSON }]) {
      const { status, code } = await refusal(await collector.post(body, headers))
      expect([status, code]).toEqual([400, 'malformed_json'])
    }
  }
})

test('NUL characters, lone surrogates and keys of the language itself are data like any other', async () => {
  const type = `t ${crypto.randomUUID()}`
  const properties =
    '{"\\u0000":"a\\u0000b","lone":"\\ud800","__proto__":{"polluted":1},"constructor":{"prototype":2},"toString":3,"":4}'
  const event = JSON.stringify(makeDraft({ type, user_id: 'u\0', properties: 'P' })).replace('"P"', () => properties)
  const withProto = event.replace('{', '{"__proto__":{"type":"evil","user_id":"evil"},')
  expect((await collector.post(`{"__proto__":{"events":[]},"events":[${withProto}]}`)).status).toBe(201)
  await collector.flushed()
  const sql = `SELECT user_id, toString(properties) AS text FROM events WHERE type = '${type}'`
  const [row] = await collector.rows<{ user_id: string; text: string }>(sql)
  expect(row?.user_id).toBe('u\0')
  expect(row?.text).toContain('"__proto__":{"polluted":"1"}')
  expect(row?.text).toContain('"constructor":{"prototype":"2"}')
  expect(row?.text).toContain('"lone":"\ufffd"')
  expect(row?.text).toContain('a\\u0000b')
  expect((await refusal(await collector.post('{"__proto__":{"events":[{}]}}'))).status).toBe(400)
})

test('keys that differ in lone surrogates alone are one, in an identify too, and what comes afterwards flows', async () => {
  const user = () => `u ${crypto.randomUUID()}`
  const traits = { a: [{ '\ud800': 1, '\ud801': 2, '\ufffd': 3 }], 'x\udc00': 'first', 'x\udfff': 'second' }
  const identify = (userId: string) =>
    JSON.stringify(makeDraft({ type: 'identify', user_id: userId, properties: traits, context: traits }))
  const [canonical, line, call, after] = [user(), user(), user(), user()]
  expect((await collector.post(`{"events":[${identify(canonical)}]}`)).status).toBe(201)
  expect((await collector.post(identify(line), { 'content-type': NDJSON })).status).toBe(201)
  const segment = await collector.post(JSON.stringify({ userId: call, traits, context: traits }), {}, '/v1/identify')
  expect(segment.status).toBe(200)
  await collector.flushed()
  await collector.postEvents([makeDraft({ type: 'identify', user_id: after, properties: { plan: 'pro' } })])
  await collector.flushed()
  const stored = await collector.rows<{ user_id: string; text: string }>(
    `SELECT user_id, toString(traits) AS text FROM users WHERE user_id IN ('${[canonical, line, call, after].join("','")}')`,
  )
  const wanted = '{"a":[{"\ufffd":"1"}],"x\ufffd":"first"}'
  const texts = new Map(stored.map(({ user_id, text }) => [user_id, text]))
  expect([canonical, line, call].map((id) => texts.get(id))).toEqual([wanted, wanted, wanted])
  expect(texts.get(after)).toBe('{"plan":"pro"}')
})

describe('bombs', () => {
  const zeros = (bytes: number) => Buffer.alloc(bytes, 0x20)
  const BOMBS: [string, Uint8Array<ArrayBuffer>][] = [
    ['gzip', zlib.gzipSync(zeros(600 * MiB))],
    ['deflate', zlib.deflateSync(zeros(600 * MiB))],
    ['br', zlib.brotliCompressSync(zeros(600 * MiB), { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } })],
    ['zstd', zlib.zstdCompressSync(zeros(600 * MiB))],
  ]

  test.each(BOMBS)('a bomb of %s is 413 and takes no memory', async (encoding, bomb) => {
    const rssBefore = collector.rssBytes()
    for (let n = 0; n < 3; n++) {
      for (const type of ['application/json', NDJSON]) {
        const response = await collector.post(bomb, { 'content-encoding': encoding, 'content-type': type })
        expect(await refusal(response)).toMatchObject({ status: 413, code: 'payload_too_large' })
      }
    }
    expect(collector.rssBytes() - rssBefore).toBeLessThan(250 * MiB)
  })
})

describe('broken HTTP', () => {
  const key = () => ({ 'api-key': collector.key })
  const body = JSON.stringify({ events: [makeDraft()] })

  test.each<[string, () => string, number]>([
    [
      'a length that is shorter than the body',
      () => postHead('/v1/events', { ...key(), 'content-length': 10 }) + body,
      400,
    ],
    ['a length that is no number', () => postHead('/v1/events', { ...key(), 'content-length': 'abc' }) + body, 400],
    ['a negative length', () => postHead('/v1/events', { ...key(), 'content-length': -1 }) + body, 400],
    ['a length beyond all numbers', () => postHead('/v1/events', { ...key(), 'content-length': '9'.repeat(30) }), 400],
    ['no length and no body', () => postHead('/v1/events', key()), 400],
    [
      'both a length and chunks',
      () => `${postHead('/v1/events', { ...key(), 'content-length': 5, 'transfer-encoding': 'chunked' })}0\r\n\r\n`,
      400,
    ],
    [
      'a chunk without a size',
      () => `${postHead('/v1/events', { ...key(), 'transfer-encoding': 'chunked' })}zz\r\n`,
      400,
    ],
    ['headers of 100 KB', () => postHead('/v1/events', { ...key(), 'x-long': 'x'.repeat(100_000) }), 431],
    ['no HTTP at all', () => 'hello\r\n\r\n', 400],
    ['a Host that is none', () => 'GET /nothing HTTP/1.1\r\nhost: a b [\r\n\r\n', 404],
    ['a Host of one letter', () => 'PUT /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n', 405],
    ['no Host', () => 'GET /livez HTTP/1.1\r\n\r\n', 400],
  ])('%s', async (_name, request, status) => {
    const answer = await rawRequest(collector.port, request())
    expect(answer?.status).toBe(status)
  })

  test('garbage behind a good request does not reach its answer', async () => {
    const connection = await openConnection(collector.port)
    await connection.send(postHead('/v1/events', { ...key(), 'content-length': Buffer.byteLength(body) }) + body)
    expect((await connection.answer())?.status).toBe(201)
    await connection.send('\0\0garbage\r\n\r\n')
    const answer = await connection.answer()
    if (answer !== undefined) expect(answer.status).toBe(400)
    connection.close()
  })

  test('clients that go away in the middle of a body leave nothing behind', async () => {
    const { accepted } = (await collector.stats()).events
    const half = body.slice(0, body.length / 2)
    const lines = makeDrafts(5_000).map((event) => JSON.stringify(event))
    const heads = [
      postHead('/v1/events', { ...key(), 'content-length': body.length }) + half,
      postHead('/v1/events', { ...key(), 'content-length': MiB }) + half,
      postHead('/v1/events', { ...key(), 'content-length': MiB, 'content-encoding': 'gzip' }) + half,
      `${postHead('/v1/events', { ...key(), 'transfer-encoding': 'chunked' })}ffff\r\n${half}`,
      `${postHead('/v1/events', { ...key(), 'content-length': 64 * MiB, 'content-type': NDJSON })}${half}`,
    ]
    for (let round = 0; round < 100; round++) {
      await Promise.all(
        heads.map(async (bytes) => {
          const connection = await openConnection(collector.port)
          await connection.send(bytes)
          connection.close()
        }),
      )
    }
    expect((await collector.stats()).events.accepted).toBe(accepted)
    // Of a stream of lines, what came before the client went away may be taken: exactly so much is stored (see afterAll).
    const connection = await openConnection(collector.port)
    const head = postHead('/v1/events', { ...key(), 'content-length': 64 * MiB, 'content-type': NDJSON })
    await connection.send(head + lines.join('\n'))
    connection.close()
    await waitUntil('what they held is free', async () => (await collector.stats()).bodies_in_flight_bytes === 0)
  })
})

test('a million chunks of one byte are a body like any other', async () => {
  const rssBefore = collector.rssBytes()
  for (const [type, text] of [
    ['application/json', withProperties(`{"a":"${'x'.repeat(300_000)}"}`)],
    [NDJSON, 'x'.repeat(300_000)],
  ] as const) {
    const chunks = Array.from(Buffer.from(text), (byte) => Buffer.from([0x31, 13, 10, byte, 13, 10]))
    const head = postHead('/v1/events', {
      'api-key': collector.key,
      'content-type': type,
      'transfer-encoding': 'chunked',
    })
    const request = Buffer.concat([Buffer.from(head), ...chunks, Buffer.from('0\r\n\r\n')])
    const answers = await Promise.all([1, 2, 3].map(() => rawRequest(collector.port, request)))
    expect(answers.map((answer) => answer?.status)).toEqual(type === NDJSON ? [400, 400, 400] : [201, 201, 201])
  }
  expect(collector.rssBytes() - rssBefore).toBeLessThan(500 * MiB)
})

test('thousands of bad requests leave no memory behind', async () => {
  const gzip = zlib.gzipSync(JSON.stringify({ events: makeDrafts(50) }))
  const bad: [RequestInit['body'], Record<string, string>][] = [
    ['{"events":[', {}],
    [withProperties('['.repeat(5_000)), {}],
    [withProperties('{"a":1e400}'), {}],
    [gzip.subarray(0, gzip.length - 20), { 'content-encoding': 'gzip' }],
    [gzip.subarray(0, gzip.length - 20), { 'content-encoding': 'gzip', 'content-type': NDJSON }],
    [gzip, { 'content-encoding': 'br' }],
    [gzip, { 'content-encoding': 'zstd', 'content-type': NDJSON }],
    ['x'.repeat(50_000), { 'content-type': NDJSON }],
    ['{}', { 'api-key': `sk_${crypto.randomUUID()}` }],
    ['{}', { 'content-encoding': 'none' }],
  ]
  const round = async (times: number) => {
    for (let n = 0; n < times; n++) {
      const responses = await Promise.all(bad.map(([body, headers]) => collector.post(body, headers)))
      for (const response of responses) {
        expect(response.status).toBeGreaterThanOrEqual(400)
        expect(response.status).toBeLessThan(500)
        await response.arrayBuffer()
      }
    }
  }
  await round(100)
  const rssBefore = collector.rssBytes()
  await round(400)
  expect(collector.rssBytes() - rssBefore).toBeLessThan(100 * MiB)
})
