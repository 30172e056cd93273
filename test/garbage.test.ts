import { expect, test } from 'bun:test'
import { type Collector, collectOften } from '../src/garbage.ts'
import { waitUntil } from './support/collector.ts'

const MiB = 1024 * 1024

/** A collector that only counts, in a process that takes 100 events every 10 ms until `rest`. */
function counting() {
  const counts = { events: 0, young: 0, all: 0, bytes: 100 * MiB }
  const coming = setInterval(() => {
    counts.events += 100
  }, 10)
  const collector: Collector = {
    collectYoung: () => void counts.young++,
    collectAll: () => void counts.all++,
    residentBytes: () => counts.bytes,
  }
  const end = collectOften(() => counts.events, collector)
  return { counts, rest: () => clearInterval(coming), end }
}

test('young garbage is collected while events come, and not while there are few', async () => {
  const { counts, rest, end } = counting()
  await waitUntil('garbage is collected', () => counts.young > 2)
  rest()
  await Bun.sleep(200) // the interval in which the last came is over
  const atRest = counts.young
  await Bun.sleep(300)
  expect(counts.young).toBe(atRest)
  end()
})

test('all garbage is collected when the process has grown, once a second at the most', async () => {
  const { counts, rest, end } = counting()
  const youngAfter = (count: number) => waitUntil('garbage is collected', () => counts.young >= count)
  await youngAfter(3)
  expect(counts.all).toBe(0)
  counts.bytes -= 30 * MiB
  await youngAfter(counts.young + 2)
  counts.bytes += 30 * MiB
  await waitUntil('all is collected', () => counts.all === 1)
  const begun = performance.now()
  await youngAfter(counts.young + 2)
  expect(counts.all).toBe(1)
  counts.bytes += 30 * MiB
  await waitUntil('all is collected again', () => counts.all === 2)
  expect(performance.now() - begun).toBeGreaterThan(900)
  rest()
  end()
})
