import { expect, test } from 'bun:test'
import { type Stream, Streams } from '../../src/http/streams.ts'
import { waitUntil } from '../support/collector.ts'

/** A socket that answers pings for so many rounds. */
function makeStream(roundsAlive: number): Stream & { beats: number; isTerminated: boolean } {
  const stream: ReturnType<typeof makeStream> = {
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
  streams = new Streams(5)
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
  streams = new Streams()
  await streams.close()
  streams.add(makeStream(1))
  await Promise.resolve()
  expect(streams.stats().connections).toBe(0)
})
