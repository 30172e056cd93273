import { expect, test } from 'bun:test'
import { alternate } from '../../bench/measure/alternate.ts'
import type { Bench, Figures } from '../../bench/scenario.ts'

function side(label: string, rounds: readonly Figures[], order: string[]) {
  const left = [...rounds]
  return {
    label,
    measure: async () => {
      order.push(label)
      return { figures: left.shift() ?? {}, notes: ['slow'] }
    },
  }
}

const BENCH = { say: () => undefined } as unknown as Bench

test('sides take turns; a row is the mean of its rounds, a peak the highest, a ratio that of the means', async () => {
  const order: string[] = []
  const slow = [
    { endToEndEventsPerSecond: 100, peakRssMiB: 180, penstockCpuUs: 2 },
    { endToEndEventsPerSecond: 300, peakRssMiB: 150, penstockCpuUs: 4 },
  ]
  const fast = [
    { endToEndEventsPerSecond: 250, penstockCpuUs: 1 },
    { endToEndEventsPerSecond: 250, penstockCpuUs: 2 },
  ]
  const { rows, notes, series, ratio } = await alternate(
    BENCH,
    [side('slow', slow, order), side('fast', fast, order)],
    2,
  )
  expect(order).toEqual(['slow', 'fast', 'slow', 'fast'])
  expect(rows).toEqual([
    { label: 'slow', figures: { endToEndEventsPerSecond: 200, peakRssMiB: 180, penstockCpuUs: 3 } },
    { label: 'fast', figures: { endToEndEventsPerSecond: 250, penstockCpuUs: 1.5 } },
  ])
  expect(series[2]).toEqual({ label: 'slow', round: 2, ...slow[1] })
  expect(notes).toEqual(['slow: slow', 'fast: slow'])
  expect(ratio('× fast', 'fast', 'slow')).toMatchObject({
    label: '× fast',
    figures: { rateRatio: 1.25, penstockCpuRatio: 0.5 },
  })
})
