/**
 * The claims of one collector on event ids, in Redis: see `claim-scripts.ts` for what is kept there.
 *
 * A claim takes all ids of a request at once, in one round trip, so of two requests with the same ids one has them all. A collector takes
 * its own old claims over: what runs in this process is in its memory, and that was asked before.
 *
 * Claims that are made while others are on their way go together after those; so do confirmations. A release goes at once, before any later
 * claim on the same ids.
 */
import assert from 'node:assert/strict'
import { isRedisFailure, type Redis, type RedisArgument, type RedisFailure, type RedisScript } from '../redis.ts'
import { CLAIM, CLAIM_MS, CONFIRM, LOT_IDS_MAX, RELEASE } from './claim-scripts.ts'
import { Gathering } from './gathering.ts'
import { countOf, readIds, type SharedIds, workspaceOf } from './shared-ids.ts'

/**
 * How long an answer is waited for: longer than for other things, because without it a copy may be stored twice. Those who wait when it is
 * late are the only ones, since Redis counts as away from then on.
 */
const ANSWER_MS = 500

/** What is known of an id. `c`: claimed by this collector now; `d`: durable somewhere; `p`: claimed by another collector. */
export type ClaimVerdict = 'c' | 'd' | 'p'

/** A claim that an earlier start of this collector did not settle. */
export interface LeftClaim extends SharedIds {
  readonly field: string
}

/** A claim that is to be made, of at most LOT_IDS_MAX ids. */
interface Claim {
  readonly ids: SharedIds
  readonly field: string
}

/** Claims that are to be settled: their ids are durable. */
interface Confirmation {
  readonly ids: SharedIds
  readonly fields: readonly string[]
}

/** The claims of one collector. */
export class SharedClaims {
  private readonly redis: Redis
  private readonly windowMs: number
  private readonly slotMs: number
  private readonly owner: string
  private readonly keys: readonly string[]
  private readonly claiming: RedisScript
  private readonly confirming: RedisScript
  private readonly releasing: RedisScript
  private readonly claims: Gathering<Claim, string | RedisFailure>
  private readonly confirmations: Gathering<Confirmation, RedisFailure | undefined>
  /** Tells the claims of this start from those of earlier ones. */
  private readonly start = crypto.randomUUID()
  private lastNumber = 0

  /** @param collectorId random, the same after a start with the same log */
  constructor(redis: Redis, collectorId: string, windowMs: number) {
    this.redis = redis
    this.windowMs = windowMs
    this.slotMs = Math.ceil(Math.max(windowMs, CLAIM_MS) / 2)
    this.owner = collectorId
    this.keys = ['ids:', claimsOf(collectorId), 'id-slots']
    this.claiming = redis.script(CLAIM)
    this.confirming = redis.script(CONFIRM)
    this.releasing = redis.script(RELEASE)
    const sizeOf = ({ ids }: { readonly ids: SharedIds }) => countOf(ids)
    this.claims = new Gathering((lot: readonly Claim[]) => this.claimAll(lot), sizeOf, LOT_IDS_MAX)
    const confirmAll = (lot: readonly Confirmation[]) => this.confirmAll(lot, this.windowMs)
    this.confirmations = new Gathering(confirmAll, sizeOf, LOT_IDS_MAX)
  }

  /** A name for a claim that is about to be made. */
  nextField(): string {
    this.lastNumber++
    return `${this.start}-${this.lastNumber}`
  }

  /** Claims what nobody has, of at most LOT_IDS_MAX ids; gives a `ClaimVerdict` for each. */
  claim(ids: SharedIds, field: string): Promise<string | RedisFailure> {
    return this.claims.add({ ids, field })
  }

  /** The ids, at most LOT_IDS_MAX, are durable here; the claims with these fields are settled. */
  confirm(ids: SharedIds, fields: readonly string[]): Promise<RedisFailure | undefined> {
    return this.confirmations.add({ ids, fields })
  }

  /** The same for ids that are durable since `ageMs`, at once. */
  async confirmOld(ids: SharedIds, fields: readonly string[], ageMs: number): Promise<RedisFailure | undefined> {
    const [failure] = await this.confirmAll([{ ids, fields }], Math.ceil(this.windowMs - ageMs))
    return failure
  }

  /** The ids, at most LOT_IDS_MAX, are not durable here; the claims with these fields are settled. */
  async release(ids: SharedIds, fields: readonly string[]): Promise<RedisFailure | undefined> {
    const reply = await this.run(this.releasing, this.owner, ids.bytes, workspaceOf(ids), ...fields)
    return isRedisFailure(reply) ? reply : undefined
  }

  /** The claims that earlier starts of this collector have left. */
  async left(): Promise<readonly LeftClaim[] | RedisFailure> {
    const found = await this.redis.hash(claimsOf(this.owner))
    if (isRedisFailure(found)) return found
    const left = [...found].filter(([field]) => !field.startsWith(this.start))
    return left.map(([field, claim]) => ({ field, ...readIds(claim) }))
  }

  private async claimAll(lot: readonly Claim[]): Promise<(string | RedisFailure)[]> {
    const requests = lot.flatMap(({ ids, field }) => [workspaceOf(ids), countOf(ids), field])
    const reply = await this.run(this.claiming, this.owner, bytesOf(lot), ...requests)
    if (isRedisFailure(reply)) return lot.map(() => reply)
    assert(typeof reply === 'string')
    let end = 0
    return lot.map(({ ids }) => {
      const begin = end
      end += countOf(ids)
      return reply.slice(begin, end)
    })
  }

  private async confirmAll(lot: readonly Confirmation[], forMs: number): Promise<(RedisFailure | undefined)[]> {
    const requests = lot.flatMap(({ ids }) => [workspaceOf(ids), countOf(ids)])
    const fields = lot.flatMap((one) => one.fields)
    const reply = await this.run(this.confirming, forMs, bytesOf(lot), lot.length, ...requests, ...fields)
    return lot.map(() => (isRedisFailure(reply) ? reply : undefined))
  }

  private run(script: RedisScript, ...args: RedisArgument[]) {
    return script.run(this.keys, [this.slotMs, ...args], ANSWER_MS)
  }
}

function claimsOf(collectorId: string): string {
  return `id-claims:${collectorId}`
}

function bytesOf(lot: readonly { readonly ids: SharedIds }[]): Buffer {
  return Buffer.concat(lot.map(({ ids }) => ids.bytes))
}
