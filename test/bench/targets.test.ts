import { expect, test } from 'bun:test'
import { checkTargets } from '../../bench/report/targets.ts'
import type { Row } from '../../bench/scenario.ts'

const BATCH: Row = { label: '100 a request', figures: { endToEndEventsPerSecond: 250_000, peakRssMiB: 150 } }

function marks(measurements: Record<string, readonly Row[]>) {
  const checked = checkTargets(new Map(Object.entries(measurements)))
  return Object.fromEntries(checked.map(({ target, value, isMet }) => [target.name, { value, isMet }]))
}

test('only targets whose scenarios ran are checked', () => {
  expect(marks({ batch: [BATCH] })).toEqual({
    '100 a request: events/s end to end': { value: 250_000, isMet: true },
    'peak RSS of Penstock in MiB, all scenarios': { value: 150, isMet: true },
  })
})

test('the baseline that counts is the fastest one with views', () => {
  const baseline = [
    { label: 'inserts, with views', figures: { endToEndEventsPerSecond: 20_000 } },
    { label: 'async_insert, with views', figures: { endToEndEventsPerSecond: 50_000 } },
    { label: 'inserts, no views', figures: { endToEndEventsPerSecond: 100_000 } },
  ]
  const found = marks({ batch: [BATCH], baseline })
  expect(found['100 a request: times the fastest baseline with views']).toEqual({ value: 5, isMet: false })
})

test('the memory that counts is the largest of all scenarios', () => {
  const single = [{ label: 'full load', figures: { peakRssMiB: 201 } }]
  const found = marks({ batch: [BATCH], single })
  expect(found['peak RSS of Penstock in MiB, all scenarios']).toEqual({ value: 201, isMet: false })
})
