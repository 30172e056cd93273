/** What of a socket cannot be tried with the whole collector: its pings are 30 s apart. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { RequestContext } from '../../src/http/edge.ts'
import { Streams, socketOptions } from '../../src/http/streams.ts'
import { EventStream } from '../../src/protocols/stream.ts'
import { EventCounts } from '../../src/telemetry/event-counts.ts'
import { NOOP_TELEMETRY } from '../../src/telemetry/telemetry.ts'
import { frameBytes, RawStream } from '../fuzz/sockets.ts'
import { waitUntil } from '../support/collector.ts'

const PING_INTERVAL_MS = 100

let server: Bun.Server<EventStream>
let streams: Streams

beforeAll(() => {
  streams = new Streams(100, PING_INTERVAL_MS)
  const inFlight = { take: () => true, release: () => undefined }
  const pipeline = { counts: new EventCounts() }
  const keys = { authenticate: () => ({ scopes: ['ingest'] }) }
  const turns = { enter: () => true }
  const work = { keys, turns, limits: { bodyBytesMax: 1024 } }
  const edge = { isLogFilling: () => false, inFlight, pipeline, telemetry: NOOP_TELEMETRY, ...work }
  const context = { requestId: 'r', edge, key: { tenantId: 'tenant' } } as unknown as RequestContext
  server = Bun.serve<EventStream, never>({
    port: 0,
    hostname: '127.0.0.1',
    fetch: (request, { upgrade }) =>
      upgrade.call(server, request, { data: new EventStream(context, '', null, streams) })
        ? undefined
        : new Response('', { status: 400 }),
    websocket: {
      ...socketOptions(1024),
      open: (socket) => socket.data.open(socket),
      message: (socket, message) => socket.data.message(socket, message),
      drain: (socket) => socket.data.drain(),
      pong: (socket) => socket.data.pong(),
      close: (socket) => socket.data.close(),
    },
  })
})

afterAll(async () => {
  await streams.close()
  await server.stop(true)
})

test('clients that flood, read nothing and go away are let go of', async () => {
  // Each is answered by an error, for which nobody waits.
  const flood = Buffer.concat(Array.from({ length: 3_000 }, () => frameBytes({ opcode: 1, payload: Buffer.from('{') })))
  for (let round = 0; round < 8; round++) {
    await Promise.all(
      Array.from({ length: 8 }, async (_, number) => {
        const stream = await RawStream.open(server.port ?? 0, '')
        if (typeof stream === 'number') throw new Error(`not opened: ${stream}`)
        stream.send(flood)
        if (number % 2 === 0) stream.halfClose()
        else await Bun.sleep(number * 10)
        stream.close()
      }),
    )
  }
  await waitUntil('all are closed', () => streams.stats().connections === 0, 10_000)
})

test('a client that is slowed down and reads on keeps its socket', async () => {
  const stream = await RawStream.open(server.port ?? 0, '')
  if (typeof stream === 'number') throw new Error(`not opened: ${stream}`)
  for (let n = 0; n < 5_000; n++) stream.send(frameBytes({ opcode: 1, payload: Buffer.from('{') }))
  let answered = 0
  for (let said = await stream.next(5_000); said !== undefined; said = await stream.next(5_000)) {
    if (said.includes('malformed_json')) answered++
    if (answered === 5_000) break
  }
  expect(answered).toBe(5_000)
  stream.close()
})

test('a message is not read before its turn: what comes of it takes more room than its text', async () => {
  const said: string[] = []
  const socket = { send: (text: string) => said.push(text), getBufferedAmount: () => 0, isPaused: false }
  const turn = Promise.withResolvers<boolean>()
  let reads = 0
  const edge = {
    isLogFilling: () => false,
    inFlight: { take: () => true, release: () => undefined },
    pipeline: { counts: new EventCounts() },
    telemetry: NOOP_TELEMETRY,
    keys: { authenticate: () => ({ scopes: ['ingest'] }) },
    turns: { enter: () => turn.promise },
    limits: { bodyBytesMax: 1024 },
    scanner: { read: () => void reads++ },
  }
  const context = { requestId: 'r', edge, key: { tenantId: 'tenant' } } as unknown as RequestContext
  const stream = new EventStream(context, '', null, new Streams(1))
  stream.open(socket as unknown as Bun.ServerWebSocket<unknown>)
  stream.message(socket as unknown as Bun.ServerWebSocket<unknown>, '{"seq":3}')
  await Bun.sleep(5)
  expect(reads).toBe(0)
  turn.resolve(true)
  await waitUntil('it is answered', () => said.length > 0)
  expect([reads, JSON.parse(said[0] ?? '')]).toMatchObject([1, { type: 'error', seq: 3 }])
})
