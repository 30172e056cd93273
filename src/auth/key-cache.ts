/**
 * Says who a key is. The hot path is one look into a Map by the key as presented, without hashing, waiting or allocating.
 *
 * - A Map compares with the whole text only after its hash matched; with 256 random bits in a key there is nothing to learn
 *   from how long that took. Raw keys are in the memory of every request anyway.
 * - Known and refused keys have maps of their own, each bounded, so that a flood of made-up keys cannot push out real ones.
 *   Text that is not shaped like a key is refused without being remembered.
 * - Concurrent misses for one key share one lookup; the number of different lookups under way is bounded.
 * - While the database is away, known keys go on (until their own expiry) without waiting for it; unknown ones get `unavailable`,
 *   which is not remembered.
 * - News of changed keys (see key-news.ts) make it forget; an answer that was asked for before the news is not kept.
 */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventsPerMinute, type Scope, type SigningMode, type Tier } from '../control/grants.ts'
import { type FoundKey, keyState } from '../control/key-record.ts'
import { hashKey, isKeyShaped, type KeyKind } from '../control/keys.ts'
import { isProblem, type Problem } from '../problem.ts'
import type { Logger } from '../telemetry/logger.ts'
import { withTimeout } from '../timeout.ts'

/** Whose events these are and what the key may do. Frozen; one object per cached key. */
export interface Authenticated {
  readonly keyId: string
  readonly tenantId: string
  readonly workspaceId: string
  readonly kind: KeyKind
  readonly scopes: readonly Scope[]
  readonly tier: Tier
  /** Rate limit of the tier; Infinity: none. */
  readonly eventsPerMinute: number
  /** Limits of the key itself; undefined: as configured. */
  readonly batchEventsMax: number | undefined
  readonly bodyBytesMax: number | undefined
  /** Origins of web pages that may use it, see control/origins.ts; undefined: all. */
  readonly allowedOrigins: readonly string[] | undefined
  readonly signing: SigningMode
  /** There unless signing is off. */
  readonly signingSecret: string | undefined
  /** The workspace's own event types for `POST /events`; undefined: the contract's list; empty: any. */
  readonly eventTypes: readonly string[] | undefined
}

/** Why a key does not open the door. `unavailable` may be tried again; the others stay as they are. */
export type KeyRefusal = 'unknown' | 'revoked' | 'expired' | 'unavailable'

/** Where keys are looked up; the control database is one. Both may throw when it cannot be reached. */
export interface KeySource {
  findKeyByHash(hash: string): Promise<FoundKey | undefined>
  touchKeys(uses: ReadonlyMap<string, number>): Promise<void>
}

/** Limits of the cache. Times in milliseconds. */
export interface KeyCacheOptions {
  readonly source: KeySource
  readonly logger: Logger
  /** How long an answer is believed; so long may a revoked key go on. Default 30 s. */
  readonly lifetimeMs?: number
  /** Known keys, and refused keys, held at most. The longest unchecked go first. Default 10,000 of each. */
  readonly keysMax?: number
  /** Different keys being looked up at one time; beyond that the answer is `unavailable`. Default 1,000. */
  readonly lookupsMax?: number
  /** How long one lookup may take before it counts as failed. Default 2 s. */
  readonly lookupTimeoutMs?: number
  /** How often last uses are written. Default 60 s. */
  readonly touchIntervalMs?: number
  /** Milliseconds since 1970; for tests. */
  readonly now?: () => number
}

interface Known {
  readonly authenticated: Authenticated
  readonly expiresAtMs: number
  /** An answer from the future means that the clock was set back: it is not believed. */
  checkedAtMs: number
  readUntilMs: number
  usedAtMs: number
  touchedAtMs: number
}

interface Refused {
  readonly refusal: KeyRefusal
  readonly checkedAtMs: number
  readonly readUntilMs: number
}

/** While the database is away, a known key asks again this often at most, so that an outage does not slow every request. */
const RETRY_MS = 1000

/** So often at most the log says that a signing secret cannot be decrypted. */
const COMPLAINT_INTERVAL_MS = 10_000

/** See the head of this file. Start it once; stop it before the source is closed. */
export class KeyCache {
  readonly #source: KeySource
  readonly #logger: Logger
  readonly #lifetimeMs: number
  readonly #keysMax: number
  readonly #lookupsMax: number
  readonly #lookupTimeoutMs: number
  readonly #touchIntervalMs: number
  readonly #now: () => number
  readonly #known = new Map<string, Known>()
  readonly #refused = new Map<string, Refused>()
  readonly #lookups = new Map<string, Promise<Authenticated | KeyRefusal>>()
  readonly #stopping = new AbortController()
  #touching: Promise<void> | undefined
  #sourceIsAway = false
  #newsHeard = 0
  #complainedAtMs = Number.NEGATIVE_INFINITY

  constructor(options: KeyCacheOptions) {
    this.#source = options.source
    this.#logger = options.logger
    this.#lifetimeMs = options.lifetimeMs ?? 30_000
    this.#keysMax = options.keysMax ?? 10_000
    this.#lookupsMax = options.lookupsMax ?? 1000
    this.#lookupTimeoutMs = options.lookupTimeoutMs ?? 2000
    this.#touchIntervalMs = options.touchIntervalMs ?? 60_000
    this.#now = options.now ?? Date.now
  }

  /** Who the key is, at once when it is cached; otherwise, or when it is not good, why not. Never rejects. */
  authenticate(key: string): Authenticated | KeyRefusal | Promise<Authenticated | KeyRefusal> {
    const now = this.#now()
    const known = this.#known.get(key)
    if (known !== undefined && now < known.readUntilMs && now >= known.checkedAtMs) {
      known.usedAtMs = now
      return known.authenticated
    }
    if (!isKeyShaped(key)) return 'unknown'
    const refused = this.#refused.get(key)
    if (refused !== undefined && now < refused.readUntilMs && now >= refused.checkedAtMs) return refused.refusal
    const lookup = this.#lookups.get(key)
    if (known !== undefined && this.#sourceIsAway && now < known.expiresAtMs) {
      if (lookup === undefined) void this.#lookUp(key) // in the background: it may take its whole time
      known.usedAtMs = now
      return known.authenticated
    }
    if (lookup !== undefined) return lookup
    // Known keys are few enough by themselves; a flood of others must not keep them from being checked.
    if (known === undefined && this.#lookups.size >= this.#lookupsMax) return 'unavailable'
    return this.#lookUp(key)
  }

  /** The key with this id was changed or revoked: it is looked up before it is used again. */
  forget(keyId: string): void {
    for (const [key, { authenticated }] of this.#known) if (authenticated.keyId === keyId) this.#known.delete(key)
    this.#distrustLookups()
  }

  /** Any key may have been changed: each is looked up before it is used again, but goes on when the source is away. */
  forgetAll(): void {
    for (const known of this.#known.values()) known.readUntilMs = Number.NEGATIVE_INFINITY
    this.#refused.clear()
    this.#distrustLookups()
  }

  /** Begins to write down last uses in the background. */
  start(): void {
    this.#touching ??= this.#touchLoop()
  }

  /** Ends the background work after writing what is left. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#touching
  }

  /** Those under way may bring what was true before the news: nobody else joins them, and they leave nothing behind. */
  #distrustLookups(): void {
    this.#lookups.clear()
    this.#newsHeard += 1
  }

  #lookUp(key: string): Promise<Authenticated | KeyRefusal> {
    const lookup = this.#ask(key).finally(() => {
      if (this.#lookups.get(key) === lookup) this.#lookups.delete(key)
    })
    this.#lookups.set(key, lookup)
    return lookup
  }

  async #ask(key: string): Promise<Authenticated | KeyRefusal> {
    const newsBefore = this.#newsHeard
    let record: FoundKey | undefined
    try {
      record = await withTimeout(this.#source.findKeyByHash(hashKey(key)), this.#lookupTimeoutMs)
    } catch (error) {
      if (!this.#sourceIsAway) this.#logger.warn({ err: error }, 'control database does not answer: known keys go on')
      this.#sourceIsAway = true
      return this.#goOn(key)
    }
    if (this.#sourceIsAway) this.#logger.info('control database answers again')
    this.#sourceIsAway = false
    const now = this.#now()
    const state = record === undefined ? 'unknown' : keyState(record, now)
    const before = this.#known.get(key)
    if (record === undefined || state !== 'active') {
      assert(state !== 'active')
      return this.#refuse(key, state, this.#lifetimeMs)
    }
    const { signingSecret } = record
    if (isProblem(signingSecret)) {
      this.#complain(signingSecret, record)
      // Not what was known before: the secret may have been replaced, and the rest of the record may have changed with it.
      return this.#refuse(key, 'unavailable', RETRY_MS)
    }
    const authenticated = toAuthenticated(record, signingSecret)
    if (this.#newsHeard !== newsBefore) return authenticated
    this.#known.delete(key)
    this.#refused.delete(key)
    const expiresAtMs = record.expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(record.expiresAt)
    const known: Known = {
      authenticated,
      expiresAtMs,
      checkedAtMs: now,
      readUntilMs: Math.min(now + this.#lifetimeMs, expiresAtMs),
      usedAtMs: now,
      touchedAtMs: before?.touchedAtMs ?? 0,
    }
    remember(this.#known, key, known, this.#keysMax)
    return known.authenticated
  }

  #refuse(key: string, refusal: KeyRefusal, lifetimeMs: number): KeyRefusal {
    const now = this.#now()
    this.#known.delete(key)
    this.#refused.delete(key)
    remember(this.#refused, key, { refusal, checkedAtMs: now, readUntilMs: now + lifetimeMs }, this.#keysMax)
    return refusal
  }

  /** Every request with such a key would say so: one line now and then is enough. */
  #complain({ problem, message }: Problem, { id: keyId, tenantId, workspaceId }: FoundKey): void {
    const now = this.#now()
    if (now < this.#complainedAtMs + COMPLAINT_INTERVAL_MS && now >= this.#complainedAtMs) return
    this.#complainedAtMs = now
    this.#logger.error({ problem, keyId, tenantId, workspaceId }, `a key that signs cannot be used: ${message}`)
  }

  /** The answer while the source is away. */
  #goOn(key: string): Authenticated | KeyRefusal {
    const now = this.#now()
    const known = this.#known.get(key)
    if (known === undefined) return 'unavailable'
    if (now >= known.expiresAtMs) return 'expired'
    known.checkedAtMs = now
    known.readUntilMs = Math.min(now + RETRY_MS, known.expiresAtMs)
    known.usedAtMs = now
    return known.authenticated
  }

  async #touchLoop(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      await sleep(this.#touchIntervalMs, undefined, { signal, ref: false }).catch(() => {})
      await this.#touch()
    }
  }

  async #touch(): Promise<void> {
    const used = [...this.#known.values()].filter((known) => known.usedAtMs > known.touchedAtMs)
    if (used.length === 0) return
    const uses = new Map(used.map((known) => [known.authenticated.keyId, known.usedAtMs]))
    try {
      await this.#source.touchKeys(uses)
      for (const known of used) known.touchedAtMs = uses.get(known.authenticated.keyId) ?? known.touchedAtMs
    } catch (error) {
      this.#logger.warn({ err: error }, 'last uses of keys were not written; tried again later')
    }
  }
}

function toAuthenticated(record: FoundKey, signingSecret: string | undefined): Authenticated {
  return Object.freeze({
    keyId: record.id,
    tenantId: record.tenantId,
    workspaceId: record.workspaceId,
    kind: record.kind,
    scopes: Object.freeze([...record.scopes]),
    tier: record.tier,
    eventsPerMinute: eventsPerMinute(record.tier),
    batchEventsMax: record.batchEventsMax,
    bodyBytesMax: record.bodyBytesMax,
    allowedOrigins: record.allowedOrigins && Object.freeze([...record.allowedOrigins]),
    signing: record.signing,
    signingSecret,
    eventTypes: record.eventTypes && Object.freeze([...record.eventTypes]),
  })
}

/** A Map keeps the order of insertion: what was checked longest ago is at its front. */
function remember<Value>(entries: Map<string, Value>, key: string, value: Value, entriesMax: number): void {
  const oldest = entries.keys().next()
  if (entries.size >= entriesMax && !oldest.done) entries.delete(oldest.value)
  entries.set(key, value)
}
