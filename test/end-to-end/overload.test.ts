/** More than fits: of events, of bytes, of clients. What is refused is refused in time and in words, and memory stays bounded. */
import { afterEach, expect, test } from 'bun:test'
import type { EmbeddedClickHouse } from '../../src/sink/embedded-clickhouse.ts'
import { accountFor } from '../support/accounting.ts'
import { type Collector, startCollector, waitUntil } from '../support/collector.ts'
import { newHomeWithoutEngine } from '../support/engine.ts'
import { makeDraft, makeDrafts } from '../support/event-drafts.ts'
import { Producer } from '../support/producer.ts'
import { randomFrom } from '../support/random.ts'
import { openConnection, postHead, type RawConnection } from '../support/raw-http.ts'

const MiB = 1024 * 1024

let collector: Collector
let engine: EmbeddedClickHouse | undefined
const connections: RawConnection[] = []

afterEach(async () => {
  for (const connection of connections.splice(0)) connection.close()
  await collector.kill9()
  await engine?.stop()
  engine = undefined
  collector.home.remove()
})

async function connectAndSend(bytes: string | Uint8Array): Promise<RawConnection> {
  const connection = await openConnection(collector.port)
  connections.push(connection)
  await connection.send(bytes)
  return connection
}

/** Samples the collector's memory until it is told to stop, and gives the highest. */
function watchMemory(): () => number {
  let highest = collector.rssBytes()
  const timer = setInterval(() => {
    highest = Math.max(highest, collector.rssBytes())
  }, 50)
  return () => {
    clearInterval(timer)
    return highest
  }
}

test('a full log is 503 until ClickHouse is back; nothing acknowledged is lost or doubled, nothing refused is stored', async () => {
  const sizes = { SEGMENT_BYTES: '64KiB', RING_BYTES: '128KiB', WAL_MAX_BYTES: '1MiB', IN_FLIGHT_BYTES_MAX: '1MiB' }
  const { home, startEngine } = newHomeWithoutEngine(sizes)
  collector = await startCollector({ home, untilFlowing: false })
  const { url, key } = collector
  const producers = Array.from({ length: 16 }, (_, number) => {
    return new Producer({ name: `p${number}`, eventsMax: 100, random: randomFrom(number) })
  })
  const rssBefore = collector.rssBytes()
  const highest = watchMemory()
  const sending = producers.map((producer) => producer.run(url, key))
  const answered = (status: number) => producers.reduce((sum, { answers }) => sum + (answers.get(status) ?? 0), 0)
  await waitUntil('the log is full', () => answered(503) > 0)
  // Ten times as many requests again as had fitted.
  const fitted = answered(201)
  await waitUntil('much more was refused', () => answered(503) > 10 * fitted)

  const refused = await collector.postEvents(makeDrafts(100))
  expect(refused.status).toBe(503)
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(await refused.json()).toMatchObject({
    error: { code: 'overloaded', message: expect.stringMatching(/log is full/) },
  })
  expect((await fetch(`${url}/readyz`)).status).toBe(503)
  expect((await fetch(`${url}/livez`)).status).toBe(200)
  const health = await fetch(`${url}/health`)
  expect([health.status, await health.json()]).toMatchObject([503, { status: 'down' }])
  expect((await collector.stats()).buffer.log_bytes).toBeLessThanOrEqual(MiB)
  expect(highest() - rssBefore).toBeLessThan(250 * MiB)

  engine = startEngine()
  const acknowledged = () => producers.reduce((sum, producer) => sum + producer.acknowledged, 0)
  const before = acknowledged()
  await waitUntil('it accepts again', () => acknowledged() > before + 5_000)
  for (const producer of producers) producer.stop()
  await Promise.all(sending)
  await collector.flushed()
  await waitUntil('it is ready again', async () => (await fetch(`${url}/readyz`)).status === 200)
  const account = await accountFor(collector, producers)
  expect(account).toMatchObject({ lost: [], doubled: [], unknown: [], unansweredStored: 0 })
  expect(account.acknowledged).toBe(acknowledged())
})

test('slow clients do not keep others out, whatever they announce, and take no memory', async () => {
  collector = await startCollector()
  const rssBefore = collector.rssBytes()
  const key = { 'api-key': collector.key }
  const ndjson = { ...key, 'content-type': 'application/x-ndjson' }
  const kinds: [head: string, piece: string][] = [
    [postHead('/v1/events', { ...key, 'content-length': 1_000 }), 'x'],
    [postHead('/v1/events', { ...key, 'content-length': 64 * 1024 }), 'x'],
    [postHead('/v1/events', { ...key, 'content-length': 64 * 1024, 'content-encoding': 'gzip' }), '\x1f'],
    [postHead('/v1/events', { ...key, 'content-length': MiB }), 'x'],
    [postHead('/v1/events', { ...key, 'content-length': MiB, 'content-encoding': 'gzip' }), '\x1f'],
    [postHead('/v1/events', { ...key, 'transfer-encoding': 'chunked' }), '1\r\n{\r\n'],
    [postHead('/v1/events', { ...ndjson, 'transfer-encoding': 'chunked' }), '1\r\n{\r\n'],
    [postHead('/v1/events', { ...ndjson, 'content-length': 64 * MiB }), '{'],
    ['POST /v1/events HTTP/1.1\r\nhost: test\r\nx-slow: ', 'x'],
  ]
  for (const [head, piece] of kinds) {
    const slow = await Promise.all(Array.from({ length: 600 }, () => connectAndSend(head)))
    for (let round = 0; round < 3; round++) {
      for (const connection of slow) connection.socket.write(piece)
      await Bun.sleep(10)
    }
    expect((await collector.postEvents(makeDrafts(100))).status).toBe(201)
    const lines = makeDrafts(100).map((event) => JSON.stringify(event))
    expect((await collector.post(lines.join('\n'), ndjson)).status).toBe(201)
  }
  expect(collector.rssBytes() - rssBefore).toBeLessThan(150 * MiB)
  for (const connection of connections.splice(0)) connection.close()
  await waitUntil('what they held is free', async () => (await collector.stats()).bodies_in_flight_bytes === 0)
  await collector.flushed()
  expect(await collector.query('SELECT count() FROM events')).toBe(`${kinds.length * 200}\n`)
})

test('bodies without a key do not take the room of those with one', async () => {
  collector = await startCollector()
  const head = postHead('/api/track', { 'content-length': MiB })
  const unfinished = Buffer.alloc(MiB - 1, ' ')
  const keyless = await Promise.all(Array.from({ length: 40 }, () => connectAndSend(head)))
  for (const connection of keyless) connection.socket.write(unfinished)
  await waitUntil('some are held', async () => (await collector.stats()).bodies_in_flight_bytes > 15 * MiB)
  const refused = await Promise.race(keyless.map((connection) => connection.answer()))
  expect(refused).toMatchObject({ status: 503, body: expect.stringContaining('too many requests at once') })
  expect((await collector.stats()).bodies_in_flight_bytes).toBeLessThanOrEqual(16 * MiB)
  const event = makeDraft({ properties: { a: Array.from({ length: 30 }, () => 'x'.repeat(9_000)) } })
  expect((await collector.postEvents([event])).status).toBe(201)
  for (const connection of connections.splice(0)) connection.close()
  await waitUntil('what they held is free', async () => (await collector.stats()).bodies_in_flight_bytes === 0)
})

test('clients that never read their answers take no memory', async () => {
  collector = await startCollector()
  const rssBefore = collector.rssBytes()
  const body = JSON.stringify({ events: [makeDraft({ type: 5, timestamp: 'x'.repeat(1_000) })] })
  const headers = { 'api-key': collector.key, 'content-length': Buffer.byteLength(body) }
  const requests = `GET /livez HTTP/1.1\r\nhost: test\r\n\r\n`.repeat(2_000) + postHead('/v1/events', headers) + body
  await Promise.all(
    Array.from({ length: 200 }, async () => {
      const connection = await openConnection(collector.port)
      connections.push(connection)
      connection.socket.pause()
      connection.socket.write(requests)
    }),
  )
  for (let n = 0; n < 20; n++) {
    expect((await collector.postEvents(makeDrafts(10))).status).toBe(201)
    await Bun.sleep(50)
  }
  expect(collector.rssBytes() - rssBefore).toBeLessThan(250 * MiB)
})

test.each(['announced', 'chunked', 'ndjson'])(
  'a thousand bodies of 1 MiB at the same time (%s) take bounded memory: some are taken whole, the others get 503',
  async (kind) => {
    collector = await startCollector()
    const rssBefore = collector.rssBytes()
    const padding = 'x'.repeat(10_000)
    const events = makeDrafts(95).map((event) => ({ ...event, properties: { padding } }))
    const text =
      kind === 'ndjson' ? events.map((event) => JSON.stringify(event)).join('\n') : JSON.stringify({ events })
    const body = Buffer.from(text)
    const type = kind === 'ndjson' ? 'application/x-ndjson' : 'application/json'
    const length = kind === 'chunked' ? { 'transfer-encoding': 'chunked' } : { 'content-length': body.length }
    const head = postHead('/v1/events', { 'api-key': collector.key, 'content-type': type, ...length })
    const whole =
      kind === 'chunked'
        ? Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')])
        : body
    const highest = watchMemory()
    const begun = await Promise.all(Array.from({ length: 1_000 }, () => connectAndSend(head)))
    for (const connection of begun) connection.socket.write(whole)
    const answers = await Promise.all(begun.map((connection) => connection.answer()))
    const taken = answers.filter((answer) => answer?.status === 201).length
    const refused = answers.filter((answer) => answer?.status === 503)
    expect(taken).toBeGreaterThan(0)
    expect(taken + refused.length).toBe(1_000)
    // Bun takes in what the clients send before it is asked for; it comes to less than the bodies together.
    expect(highest() - rssBefore).toBeLessThan(900 * MiB)
    const alsoStored = refused.reduce((sum, answer) => sum + (JSON.parse(answer?.body ?? '').error.accepted ?? 0), 0)
    await collector.flushed()
    expect(await collector.query('SELECT count() FROM events')).toBe(`${taken * 95 + alsoStored}\n`)
    expect(await collector.stats()).toMatchObject({ bodies_in_flight_bytes: 0 })
  },
)
