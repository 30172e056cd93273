import { expect, test } from 'bun:test'
import type { Edge, Visit } from '../../src/http/edge.ts'
import { InFlightBytes } from '../../src/http/in-flight.ts'
import { jsonDoor } from '../../src/http/json-door.ts'
import { EventCounts } from '../../src/telemetry/event-counts.ts'

const BODY_BYTES_MAX = 1024

/** A door whose key is in the body, and what is seen of its work. */
function makeDoor(turn: Promise<boolean>) {
  const seen = { entered: [] as number[], parsed: 0 }
  const door = jsonDoor({
    name: 'tried',
    limits: () => ({ bodyBytesMax: BODY_BYTES_MAX, batchEventsMax: 1 }),
    keyIn: () => {
      seen.parsed++
      return 'pk_unknown'
    },
    open: () => ({ values: [] }),
    acknowledge: () => ({ status: 200, body: '{}' }),
  })
  const turns = {
    enterUnchecked(bytes: number) {
      seen.entered.push(bytes)
      return turn
    },
  }
  const inFlight = new InFlightBytes(BODY_BYTES_MAX)
  const edge = {
    pipeline: { counts: new EventCounts() },
    keys: { authenticate: () => 'unknown' },
    turns,
    inFlight,
    unchecked: new InFlightBytes(BODY_BYTES_MAX, inFlight),
  } as unknown as Edge
  const visit = (body: string): Visit => {
    const headers = { 'content-length': String(body.length) }
    const request = new Request('http://test/', { method: 'POST', body, headers })
    return { edge, protocol: 'tried', request, requestId: 'r', origin: null, peerAddress: undefined, trace: undefined }
  }
  return { receive: (body: string) => door.receive(visit(body)), seen, inFlight }
}

test('a body that may have the key in it is parsed when the turn of such bodies comes', async () => {
  const turn = Promise.withResolvers<boolean>()
  const { receive, seen, inFlight } = makeDoor(turn.promise)
  const answer = receive('{"a":1}')
  while (seen.entered.length === 0) await Bun.sleep(1)
  await Bun.sleep(1)
  expect(seen).toEqual({ entered: [7], parsed: 0 })
  turn.resolve(true)
  expect((await answer).status).toBe(401)
  expect(seen.parsed).toBe(1)
  expect(inFlight.heldBytes).toBe(0)
})

test('without a turn such a body is 503, unparsed', async () => {
  const { receive, seen, inFlight } = makeDoor(Promise.resolve(false))
  expect((await receive('{')).status).toBe(503)
  expect(seen.parsed).toBe(0)
  expect(inFlight.heldBytes).toBe(0)
})
