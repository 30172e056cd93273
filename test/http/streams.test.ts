import { expect, test } from 'bun:test'
import { type Stream, Streams } from '../../src/http/streams.ts'
import { waitUntil } from '../support/collector.ts'

/** A socket that answers pings for so many rounds. */
function makeStream(roundsAlive: number, tenantId = 'one'): Stream & { beats: number; isTerminated: boolean } {
  const stream: ReturnType<typeof makeStream> = {
    tenantId,
    beats: 0,
    isTerminated: false,
    isPaused: false,
    beat: () => ++stream.beats <= roundsAlive,
    terminate() {
      stream.isTerminated = true
      streams.delete(stream)
    },
    end: async () => streams.delete(stream),
  }
  return stream
}

let streams: Streams

test('every socket is asked again and again, and cut off when it has not answered', async () => {
  streams = new Streams(10, 5)
  const living = makeStream(Number.POSITIVE_INFINITY)
  const dying = makeStream(3)
  streams.add(living)
  streams.add(dying)
  expect(streams.stats()).toEqual({ connections: 2, paused: 0 })
  await waitUntil('the silent one is cut off', () => dying.isTerminated)
  expect(dying.beats).toBe(4)
  expect(living.isTerminated).toBe(false)
  await streams.close()
  expect(streams.stats()).toEqual({ connections: 0, paused: 0 })
})

test('a socket that comes during the stop is ended too', async () => {
  streams = new Streams(10)
  await streams.close()
  streams.add(makeStream(1))
  await Promise.resolve()
  expect(streams.stats().connections).toBe(0)
})

test('so many may be open, half of them of one tenant, and another one when one has closed', async () => {
  streams = new Streams(4)
  const open = (tenantId: string) => {
    const refused = streams.refusal(tenantId)
    if (refused === undefined) streams.add(makeStream(1, tenantId))
    return refused?.message
  }
  const first = makeStream(1, 'a')
  streams.add(first)
  expect(open('a')).toBeUndefined()
  expect(open('a')).toContain('2 streams of this tenant')
  expect([open('b'), open('c')]).toEqual([undefined, undefined])
  expect(open('d')).toContain('4 streams are open')
  streams.delete(first)
  streams.delete(first)
  expect(open('a')).toBeUndefined()
  expect(open('a')).toContain('4 streams are open')
  await streams.close()
})
