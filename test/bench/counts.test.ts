import { expect, test } from 'bun:test'
import { copiesAmong } from '../../bench/load/generator.ts'
import type { LoadResult } from '../../bench/load/result.ts'
import { type Answered, contradiction } from '../../bench/measure/counts.ts'

const LOAD: LoadResult = {
  generator: 'wrk',
  requests: 1000,
  durationMs: 1000,
  refused: 0,
  broken: 0,
  p50Ms: 1,
  p99Ms: 2,
  p999Ms: 3,
  maxMs: 4,
  lateShare: 0,
  endedAt: 0,
}

function answered(accepted: number, load: Partial<LoadResult> = {}, copies: Partial<Answered> = {}) {
  return contradiction({ load: { ...LOAD, ...load }, eventsPerRequest: 100, connections: 32, accepted, ...copies })
}

test('each connection may leave one request behind that was accepted and not counted by the generator', () => {
  expect(answered(100_000)).toBeUndefined()
  expect(answered(103_200)).toBeUndefined()
})

test('one event less than was answered, or more than the connections explain, is a contradiction', () => {
  expect(answered(99_999)).toContain('Penstock accepted 99999')
  expect(answered(103_201)).toContain('Penstock accepted 103201')
})

test('a refused request and a broken connection are contradictions, whatever the counts are', () => {
  expect(answered(100_000, { refused: 1 })).toContain('refused')
  expect(answered(100_000, { broken: 1 })).toContain('broke')
})

test('a new event that was taken for a copy is a contradiction', () => {
  expect(answered(100_000, {}, { duplicates: 0 })).toBeUndefined()
  expect(answered(100_000, {}, { duplicates: 1 })).toContain('1 events were taken for copies')
})

test('where every request is sent twice, as many copies are found as were sent, but for what was left behind', () => {
  const sent = 100 * copiesAmong(LOAD.requests)
  expect(sent).toBeGreaterThan(3_300)
  for (const duplicates of [sent, sent - 3_200, sent + 3_200])
    expect(answered(100_000, {}, { hasCopies: true, duplicates })).toBeUndefined()
  for (const duplicates of [sent - 3_300, sent + 3_300])
    expect(answered(100_000, {}, { hasCopies: true, duplicates })).toContain(`Penstock found ${duplicates}`)
})
