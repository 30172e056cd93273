/** Latencies of a load, counted in steps of 10 µs up to 10 s. */
const STEPS_MAX = 1_000_000
const STEP_US = 10

/** See the head of this file. */
export class Latencies {
  private readonly counts = new Uint32Array(STEPS_MAX + 1)
  private maxMs = 0
  count = 0

  add(latencyMs: number): void {
    this.count++
    if (latencyMs > this.maxMs) this.maxMs = latencyMs
    const step = Math.min(STEPS_MAX, Math.max(0, Math.round((latencyMs * 1000) / STEP_US)))
    this.counts[step] = (this.counts[step] ?? 0) + 1
  }

  /** As both generators print them, in µs. */
  summary() {
    return {
      p50Us: this.percentileUs(0.5),
      p99Us: this.percentileUs(0.99),
      p999Us: this.percentileUs(0.999),
      maxUs: Math.round(this.maxMs * 1000),
    }
  }

  private percentileUs(share: number): number {
    let left = Math.ceil(this.count * share)
    for (const [step, count] of this.counts.entries()) {
      left -= count
      if (left <= 0) return step * STEP_US
    }
    return 0
  }
}
