/**
 * A histogram with fixed buckets: plain numbers, 15 ns a value. That of the OpenTelemetry SDK takes 350 ns with attributes, which is much beside
 * the 20 µs of a small request. `metrics.ts` hands these to the SDK when somebody asks.
 */
import type { Attributes } from '@opentelemetry/api'

/** Seconds, of what may take from a fraction of a millisecond to as long as a client waits. */
export const REQUEST_SECONDS: Boundaries = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]
export const COMMIT_SECONDS: Boundaries = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1,
]
export const COMMIT_EVENTS: Boundaries = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000]
export const FLUSH_SECONDS: Boundaries = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 150]
export const FLUSH_EVENTS: Boundaries = [1, 10, 100, 1_000, 5_000, 10_000, 50_000, 100_000, 250_000, 500_000, 1_000_000]
const KiB = 1024
const MiB = 1024 * KiB
export const FLUSH_BYTES: Boundaries = [
  KiB,
  16 * KiB,
  256 * KiB,
  MiB,
  4 * MiB,
  16 * MiB,
  64 * MiB,
  128 * MiB,
  256 * MiB,
]
/** Fine around FLUSH_INTERVAL_MS, coarse for outages. */
export const LAG_SECONDS: Boundaries = [0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 900, 3_600]

/** Upper ends of the buckets, each inclusive; one more bucket takes what is larger. */
export type Boundaries = readonly number[]

/** See the head of this file. */
export class Histogram {
  readonly boundaries: Boundaries
  readonly attributes: Attributes
  /** One more than there are boundaries. */
  readonly counts: Float64Array
  count = 0
  sum = 0

  constructor(boundaries: Boundaries, attributes: Attributes = {}) {
    this.boundaries = boundaries
    this.attributes = attributes
    this.counts = new Float64Array(boundaries.length + 1)
  }

  record(value: number): void {
    const { boundaries, counts } = this
    let bucket = 0
    while (bucket < boundaries.length && value > (boundaries[bucket] as number)) bucket++
    counts[bucket] = (counts[bucket] as number) + 1
    this.count++
    this.sum += value
  }
}
