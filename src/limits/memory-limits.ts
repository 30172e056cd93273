/** Rate limits of one process: a bucket for each key, in memory. A key without a limit costs nothing. */
import { Bucket } from './bucket.ts'
import { BucketTable } from './bucket-table.ts'
import type { LimitedKey, Limits, RateState } from './limits.ts'

/** About 10 MB of them. */
export const BUCKETS_MAX = 100_000

export interface MemoryLimitsOptions {
  /** Keys whose bucket is kept; see `bucket-table.ts` for what happens beyond. */
  readonly bucketsMax?: number
  /** Milliseconds of a clock that only goes on; for tests. */
  readonly now?: () => number
}

/** See the head of this file. */
export class MemoryLimits implements Limits {
  readonly #now: () => number
  readonly #buckets: BucketTable<Bucket>
  #refused = 0

  constructor(options: MemoryLimitsOptions = {}) {
    const now = options.now ?? (() => performance.now())
    this.#now = now
    this.#buckets = new BucketTable(options.bucketsMax ?? BUCKETS_MAX, (bucket) => {
      bucket.advance(bucket.limit, now())
      return bucket.isFull
    })
  }

  take({ keyId, eventsPerMinute }: LimitedKey, events: number): RateState | undefined {
    if (eventsPerMinute === Number.POSITIVE_INFINITY) return undefined
    const now = this.#now()
    let bucket = this.#buckets.get(keyId)
    if (bucket === undefined) {
      bucket = new Bucket(eventsPerMinute, now)
      this.#buckets.add(keyId, bucket)
    }
    bucket.advance(eventsPerMinute, now)
    const taken = bucket.has(events)
    if (taken) bucket.take(events)
    else this.#refused++
    return bucket.state(events, taken)
  }

  stats() {
    return { keys: this.#buckets.size, refused_requests: this.#refused }
  }

  async close(): Promise<void> {}
}
