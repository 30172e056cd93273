/**
 * A token bucket: so many events a minute on average, and twice as many at once when the key was quiet before.
 *
 * It keeps what is missing to be full, not what is in it: then a full bucket is nothing at all and need not be kept, and it stays right
 * when the limit changes. A request of more events than the bucket can hold is taken when it is full, and leaves a debt: nothing is
 * refused for ever, and the average holds. Between any two moments no more is taken than the capacity, what the time between brings, and
 * by how much the largest request exceeds the capacity.
 */
import type { RateState } from './limits.ts'

/** Room for this many minutes' worth of events. */
export const BURST = 2

/** Events; far more than what rounding may make of a wait that was told, far less than one. */
export const TOLERANCE = 1e-6

const MINUTE_MS = 60_000

/** See the head of this file. Times in milliseconds of a clock that only goes on; should it go back, time stands still for the bucket. */
export class Bucket {
  /** Events until it is full; more than its capacity is a debt. */
  missing = 0
  #limit: number
  #at: number

  /** A full one. @param limit events a minute */
  constructor(limit: number, nowMs: number) {
    this.#limit = limit
    this.#at = nowMs
  }

  get limit(): number {
    return this.#limit
  }

  get capacity(): number {
    return BURST * this.#limit
  }

  get isFull(): boolean {
    return this.missing === 0
  }

  /** Fills in what the time has brought. A new limit forgives what is more than its capacity. */
  advance(limit: number, nowMs: number): void {
    const elapsedMs = nowMs - this.#at
    this.#at = nowMs
    if (elapsedMs > 0 && this.missing > 0)
      this.missing = Math.max(0, this.missing - (elapsedMs * this.#limit) / MINUTE_MS)
    if (limit === this.#limit) return
    this.#limit = limit
    this.missing = Math.min(this.missing, this.capacity)
  }

  has(events: number): boolean {
    return events === 0 || this.#lacking(events) <= TOLERANCE
  }

  take(events: number): void {
    this.missing += events
  }

  /** What is told to a client that asked for so many. */
  state(events: number, taken: boolean): RateState {
    const seconds = MINUTE_MS / 1000 / this.#limit
    return {
      taken,
      limit: this.#limit,
      remaining: Math.max(0, Math.floor(this.capacity - this.missing + TOLERANCE)),
      resetSeconds: Math.ceil(this.missing * seconds),
      retryAfterSeconds: taken ? 0 : Math.max(1, Math.ceil(this.#lacking(events) * seconds)),
    }
  }

  #lacking(events: number): number {
    const { capacity } = this
    return this.missing + Math.min(events, capacity) - capacity
  }
}
