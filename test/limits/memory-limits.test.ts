import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { MemoryLimits } from '../../src/limits/memory-limits.ts'

/** A key of so many events a minute. */
function key(eventsPerMinute: number, keyId = 'key') {
  return { keyId, eventsPerMinute }
}

/** Limits with a clock that tests move. */
function atRest(options: { bucketsMax?: number } = {}) {
  const clock = { ms: 1_000 }
  return { clock, limits: new MemoryLimits({ ...options, now: () => clock.ms }) }
}

describe('a bucket', () => {
  test('gives twice the limit at once, then refuses, and tells where the key stands', () => {
    const { limits } = atRest()
    expect(limits.take(key(60), 1)).toEqual({
      taken: true,
      limit: 60,
      remaining: 119,
      resetSeconds: 1,
      retryAfterSeconds: 0,
    })
    expect(limits.take(key(60), 119)).toMatchObject({ taken: true, remaining: 0, resetSeconds: 120 })
    expect(limits.take(key(60), 1)).toEqual({
      taken: false,
      limit: 60,
      remaining: 0,
      resetSeconds: 120,
      retryAfterSeconds: 1,
    })
    expect(limits.take(key(60), 30)).toMatchObject({ taken: false, retryAfterSeconds: 30 })
    expect(limits.stats()).toEqual({ keys: 1, refused_requests: 2 })
  })

  test('fills up again, evenly, and not above the brim', () => {
    const { clock, limits } = atRest()
    limits.take(key(60), 120)
    clock.ms += 999
    expect(limits.take(key(60), 1)).toMatchObject({ taken: false, retryAfterSeconds: 1 })
    clock.ms += 1
    expect(limits.take(key(60), 1)).toMatchObject({ taken: true, remaining: 0 })
    clock.ms += 3_600_000
    expect(limits.take(key(60), 0)).toMatchObject({ taken: true, remaining: 120, resetSeconds: 0 })
  })

  test('refuses a request whole and takes nothing for it', () => {
    const { limits } = atRest()
    limits.take(key(60), 100)
    expect(limits.take(key(60), 21)).toMatchObject({ taken: false, remaining: 20 })
    expect(limits.take(key(60), 20)).toMatchObject({ taken: true, remaining: 0 })
  })

  test('takes a request that is larger than itself when it is full, and is in debt then', () => {
    const { clock, limits } = atRest()
    expect(limits.take(key(60), 300)).toMatchObject({ taken: true, remaining: 0, resetSeconds: 300 })
    expect(limits.take(key(60), 1)).toMatchObject({ taken: false, retryAfterSeconds: 181 })
    expect(limits.take(key(60), 300)).toMatchObject({ taken: false, retryAfterSeconds: 300 })
    expect(limits.take(key(60), 0)).toMatchObject({ taken: true })
    clock.ms += 300_000
    expect(limits.take(key(60), 300)).toMatchObject({ taken: true })
  })

  test('is one for each key', () => {
    const { limits } = atRest()
    limits.take(key(60, 'one'), 120)
    expect(limits.take(key(60, 'two'), 120)).toMatchObject({ taken: true })
    expect(limits.take(key(60, 'one'), 1)).toMatchObject({ taken: false })
  })

  test('is none for a key without a limit', () => {
    const { limits } = atRest()
    for (let round = 0; round < 10; round++)
      expect(limits.take(key(Number.POSITIVE_INFINITY), 1_000_000)).toBeUndefined()
    expect(limits.stats().keys).toBe(0)
  })

  test('follows a limit that changes', () => {
    const { clock, limits } = atRest()
    limits.take(key(60), 120)
    expect(limits.take(key(600), 1_080)).toMatchObject({ taken: true, remaining: 0 })
    expect(limits.take(key(60), 1)).toMatchObject({ taken: false, retryAfterSeconds: 1 })
    clock.ms += 1_000
    expect(limits.take(key(60), 1)).toMatchObject({ taken: true })
  })

  test('stands still when the clock goes back', () => {
    const { clock, limits } = atRest()
    limits.take(key(60), 120)
    clock.ms -= 100_000
    expect(limits.take(key(60), 1)).toMatchObject({ taken: false, retryAfterSeconds: 1 })
    clock.ms += 1_000
    expect(limits.take(key(60), 1)).toMatchObject({ taken: true })
  })
})

describe('many keys', () => {
  test('are held up to a number: full buckets go first, then the oldest', () => {
    const { clock, limits } = atRest({ bucketsMax: 10 })
    limits.take(key(60, 'empty'), 120)
    clock.ms += 60_000
    for (let index = 0; index < 100; index++) limits.take(key(60, `short ${index}`), index === 0 ? 120 : 0)
    expect(limits.stats().keys).toBeLessThanOrEqual(10)
    for (let index = 0; index < 100; index++) limits.take(key(60, `long ${index}`), 120)
    expect(limits.stats().keys).toBe(10)
    expect(limits.take(key(60, 'long 99'), 1)).toMatchObject({ taken: false })
    expect(limits.take(key(60, 'long 0'), 1)).toMatchObject({ taken: true })
  })
})

const steps = fc.array(
  fc.record({
    waitMs: fc.oneof(
      fc.constant(0),
      fc.integer({ min: 0, max: 5_000 }),
      fc.double({ min: 0, max: 90_000, noNaN: true }),
    ),
    events: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 1_000 })),
  }),
  { maxLength: 60 },
)
const limitsPerMinute = fc.oneof(fc.integer({ min: 1, max: 1_000 }), fc.constantFrom(1, 7, 10_000, 999_999_999))

test('between any two moments no more is taken than the burst, what the time brings, and the excess of the largest request', () => {
  fc.assert(
    fc.property(limitsPerMinute, steps, (limit, sequence) => {
      const { clock, limits } = atRest()
      const taken: { atMs: number; events: number }[] = []
      for (const { waitMs, events } of sequence) {
        clock.ms += waitMs
        if (limits.take(key(limit), events)?.taken) taken.push({ atMs: clock.ms, events })
      }
      for (const [index, first] of taken.entries()) {
        let sum = 0
        let largest = 0
        for (const { atMs, events } of taken.slice(index)) {
          sum += events
          largest = Math.max(largest, events)
          const excess = Math.max(0, largest - 2 * limit)
          expect(sum).toBeLessThanOrEqual(2 * limit + ((atMs - first.atMs) * limit) / 60_000 + excess + 0.001)
        }
      }
    }),
  )
})

test('whatever came before, a refused request passes after the time that it was told, and not a second earlier', () => {
  fc.assert(
    fc.property(limitsPerMinute, steps, (limit, sequence) => {
      const { clock, limits } = atRest()
      for (const { waitMs, events } of sequence) {
        clock.ms += waitMs
        const state = limits.take(key(limit), events)
        if (state === undefined || state.taken) continue
        const { retryAfterSeconds } = state
        expect(Number.isInteger(retryAfterSeconds) && retryAfterSeconds >= 1).toBe(true)
        if (retryAfterSeconds > 1) {
          clock.ms += (retryAfterSeconds - 1) * 1_000 - 1
          expect(limits.take(key(limit), events)).toMatchObject({ taken: false })
          clock.ms += 1_001
        } else clock.ms += 1_000
        expect(limits.take(key(limit), events)).toMatchObject({ taken: true })
      }
    }),
  )
})

test('what remains may be sent, and one more may not', () => {
  fc.assert(
    fc.property(limitsPerMinute, steps, (limit, sequence) => {
      const { clock, limits } = atRest()
      let remaining = 2 * limit
      for (const { waitMs, events } of sequence) {
        clock.ms += waitMs
        remaining = limits.take(key(limit), events)?.remaining ?? 0
      }
      if (remaining < 2 * limit) expect(limits.take(key(limit), remaining + 1)).toMatchObject({ taken: false })
      if (remaining > 0) expect(limits.take(key(limit), remaining)).toMatchObject({ taken: true, remaining: 0 })
    }),
  )
})
