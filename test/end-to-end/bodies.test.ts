/** How bodies of `POST /v1/events` may arrive: compressed, in chunks, and up to which size. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import zlib from 'node:zlib'
import { type Collector, startCollector } from '../support/collector.ts'
import { makeDraft, makeDrafts } from '../support/event-drafts.ts'
import { openConnection, postHead } from '../support/raw-http.ts'

const BATCH_EVENTS_MAX = 10
const BODY_BYTES_MAX = 8 * 1024
const NDJSON_BYTES_MAX = 64 * 1024
const NDJSON = 'application/x-ndjson'
const JSON_TYPE = 'application/json'

const ENCODINGS: [name: string, header: string, encode: (text: string) => Uint8Array<ArrayBuffer>][] = [
  ['nothing', 'identity', (text) => Buffer.from(text)],
  ['gzip', 'gzip', zlib.gzipSync],
  ['gzip by its old name, in capitals', 'X-GZIP', zlib.gzipSync],
  ['deflate with zlib’s header', 'deflate', zlib.deflateSync],
  ['deflate with zlib’s header, stored', 'deflate', (text) => zlib.deflateSync(text, { level: 0 })],
  ['raw deflate', 'deflate', zlib.deflateRawSync],
  ['raw deflate, stored', 'deflate', (text) => zlib.deflateRawSync(text, { level: 0 })],
  ['br', 'br', zlib.brotliCompressSync],
  ['zstd', 'zstd', zlib.zstdCompressSync],
]

let collector: Collector

beforeAll(async () => {
  const sizes = { BATCH_EVENTS_MAX, BODY_BYTES_MAX, NDJSON_BYTES_MAX, IN_FLIGHT_BYTES_MAX: '8MiB' }
  const env = Object.fromEntries(Object.entries(sizes).map(([name, value]) => [name, String(value)]))
  collector = await startCollector({ env })
})

afterAll(async () => {
  expect((await collector.stats()).bodies_in_flight_bytes).toBe(0)
  await collector.stop()
  collector.home.remove()
})

const jsonOf = (events: readonly object[]) => JSON.stringify({ events })
const linesOf = (events: readonly object[]) => events.map((event) => JSON.stringify(event)).join('\n')

/** How many events of a type are stored, once everything is. */
async function stored(type: string): Promise<number> {
  await collector.flushed()
  return Number(await collector.query(`SELECT count() FROM events WHERE type = '${type}'`))
}

async function refusal(response: Response): Promise<unknown[]> {
  const { error } = (await response.json()) as { error?: { code: string } }
  return [response.status, error?.code]
}

describe.each(ENCODINGS)('a body encoded with %s', (_name, header, encode) => {
  test.each([
    [JSON_TYPE, jsonOf],
    [NDJSON, linesOf],
  ])('is taken as %s', async (contentType, write) => {
    const type = crypto.randomUUID()
    const events = makeDrafts(5).map((event) => ({ ...event, type }))
    const headers = { 'content-type': contentType, 'content-encoding': header }
    const response = await collector.post(encode(write(events)), headers)
    expect([response.status, await response.text()]).toEqual([201, '{"accepted":5,"rejected":0}'])
    expect(await stored(type)).toBe(5)
  })

  test.each([JSON_TYPE, NDJSON])('that is cut off is 400 as %s', async (contentType) => {
    const whole = encode(contentType === NDJSON ? linesOf(makeDrafts(5)) : jsonOf(makeDrafts(5)))
    const headers = { 'content-type': contentType, 'content-encoding': header }
    const response = await collector.post(whole.subarray(0, whole.length >> 1), headers)
    // Whole lines of an NDJSON body are taken before its end is seen; without an encoding nothing tells that it was cut.
    if (contentType === NDJSON && header === 'identity') expect(response.status).toBe(201)
    // Bun's zstd stream says nothing of a missing end: what came before it is taken.
    else if (contentType === NDJSON && header === 'zstd') expect(response.status).toBe(400)
    else expect(await refusal(response)).toEqual([400, 'malformed_json'])
  })
})

test.each(['snappy', 'gzip, gzip', 'gzip;q=1', '__proto__', 'constructor'])(
  'the encoding %j is 415 unsupported_encoding',
  async (encoding) => {
    for (const contentType of [JSON_TYPE, NDJSON]) {
      const headers = { 'content-type': contentType, 'content-encoding': encoding }
      expect(await refusal(await collector.post(jsonOf(makeDrafts(1)), headers))).toEqual([415, 'unsupported_encoding'])
    }
  },
)

const brotli = (text: string, lgwin: number) =>
  zlib.brotliCompressSync(text, { params: { [zlib.constants.BROTLI_PARAM_LGWIN]: lgwin } })

/** Without the length of what is in it, by which the encoder would choose a smaller window. */
async function zstd(text: string, windowLog: number): Promise<Uint8Array<ArrayBuffer>> {
  const stream = zlib.createZstdCompress({ params: { [zlib.constants.ZSTD_c_windowLog]: windowLog } })
  stream.write(text)
  stream.end()
  return Buffer.concat(await Array.fromAsync(stream))
}

describe.each([
  [JSON_TYPE, jsonOf],
  [NDJSON, linesOf],
])('the window of a body as %s', (contentType, write) => {
  test.each([
    ['br', 22, brotli],
    ['zstd', 23, zstd],
  ] as const)('may have a certain size: %s with 2^%i', async (encoding, largest, encode) => {
    const headers = { 'content-type': contentType, 'content-encoding': encoding }
    const events = write(makeDrafts(5))
    expect((await collector.post(await encode(events, largest), headers)).status).toBe(201)
    const response = await collector.post(await encode(events, largest + 1), headers)
    expect(await refusal(response)).toEqual([415, 'unsupported_encoding'])
  })

  test('costs nothing when it is of 16 MiB in 14 bytes', async () => {
    const headers = { 'content-type': contentType, 'content-encoding': 'br' }
    const response = await collector.post(Buffer.from('9fffffff002400e2b14072efff01', 'hex'), headers)
    expect(await refusal(response)).toEqual([415, 'unsupported_encoding'])
  })
})

test('a body that comes in chunks of a few bytes, without a length, is taken', async () => {
  const type = crypto.randomUUID()
  for (const [contentType, body] of [
    [JSON_TYPE, jsonOf([makeDraft({ type, user_id: 'ä😀' })])],
    [NDJSON, linesOf([makeDraft({ type, user_id: 'ä😀' }), makeDraft({ type })])],
  ] as const) {
    const connection = await openConnection(collector.port)
    const headers = { 'api-key': collector.key, 'content-type': contentType, 'transfer-encoding': 'chunked' }
    await connection.send(postHead('/v1/events', headers))
    const bytes = Buffer.from(body)
    for (let at = 0; at < bytes.length; at += 7) {
      const part = bytes.subarray(at, at + 7)
      await connection.send(Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')]))
    }
    await connection.send('0\r\n\r\n')
    expect((await connection.answer())?.status).toBe(201)
    connection.close()
  }
  expect(await stored(type)).toBe(3)
})

test('requests behind one another on one connection, each sent after the answer before, are answered', async () => {
  const type = crypto.randomUUID()
  const connection = await openConnection(collector.port)
  const bodies = Array.from({ length: 20 }, () => jsonOf([makeDraft({ type })]))
  const requests = bodies.map((body, n) => {
    const headers = { 'api-key': collector.key, 'x-request-id': `r${n}`, 'content-length': Buffer.byteLength(body) }
    return postHead('/v1/events', headers) + body
  })
  for (const [n, request] of requests.entries()) {
    await connection.send(request)
    expect(await connection.answer()).toMatchObject({ status: 201, headers: { 'x-request-id': `r${n}` } })
  }
  connection.close()
  expect(await stored(type)).toBe(20)
})

test('a batch of the limit is taken, one more is 413 batch_too_large and names both numbers', async () => {
  expect((await collector.postEvents(makeDrafts(BATCH_EVENTS_MAX))).status).toBe(201)
  const response = await collector.postEvents(makeDrafts(BATCH_EVENTS_MAX + 1))
  expect(response.status).toBe(413)
  expect(await response.json()).toMatchObject({
    error: { code: 'batch_too_large', message: 'a batch may have 10 events, this one has 11' },
  })
})

/** Events of exactly so many bytes: the last one is padded with spaces behind it. */
const padded = (text: string, bytes: number) => text + ' '.repeat(bytes - Buffer.byteLength(text))

/** A good body of exactly so many bytes. Its lines are short: one line may have BODY_BYTES_MAX. */
function bodyOf(contentType: string, bytes: number): string {
  if (contentType === JSON_TYPE) return padded(jsonOf(makeDrafts(1)), bytes)
  const line = JSON.stringify(makeDraft())
  const lines = Array.from({ length: Math.floor((bytes - 1) / (line.length + 1)) }, () => line)
  return padded(lines.join('\n'), bytes)
}

describe.each([
  [JSON_TYPE, BODY_BYTES_MAX],
  [NDJSON, NDJSON_BYTES_MAX],
])('the limit on bytes of %s', (contentType, bytesMax) => {
  // A stored body is longer than what comes out of it, and so beyond the limit before.
  const compressing = ENCODINGS.filter(([name]) => !name.endsWith('stored'))
  test.each(compressing)('counts what comes out of %s', async (_name, header, encode) => {
    const headers = { 'content-type': contentType, 'content-encoding': header }
    const fits = await collector.post(encode(bodyOf(contentType, bytesMax)), headers)
    expect([fits.status, await fits.text()]).toEqual([201, expect.stringContaining('"rejected":0')])
    const response = await collector.post(encode(bodyOf(contentType, bytesMax + 1)), headers)
    expect(await refusal(response)).toEqual([413, 'payload_too_large'])
  })

  test('counts chunks without a length', async () => {
    const chunks = (bytes: number) => {
      const body = Buffer.from(bodyOf(contentType, bytes))
      return new ReadableStream({
        async pull(controller) {
          controller.enqueue(body.subarray(0, 1000))
          await Bun.sleep(5)
          controller.enqueue(body.subarray(1000))
          controller.close()
        },
      })
    }
    const headers = { 'content-type': contentType }
    expect((await collector.post(chunks(bytesMax), headers)).status).toBe(201)
    expect(await refusal(await collector.post(chunks(bytesMax + 1), headers))).toEqual([413, 'payload_too_large'])
  })
})

test('a compressed body is refused by what it is before decompression too', async () => {
  const incompressible = Buffer.from(crypto.getRandomValues(new Uint8Array(BODY_BYTES_MAX + 1)))
  const response = await collector.post(incompressible, { 'content-encoding': 'gzip' })
  expect(await refusal(response)).toEqual([413, 'payload_too_large'])
})

test.each(['', '\n', `\n${JSON.stringify(makeDraft())}\n`])(
  'a line of NDJSON beyond the limit of one body is 413, with the number of events taken before (%j behind it)',
  async (behind) => {
    const [first, line] = [JSON.stringify(makeDraft()), JSON.stringify(makeDraft({ properties: { a: 'ä' } }))]
    const post = (bytes: number) =>
      collector.post(`${first}\n${padded(line, bytes)}${behind}`, { 'content-type': NDJSON })
    expect((await post(BODY_BYTES_MAX)).status).toBe(201)
    const response = await post(BODY_BYTES_MAX + 1)
    expect(response.status).toBe(413)
    const message = 'a line may have 8192 bytes, line 2 has more'
    expect(await response.json()).toMatchObject({ error: { code: 'payload_too_large', message, accepted: 1 } })
  },
)

test('a signature that the key does not want makes no upload smaller', async () => {
  const headers = { 'content-type': NDJSON, 'x-signature': 'ab' }
  expect((await collector.post(bodyOf(NDJSON, NDJSON_BYTES_MAX), headers)).status).toBe(201)
})

test.each([JSON_TYPE, NDJSON])('a %s body that is far too large is told so before it is sent', async (contentType) => {
  const connection = await openConnection(collector.port)
  const headers = { 'api-key': collector.key, 'content-type': contentType, 'content-length': 2 ** 50 }
  await connection.send(postHead('/v1/events', headers))
  const answer = await connection.answer()
  connection.close()
  expect(answer).toMatchObject({ status: 413, headers: { 'x-request-id': expect.any(String) } })
  expect(JSON.parse(answer?.body ?? '')).toMatchObject({ error: { code: 'payload_too_large' } })
})
