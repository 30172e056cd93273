/** Deduplication in one process, alone and with the pipeline and a log. */
import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import type { EventBatch } from '../../src/batch.ts'
import { IdKeys } from '../../src/dedupe/id-keys.ts'
import { MemoryDedupe, type MemoryReservation } from '../../src/dedupe/memory-dedupe.ts'
import { batchOf, eventsIn, makeEvent } from '../support/events.ts'

const HOUR_MS = 3_600_000

function makeDedupe(options: { idsMax?: number; windowMs?: number; monotonicNow?: () => number } = {}): MemoryDedupe {
  return new MemoryDedupe({ idsMax: 10_000, windowMs: HOUR_MS, keys: new IdKeys('test'), ...options })
}

/** The same UUID for the same number. */
function idOf(number: number): string {
  return `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`
}

function eventsOf(...numbers: (number | undefined)[]): EventBatch {
  return batchOf(...numbers.map((number) => makeEvent({ eventId: number === undefined ? undefined : idOf(number) })))
}

describe('a request', () => {
  test('has its events for fresh, then for duplicates', () => {
    const dedupe = makeDedupe()
    const events = eventsOf(1, 2, 3)
    const first = dedupe.reserve(events)
    expect(first).toMatchObject({ fresh: events, duplicates: 0, pending: [], undecided: 0 })
    expect(first.ids).toHaveLength(9)
    first.settle(true)
    const second = dedupe.reserve(eventsOf(2, 4, 1))
    expect(eventsIn(second.fresh).map((event) => event.eventId)).toEqual([idOf(4)])
    expect(second.duplicates).toBe(2)
    expect(dedupe.stats()).toMatchObject({ ids: 4, duplicates: 2 })
  })

  test('with the same id twice has the second for a copy of the first', () => {
    const dedupe = makeDedupe()
    const reservation = dedupe.reserve(eventsOf(1, 2, 1, 1))
    expect(reservation.fresh).toHaveLength(2)
    expect(reservation).toMatchObject({ duplicates: 2, pending: [] })
    reservation.settle(false)
    expect(dedupe.reserve(eventsOf(1, 2)).fresh).toHaveLength(2)
  })

  test('may have an id in either case', () => {
    const dedupe = makeDedupe()
    const id = 'ABCDEF00-0000-4000-8000-0000000000ff'
    dedupe.reserve(batchOf(makeEvent({ eventId: id }))).settle(true)
    expect(dedupe.reserve(batchOf(makeEvent({ eventId: id.toLowerCase() }))).duplicates).toBe(1)
  })

  test('has the ids of its own workspace only', () => {
    const dedupe = makeDedupe()
    dedupe.reserve(eventsOf(1)).settle(true)
    for (const change of [{ tenantId: 'another' }, { workspaceId: 'another' }]) {
      expect(dedupe.reserve(batchOf(makeEvent({ eventId: idOf(1), ...change }))).fresh).toHaveLength(1)
    }
  })

  test('without ids passes as it is, in its order among those with ids', () => {
    const dedupe = makeDedupe()
    const plain = eventsOf(undefined, undefined)
    const reservation = dedupe.reserve(plain)
    expect(reservation.fresh).toBe(plain)
    expect(reservation.ids).toHaveLength(0)
    reservation.settle(true)
    dedupe.reserve(eventsOf(1)).settle(true)
    const mixed = eventsOf(undefined, 1, 2, undefined)
    expect(eventsIn(dedupe.reserve(mixed).fresh)).toEqual(mixed.events.filter((_, index) => index !== 1))
    expect(dedupe.stats().ids).toBe(2)
  })

  test('that is settled twice is a bug', () => {
    const reservation = makeDedupe().reserve(eventsOf(1))
    reservation.settle(true)
    expect(() => reservation.settle(true)).toThrow()
  })
})

describe('a copy that arrives while the first is being committed', () => {
  for (const durable of [true, false]) {
    test(`waits, and is ${durable ? 'a duplicate when the commit worked' : 'fresh when it failed'}`, async () => {
      const dedupe = makeDedupe()
      const first = dedupe.reserve(eventsOf(1, 2))
      const events = eventsOf(2, 3)
      const second = dedupe.reserve(events)
      expect(eventsIn(second.fresh).map((event) => event.eventId)).toEqual([idOf(3)])
      expect(second.pending.map(({ index }) => index)).toEqual([0])
      second.settle(true)
      let isSettled = false
      const waiting = Promise.all(second.pending.map(({ settled }) => settled)).then(() => {
        isSettled = true
      })
      await Bun.sleep(5)
      expect(isSettled).toBe(false)
      first.settle(durable)
      await waiting
      const again = dedupe.reserve(events.pick(second.pending.map(({ index }) => index)))
      expect(again.duplicates).toBe(durable ? 1 : 0)
      expect(again.fresh).toHaveLength(durable ? 0 : 1)
    })
  }
})

test('ids that come back from the log are known, those of a failed request are not', () => {
  const before = makeDedupe()
  const reservation = before.reserve(eventsOf(1, 2, 3))
  const after = makeDedupe()
  after.restore(new Uint8Array(Int32Array.from(reservation.ids).buffer))
  expect(after.reserve(eventsOf(1, 2, 3, 4))).toMatchObject({ duplicates: 3, pending: [] })
})

type Step =
  | { readonly kind: 'reserve'; readonly numbers: readonly (number | undefined)[] }
  | { readonly kind: 'settle'; readonly which: number; readonly durable: boolean }
  | { readonly kind: 'wait'; readonly ms: number }

const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('reserve' as const),
      numbers: fc.array(fc.option(fc.nat(60), { nil: undefined }), { minLength: 1, maxLength: 12 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('settle' as const), which: fc.nat(), durable: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(1500) }) },
)

const WINDOW_MS = 1000

test('whatever requests come and however they end, an event is stored once in a window, and never taken for stored when it is not', () => {
  fc.assert(
    fc.property(fc.array(stepArbitrary, { minLength: 10, maxLength: 200, size: 'max' }), (steps) => {
      let now = 0
      const dedupe = makeDedupe({ windowMs: WINDOW_MS, monotonicNow: () => now })
      /** When an id was taken last, and whether that is settled; there is no other state. */
      const known = new Map<string, { at: number; owner: MemoryReservation | 'durable' }>()
      let running: MemoryReservation[] = []
      for (const step of steps) {
        if (step.kind === 'wait') {
          now += step.ms
        } else if (step.kind === 'settle') {
          const reservation = running[step.which % Math.max(1, running.length)]
          if (reservation === undefined) continue
          running = running.filter((other) => other !== reservation)
          reservation.settle(step.durable)
          for (const [id, state] of known) {
            if (state.owner !== reservation) continue
            if (step.durable) state.owner = 'durable'
            else known.delete(id)
          }
        } else {
          const batch = eventsOf(...step.numbers)
          const { events } = batch
          const reservation = dedupe.reserve(batch)
          running.push(reservation)
          const fresh = new Set(eventsIn(reservation.fresh))
          const pending = new Set(reservation.pending.map(({ index }) => events[index]))
          let duplicates = 0
          for (const event of events) {
            const id = event.eventId
            const state = id === undefined ? undefined : known.get(id)
            if (id === undefined) {
              expect(fresh.has(event)).toBe(true)
            } else if (fresh.has(event)) {
              // Nobody has it, or it is old enough to be forgotten.
              expect(state === undefined || now - state.at >= WINDOW_MS).toBe(true)
              known.set(id, { at: now, owner: reservation })
            } else if (pending.has(event)) {
              expect(state !== undefined && running.some((other) => other === state.owner)).toBe(true)
            } else {
              duplicates++
              expect(state?.owner === 'durable' || state?.owner === reservation).toBe(true)
              expect(now - (state?.at ?? 0)).toBeLessThan(2 * WINDOW_MS)
            }
          }
          expect(reservation.duplicates).toBe(duplicates)
          expect(reservation.ids).toHaveLength(3 * eventsIn(reservation.fresh).filter(({ eventId }) => eventId).length)
        }
      }
    }),
    { numRuns: 300 },
  )
})
