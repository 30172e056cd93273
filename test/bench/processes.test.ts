import { expect, test } from 'bun:test'
import { parseCpuUs } from '../../bench/system/processes.ts'

test('the CPU of a process is user and system time, also when its name holds spaces and brackets', () => {
  const rest = '1 16207 16207 0 -1 4194304 7 0 0 0 150 50 9 9 20 0 12 0 400 100 200'
  expect(parseCpuUs(`42 (bun) S ${rest}`)).toBe(2_000_000)
  expect(parseCpuUs(`42 (a (b) c) R ${rest}`)).toBe(2_000_000)
})
