/** When a call of Segment's API happened, by clocks that are right, off, or broken. */
import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { occurredAt } from '../../src/protocols/segment-time.ts'

const RECEIVED = Date.UTC(2026, 10, 20, 12)
const SECOND = 1_000
const HOUR = 3_600_000
const DAY = 24 * HOUR
const NONE = Number.NaN

test.each<[string, originalAt: number, sentAt: number, expected: number]>([
  ['a clock that is right', RECEIVED - 5 * SECOND, RECEIVED - SECOND, RECEIVED - 4 * SECOND],
  ['a clock an hour behind', RECEIVED - HOUR - 5 * SECOND, RECEIVED - HOUR, RECEIVED - 5 * SECOND],
  ['a clock an hour ahead', RECEIVED + HOUR - 5 * SECOND, RECEIVED + HOUR, RECEIVED - 5 * SECOND],
  ['a clock that was never set', 1_000, 6_000, RECEIVED - 5 * SECOND],
  ['a call that waited for a week', RECEIVED - 7 * DAY, RECEIVED, RECEIVED - 7 * DAY],
  ['a time of long ago, given by the caller', Date.UTC(2012, 0, 1), RECEIVED, Date.UTC(2012, 0, 1)],
  ['no time at all', NONE, NONE, RECEIVED],
  ['only the time it was sent', NONE, RECEIVED - HOUR, RECEIVED],
  ['only the client’s time', RECEIVED - HOUR, NONE, RECEIVED - HOUR],
  ['only the client’s time, ahead', RECEIVED + HOUR, NONE, RECEIVED + HOUR],
  ['sent a little before it happened', RECEIVED - SECOND, RECEIVED - 1_500, RECEIVED + 500],
  ['sent long before it happened', RECEIVED - SECOND, RECEIVED - DAY, RECEIVED - SECOND],
  ['a sending clock of 1970', RECEIVED - SECOND, 0, RECEIVED - SECOND],
  ['a sending clock of 2199', RECEIVED - SECOND, Date.UTC(2199, 0, 1), RECEIVED - SECOND],
])('%s', (_, originalAt, sentAt, expected) => {
  expect(occurredAt(RECEIVED, originalAt, sentAt)).toBe(expected)
})

test('how far a clock is off makes no difference', () => {
  const skew = fc.integer({ min: -20 * 365 * DAY, max: 20 * 365 * DAY })
  const waited = fc.integer({ min: 0, max: 30 * DAY })
  fc.assert(
    fc.property(skew, waited, (skewMs, waitedMs) => {
      const sentAt = RECEIVED + skewMs
      expect(occurredAt(RECEIVED, sentAt - waitedMs, sentAt)).toBe(RECEIVED - waitedMs)
    }),
  )
})
