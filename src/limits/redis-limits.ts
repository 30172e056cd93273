/**
 * Rate limits that several collectors share by way of Redis, without a round trip for each request.
 *
 * A collector takes tokens from the shared bucket ahead of need, as many as it used lately, at most a tenth of the limit and half of what
 * remains (its lease). What it has in hand it gives out at once; it fetches more before that is used up. After a second a lease is over,
 * and what is left of it goes back. Requests that find too little in hand wait for one question to Redis together, in their order. What
 * Redis refused is refused here too until there can be enough, without asking again.
 *
 * The bound: between two moments, all collectors together let through no more than the burst, what the time between and LEASE_MS bring at
 * the limit's rate (a sixtieth of the limit), and by how much the largest request exceeds the capacity. For a token was taken from the
 * shared bucket at most LEASE_MS before it is used, and one that goes back leaves the bucket no fuller than if it had not been taken.
 *
 * Redis away: every collector goes on by itself, from what it knows of the bucket, so the bound holds for each of them. Redis back: what
 * is known here to be missing is missing there too, also when Redis has lost everything. Nothing waits for Redis, or is refused for it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isRedisFailure, type Redis } from '../redis.ts'
import { Bucket } from './bucket.ts'
import { BucketTable } from './bucket-table.ts'
import type { LimitedKey, Limits, RateState } from './limits.ts'
import { BUCKETS_MAX } from './memory-limits.ts'
import { SharedBuckets } from './shared-bucket.ts'

/** How long tokens in hand are good, counted from when they were asked for. */
export const LEASE_MS = 1_000

/** A lease is at most this part of the limit, beyond what requests are waiting for. */
const LEASE_PART = 0.1

/** A refusal is believed for so long: then Redis is asked again, since others may have given tokens back. */
const REFUSAL_MS = 250

/** Tokens are fetched ahead this often at most. */
const FETCH_INTERVAL_MS = 20

/** Leases that go back at one time. */
const RETURNS_AT_ONCE = 500

export interface RedisLimitsOptions {
  readonly redis: Redis
  /** Keys whose state is kept; see `bucket-table.ts` for what happens beyond. */
  readonly bucketsMax?: number
}

/** What a collector knows of one key. */
interface Known {
  readonly keyId: string
  /** What is there of the key, in the shared bucket and in hand: as Redis said, less what was used since. */
  readonly bucket: Bucket
  /** Tokens in hand, and until when they are good. */
  tokens: number
  leaseUntilMs: number
  /** Tokens that were taken ahead with the last lease. */
  leaseSize: number
  /** Tokens that are to go back. */
  back: number
  usedSinceAsk: number
  askedAtMs: number
  answeredAtMs: number
  /** Events of requests that wait for the question which is under way. */
  waiting: number
  /** The question that is under way: whether Redis has answered it. Never rejects. */
  asking: Promise<boolean> | undefined
  /** The connection by which Redis was last told what is missing; -1: it has to be told. */
  generation: number
}

/** See the head of this file. */
export class RedisLimits implements Limits {
  readonly #redis: Redis
  readonly #shared: SharedBuckets
  readonly #keys: BucketTable<Known>
  readonly #stopping = new AbortController()
  readonly #returning: Promise<void>
  readonly #totals = { refused_requests: 0, questions: 0, decided_alone: 0 }

  constructor(options: RedisLimitsOptions) {
    this.#redis = options.redis
    this.#shared = new SharedBuckets(options.redis)
    this.#keys = new BucketTable(options.bucketsMax ?? BUCKETS_MAX, isNothing)
    this.#returning = this.#returnLoop()
  }

  take({ keyId, eventsPerMinute }: LimitedKey, events: number): RateState | undefined | Promise<RateState> {
    if (eventsPerMinute === Number.POSITIVE_INFINITY) return undefined
    const now = performance.now()
    const known = this.#keys.get(keyId) ?? this.#begin(keyId, eventsPerMinute, now)
    const { bucket } = known
    bucket.advance(eventsPerMinute, now)
    if (spend(known, events, now)) {
      if (isLow(known, now) && this.#redis.available) known.asking = this.#ask(known, 0, leaseAhead(known, now))
      return bucket.state(events, true)
    }
    if (!this.#redis.available) return this.#decideAlone(known, events)
    const isFresh = now - known.answeredAtMs < REFUSAL_MS && known.generation === this.#redis.generation
    if (isFresh && !bucket.has(events)) return this.#refuse(known, events)
    return this.#wait(known, events)
  }

  stats() {
    return { keys: this.#keys.size, ...this.#totals }
  }

  /** Gives back what is in hand, as far as Redis is there. */
  async close(): Promise<void> {
    this.#stopping.abort()
    await this.#returning
    await Promise.all([...this.#keys.values()].map(({ asking }) => asking))
    await this.#giveBack(Number.POSITIVE_INFINITY)
  }

  #begin(keyId: string, limit: number, now: number): Known {
    const known: Known = {
      keyId,
      bucket: new Bucket(limit, now),
      tokens: 0,
      leaseUntilMs: 0,
      leaseSize: 0,
      back: 0,
      usedSinceAsk: 0,
      askedAtMs: Number.NEGATIVE_INFINITY,
      answeredAtMs: Number.NEGATIVE_INFINITY,
      waiting: 0,
      asking: undefined,
      generation: -1,
    }
    this.#keys.add(keyId, known)
    return known
  }

  /** Asks Redis, or waits for a question that is under way, until this request is decided. */
  async #wait(known: Known, events: number): Promise<RateState> {
    const { bucket } = known
    known.waiting += events
    try {
      for (;;) {
        if (known.asking === undefined) {
          putBack(known)
          // Those who wait already, and what is likely to come.
          const ahead = known.waiting - events + leaseAhead(known, performance.now())
          known.asking = this.#ask(known, events, ahead)
        }
        const answered = await known.asking
        const now = performance.now()
        bucket.advance(bucket.limit, now)
        if (spend(known, events, now)) return bucket.state(events, true)
        if (!answered) return this.#decideAlone(known, events)
        if (!bucket.has(events)) return this.#refuse(known, events)
      }
    } finally {
      known.waiting -= events
    }
  }

  /** Asks for what a request needs and for more in hand, and gives back what is to go back. Resolves to whether Redis has answered. */
  async #ask(known: Known, need: number, ahead: number): Promise<boolean> {
    const { bucket, keyId } = known
    const { limit } = bucket
    const { generation } = this.#redis
    const now = performance.now()
    const isTold = known.generation === generation
    // A Redis that was away may have forgotten that these tokens were taken.
    const back = isTold ? known.back : 0
    const least = isTold ? 0 : bucket.missing + known.tokens
    known.back = 0
    if (need + ahead > 0) {
      known.usedSinceAsk = 0
      known.askedAtMs = now
    }
    this.#totals.questions++
    const answer = await this.#shared.ask({ keyId, limit, need, ahead, back, least })
    known.asking = undefined
    if (isRedisFailure(answer)) {
      known.generation = -1
      return false
    }
    const { granted, missing } = answer
    known.generation = generation
    known.answeredAtMs = performance.now()
    if (granted > 0) {
      putBack(known)
      known.tokens = granted
      known.leaseSize = granted - need
      known.leaseUntilMs = now + LEASE_MS
    }
    bucket.advance(limit, known.answeredAtMs)
    bucket.missing = Math.max(0, missing - known.tokens - known.back)
    return true
  }

  #decideAlone(known: Known, events: number): RateState {
    const { bucket } = known
    known.generation = -1
    this.#totals.decided_alone++
    if (!bucket.has(events)) return this.#refuse(known, events)
    bucket.take(events)
    known.tokens = Math.max(0, known.tokens - events)
    return bucket.state(events, true)
  }

  #refuse(known: Known, events: number): RateState {
    this.#totals.refused_requests++
    return known.bucket.state(events, false)
  }

  async #returnLoop(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      await sleep(LEASE_MS / 2, undefined, { signal, ref: false }).catch(() => undefined)
      await this.#giveBack(performance.now())
      this.#keys.clean()
    }
  }

  /** Gives back leases that are over by then. */
  async #giveBack(byMs: number): Promise<void> {
    let asked: Promise<boolean>[] = []
    for (const known of this.#keys.values()) {
      if (known.leaseUntilMs <= byMs) putBack(known)
      if (known.back === 0 || known.asking !== undefined || !this.#redis.available) continue
      known.asking = this.#ask(known, 0, 0)
      asked.push(known.asking)
      if (asked.length < RETURNS_AT_ONCE) continue
      await Promise.all(asked)
      asked = []
    }
    await Promise.all(asked)
  }
}

/** Uses tokens in hand. */
function spend(known: Known, events: number, now: number): boolean {
  if (known.tokens < events || now >= known.leaseUntilMs) return events === 0
  known.tokens -= events
  known.usedSinceAsk += events
  known.bucket.take(events)
  return true
}

/** How many tokens to take ahead: a key that was busy goes on so for a while, and may get busier. */
function leaseAhead({ askedAtMs, usedSinceAsk, bucket }: Known, now: number): number {
  return now - askedAtMs < LEASE_MS ? Math.min(2 * usedSinceAsk, Math.floor(bucket.limit * LEASE_PART)) : 0
}

function putBack(known: Known): void {
  known.back += known.tokens
  known.tokens = 0
}

/** Whether it is time to fetch more, before what is in hand is used up or over. */
function isLow({ asking, leaseSize, tokens, leaseUntilMs, askedAtMs }: Known, now: number): boolean {
  if (asking !== undefined || leaseSize === 0 || now - askedAtMs < FETCH_INTERVAL_MS) return false
  return tokens < leaseSize / 4 || leaseUntilMs - now < LEASE_MS / 2
}

/** Whether Redis knows all there is to know of the key. */
function isNothing(known: Known): boolean {
  const { bucket } = known
  bucket.advance(bucket.limit, performance.now())
  return bucket.isFull && known.tokens === 0 && known.back === 0 && known.asking === undefined && known.waiting === 0
}
