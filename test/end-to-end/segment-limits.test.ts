/** Segment's HTTP API: limits on bodies, batches, calls and rates; what just fits, and what just does not. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import zlib from 'node:zlib'
import { runJson } from '../cli/run-cli.ts'
import { type Collector, startCollector } from '../support/collector.ts'
import { answerTo, sendText as sendTo } from '../support/segment-answers.ts'

const KiB = 1024

let collector: Collector

beforeAll(async () => {
  collector = await startCollector()
})

afterAll(async () => {
  expect((await collector.stats()).bodies_in_flight_bytes).toBe(0)
  await collector.stop()
  collector.home.remove()
})

const sendText = (path: string, text: string) => sendTo(collector, path, text)
const send = (path: string, body: unknown) => sendText(path, JSON.stringify(body))

/** A track call of exactly so many bytes as JSON. */
function callOf(bytes: number): object {
  const call = { type: 'track', userId: 'u', event: 'x', properties: { lines: [] as string[] } }
  const { lines } = call.properties
  // Several strings: one of more than 10 KB would be cut.
  for (let left = bytes - JSON.stringify(call).length; left > 0; ) {
    const comma = lines.length === 0 ? 0 : 1
    const take = left > 10_000 ? 9_000 : left
    lines.push('x'.repeat(take - comma - 2))
    left -= take
  }
  expect(Buffer.byteLength(JSON.stringify(call))).toBe(bytes)
  return call
}

test('a batch has 50 calls at most', async () => {
  const calls = (count: number) => Array.from({ length: count }, () => ({ type: 'page', userId: 'u' }))
  expect(await send('/v1/batch', { batch: calls(50) })).toEqual({ status: 200, success: true })
  const { status, error } = await send('/v1/batch', { batch: calls(51) })
  expect([status, error]).toMatchObject([413, { code: 'batch_too_large', message: expect.stringMatching(/50 .*51/) }])
})

test('a call has 32 KB at most, counted as JSON without spaces, alone and in a batch', async () => {
  const [largest, larger] = [callOf(32 * KiB), callOf(32 * KiB + 1)]
  const words = expect.stringMatching(/32768 .*32769/)
  expect(await send('/v1/track', largest)).toEqual({ status: 200, success: true })
  expect(await sendText('/v1/track', JSON.stringify(largest, null, 10))).toEqual({ status: 200, success: true })
  const alone = await send('/v1/track', larger)
  expect([alone.status, alone.error]).toMatchObject([413, { code: 'payload_too_large', message: words }])

  expect(await send('/v1/batch', { batch: [largest, largest] })).toEqual({ status: 200, success: true })
  const mixed = await send('/v1/batch', { batch: [larger, largest] })
  expect(mixed).toMatchObject({ status: 200, accepted: 1, rejected: 1 })
  expect(mixed.errors).toMatchObject([{ index: 0, code: 'payload_too_large', path: '', message: words }])
  const onlyLarge = await send('/v1/batch', { batch: [larger, larger] })
  expect([onlyLarge.status, onlyLarge.error]).toMatchObject([413, { code: 'payload_too_large', details: [{}, {}] }])
  // Characters of several bytes count as these.
  const wide = {
    type: 'track',
    userId: 'u',
    event: 'x',
    properties: { a: 'ü'.repeat(5_000), b: 'ü'.repeat(5_000), c: 'ü'.repeat(5_000) },
  }
  expect((await send('/v1/track', wide)).status).toBe(200)
  expect(
    (await send('/v1/track', { ...wide, anonymousId: 'ü'.repeat(256), context: { d: 'ü'.repeat(1_500) } })).status,
  ).toBe(413)
})

test('a body has 256 KB at most, after decompression', async () => {
  const text = JSON.stringify({ batch: [callOf(30_000), callOf(30_000)] })
  const padded = (bytes: number) => text + ' '.repeat(bytes - text.length)
  for (const encode of [Buffer.from, zlib.gzipSync] as const) {
    const headers: Record<string, string> = encode === zlib.gzipSync ? { 'content-encoding': 'gzip' } : {}
    const post = async (bytes: number) => answerTo(await collector.post(encode(padded(bytes)), headers, '/v1/batch'))
    expect(await post(256 * KiB)).toEqual({ status: 200, success: true })
    const { status, error } = await post(256 * KiB + 1)
    expect([status, error?.code]).toEqual([413, 'payload_too_large'])
  }
})

test('the context of a batch may not become more than four times the body’s limit in its calls', async () => {
  const batch = Array.from({ length: 50 }, () => ({ type: 'page', userId: 'u' }))
  const context = (bytes: number) => ({ a: 'x'.repeat(9_000), b: 'x'.repeat(bytes - 9_000 - '{"a":"","b":""}'.length) })
  const bytesMax = Math.floor((4 * 256 * KiB) / 50)
  expect(await send('/v1/batch', { batch, context: context(bytesMax - 3_000) })).toMatchObject({ status: 200 })
  const { status, error } = await send('/v1/batch', { batch, context: context(bytesMax + 1) })
  expect([status, error?.code]).toEqual([413, 'payload_too_large'])
})

test('a key over its rate is told 429 and when to come again, which the libraries do', async () => {
  const workspace = ['--tenant', 'acme', '--workspace', 'web', '--tier', 'free']
  const { secret_key: key } = await runJson(collector.home.env, 'provision', ...workspace)
  const body = JSON.stringify({
    batch: Array.from({ length: 50 }, () => ({ type: 'page', userId: 'u' })),
    writeKey: key,
  })
  const statuses: number[] = []
  for (let n = 0; n < 6; n++) {
    const response = await fetch(`${collector.url}/v1/batch`, { method: 'POST', body })
    statuses.push(response.status)
    expect(response.headers.get('x-ratelimit-limit')).toBe('100')
    if (response.status === 429) expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
  }
  expect(statuses).toEqual([200, 200, 200, 200, 429, 429])
})
