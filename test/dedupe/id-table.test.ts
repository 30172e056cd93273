/** The table of remembered keys, against a model that remembers everything. */
import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { IdTable } from '../../src/dedupe/id-table.ts'

const WINDOW_MS = 1000
const MARK = 7

type Key = readonly [number, number, number]

/** Few different words, so that keys share their homes, their tags and both, and runs of them go over the table's end. */
const keyArbitrary: fc.Arbitrary<Key> = fc.tuple(
  fc.integer({ min: 0, max: 3 }),
  fc.oneof(fc.constantFrom(0, -1, -65_536, 1 << 30), fc.integer()),
  fc.oneof(fc.constantFrom(1, 0x81, 2), fc.integer()),
)

const stepArbitrary = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('add' as const), which: fc.nat(199) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('remove' as const), which: fc.nat(199) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 2500 }) }) },
)

test('a key is remembered as long as it has to be, forgotten when it is too old, and found with its own mark', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(keyArbitrary, { minLength: 200, maxLength: 200, selector: String }),
      fc.array(stepArbitrary, { minLength: 100, maxLength: 1000, size: 'max' }),
      fc.constantFrom(2, 20, 60, 150, 1000),
      (keys, steps, idsMax) => {
        const table = new IdTable({ idsMax, windowMs: WINDOW_MS }, 0)
        const added = new Map<number, { at: number; order: number; mark: number }>()
        let now = 0
        let order = 0
        for (const step of steps) {
          if (step.kind === 'wait') {
            now += step.ms
            table.tick(now)
            continue
          }
          const [first, second, third] = keys[step.which] as Key
          const known = added.get(step.which)
          if (step.kind === 'remove') {
            table.remove(first, second, third, MARK) // another mark: nothing happens, unless it is this one
            if (known !== undefined) table.remove(first, second, third, known.mark)
            added.delete(step.which)
            expect(table.markOf(first, second, third)).toBe(0)
            continue
          }
          const mark = 1000 + order
          const found = table.add(first, second, third, mark)
          const mayBeForgotten = known === undefined || now - known.at >= WINDOW_MS || order - known.order > idsMax / 2
          const mustBeForgotten = known === undefined || now - known.at >= 2 * WINDOW_MS
          if (!mayBeForgotten) expect(found).toBe(known.mark)
          if (mustBeForgotten) expect(found).toBe(0)
          if (found !== 0) expect(found).toBe(known?.mark ?? 0)
          else added.set(step.which, { at: now, order: order++, mark })
          expect(table.markOf(first, second, third)).toBe(found === 0 ? mark : found)
          expect(table.keys).toBeLessThanOrEqual(idsMax)
        }
        now += 2 * WINDOW_MS
        table.tick(now)
        expect(table.keys).toBe(0)
      },
    ),
    { numRuns: 200 },
  )
})

test('no more memory is taken than 24 bytes for each key of the limit, however many come', () => {
  const idsMax = 100_000
  const table = new IdTable({ idsMax, windowMs: 1e9 }, 0)
  expect(table.bytes).toBe(0)
  const words = new Int32Array(3)
  let worstBytes = 0
  for (let count = 0; count < 5 * idsMax; count++) {
    crypto.getRandomValues(words)
    table.add(words[0] as number, words[1] as number, words[2] as number, 1)
    worstBytes = Math.max(worstBytes, table.bytes)
  }
  expect(worstBytes / idsMax).toBeLessThan(24)
  expect(table.keys).toBeGreaterThan(0.45 * idsMax)
  expect(table.keys).toBeLessThanOrEqual(idsMax)
})

test('memory that is not needed any more is given back', () => {
  const table = new IdTable({ idsMax: 100_000, windowMs: 1000 }, 0)
  for (let key = 0; key < 50_000; key++) table.add(key, Math.imul(key, 0x9e3779b1), key, 1)
  expect(table.bytes).toBeGreaterThan(1_000_000)
  table.tick(3000)
  expect(table.bytes).toBe(0)
})

test('how far back the keys go is told: the window, or less when too many came', () => {
  const table = new IdTable({ idsMax: 1000, windowMs: 60_000 }, 0)
  let key = 0
  const add = (count: number) => {
    for (let left = count; left > 0; left--) table.add(++key, Math.imul(key, 0x9e3779b1), key, 1)
  }
  add(400)
  table.tick(10_000)
  expect(table.coveredMs).toBe(60_000) // nothing is forgotten
  add(400)
  table.tick(20_000)
  add(700)
  expect(table.coveredMs).toBeLessThan(20_000)
  expect(table.keys).toBeGreaterThanOrEqual(500)
})

test('a clock that goes back changes nothing', () => {
  const table = new IdTable({ idsMax: 1000, windowMs: 1000 }, 5000)
  table.add(1, 1, 1, 1)
  table.tick(-1e9)
  expect(table.add(1, 1, 1, 2)).toBe(1)
  table.tick(5999)
  expect(table.add(1, 1, 1, 2)).toBe(1)
})
