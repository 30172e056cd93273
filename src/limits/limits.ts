/** Rate limits: how many events a key may send. `memory-limits.ts` for one process, `redis-limits.ts` for several. */
import type { Authenticated } from '../auth/key-cache.ts'

/** Where a key stands after it was asked for tokens. */
export interface RateState {
  /** False: there were too few tokens, and none was taken. */
  readonly taken: boolean
  /** Events a minute. */
  readonly limit: number
  /** Events that could be sent now. */
  readonly remaining: number
  /** Until the bucket is full again. */
  readonly resetSeconds: number
  /** After which the same request will pass when nothing else comes, at least 1; 0 when it was taken. */
  readonly retryAfterSeconds: number
}

export interface Limits {
  /** Takes tokens for so many events of a key; undefined: the key has no limit. Never throws or rejects. */
  take(key: LimitedKey, events: number): RateState | undefined | Promise<RateState | undefined>
  /** Numbers for `/stats`. */
  stats(): Readonly<Record<string, number>>
  close(): Promise<void>
}

/** What limits need to know of a key. */
export type LimitedKey = Pick<Authenticated, 'keyId' | 'eventsPerMinute'>
