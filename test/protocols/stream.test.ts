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
  streams = new Streams(PING_INTERVAL_MS)
  const inFlight = { take: () => true, release: () => undefined }
  const pipeline = { counts: new EventCounts() }
  const edge = { isLogFilling: () => false, inFlight, pipeline, telemetry: NOOP_TELEMETRY }
  const context = { requestId: 'r', edge } as unknown as RequestContext
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
