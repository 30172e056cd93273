import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { Ring, type RingRegion } from '../../src/log/ring.ts'

function reserve(ring: Ring, byteLength: number): RingRegion {
  const region = ring.reserve(byteLength)
  if (region === undefined) throw new Error('no room')
  return region
}

describe('ring', () => {
  test('a region that does not fit before the end goes to the beginning', () => {
    const ring = new Ring(100)
    const first = reserve(ring, 60)
    const second = reserve(ring, 30)
    expect(ring.reserve(20)).toBeUndefined()
    ring.release(first)
    expect(reserve(ring, 20).offset).toBe(0)
    expect(second.offset).toBe(60)
    expect(ring.usedBytes).toBe(60)
  })

  test('regions released out of order give their room back in order', () => {
    const ring = new Ring(100)
    const [a, b, c] = [reserve(ring, 40), reserve(ring, 40), reserve(ring, 20)]
    ring.release(b)
    ring.release(c)
    expect(ring.reserve(40)).toBeUndefined()
    ring.release(a)
    expect(ring.usedBytes).toBe(0)
    expect(reserve(ring, 100).offset).toBe(0)
  })

  test('a region longer than the ring never fits, also when the ring has no memory', () => {
    expect(new Ring(10).reserve(11)).toBeUndefined()
    expect(new Ring(0).reserve(1)).toBeUndefined()
  })

  test('live regions never overlap, and an empty ring has all its room, whatever the order', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('reserve' as const), value: fc.integer({ min: 1, max: 70 }) }),
      fc.record({ kind: fc.constant('release' as const), value: fc.nat(20) }),
      fc.record({ kind: fc.constant('cancel' as const), value: fc.constant(0) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const ring = new Ring(100)
        const live: RingRegion[] = []
        let newest: RingRegion | undefined
        for (const { kind, value } of steps) {
          if (kind === 'reserve') {
            const region = ring.reserve(value)
            if (region === undefined) continue
            for (const other of live) {
              const isApart =
                other.offset + other.byteLength <= region.offset || region.offset + region.byteLength <= other.offset
              expect(isApart).toBe(true)
            }
            expect(region.offset + region.byteLength).toBeLessThanOrEqual(100)
            live.push(region)
            newest = region
          } else if (kind === 'release') {
            const region = live.splice(value % Math.max(1, live.length), 1)[0]
            if (region === undefined) continue
            if (region === newest) newest = undefined
            ring.release(region)
          } else if (newest !== undefined) {
            ring.cancel(newest)
            live.splice(live.indexOf(newest), 1)
            newest = undefined
          }
        }
        for (const region of live) ring.release(region)
        expect(ring.usedBytes).toBe(0)
        expect(ring.reserve(100)?.offset).toBe(0)
      }),
      { numRuns: 200 },
    )
  })
})
