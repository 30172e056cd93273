import { expect, test } from 'bun:test'
import { RunningMarks } from '../../src/dedupe/running-marks.ts'

test('a mark is given to one request at a time, however many run', () => {
  const marks = new RunningMarks<number>(2)
  const running: number[] = []
  for (let request = 0; request < 10_000; request++) {
    const mark = marks.next()
    expect(marks.get(mark)).toBeUndefined()
    marks.set(mark, request)
    running.push(mark)
  }
  expect(new Set(running).size).toBe(10_000)
  for (const [request, mark] of running.entries()) expect(marks.get(mark)).toBe(request)
  for (const mark of running.filter((_, request) => request % 2 === 0)) marks.end(mark)
  for (const [request, mark] of running.entries()) expect(marks.get(mark)).toBe(request % 2 === 0 ? undefined : request)
})

test('after 2^32 requests marks begin again, without those that are nobody’s', () => {
  const marks = new RunningMarks<string>(2)
  const first = marks.next()
  marks.set(first, 'still running')
  Object.assign(marks, { last: 0x7fff_ffff })
  expect(marks.next()).toBe(-0x8000_0000)
  Object.assign(marks, { last: -1 })
  expect(marks.next()).toBe(first + 1)
  expect(marks.get(first)).toBe('still running')
})
