/**
 * How busy the event loop is: its delay, asked by a timer every 20 ms, and the share of time that its thread was on a processor. Bun has no
 * `performance.eventLoopUtilization` (it gives zeros), so the processor's time is taken: a loop that waits for a disk counts as idle.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'

/** Between two looks; delays in seconds. */
export interface EventLoopReading {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
  /** From 0 to 1. */
  readonly utilization: number
}

const RESOLUTION_MS = 20
const NANOSECONDS = 1e9
const MICROSECONDS = 1e6

/** See the head of this file. */
export class EventLoopMonitor {
  readonly #delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  #at = performance.now()
  #cpu = process.threadCpuUsage()

  constructor() {
    this.#delays.enable()
  }

  /** Since the last call. */
  read(): EventLoopReading {
    const now = performance.now()
    const cpu = process.threadCpuUsage()
    const cpuSeconds = (cpu.user + cpu.system - this.#cpu.user - this.#cpu.system) / MICROSECONDS
    const seconds = (now - this.#at) / 1000
    this.#at = now
    this.#cpu = cpu
    const delays = this.#delays
    const percentile = (percent: number) => (delays.count === 0 ? 0 : delays.percentile(percent) / NANOSECONDS)
    const reading = {
      p50: percentile(50),
      p90: percentile(90),
      p99: percentile(99),
      max: delays.count === 0 ? 0 : delays.max / NANOSECONDS,
      utilization: Math.min(1, Math.max(0, cpuSeconds / Math.max(seconds, Number.EPSILON))),
    }
    delays.reset()
    return reading
  }
}
