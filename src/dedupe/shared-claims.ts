/**
 * What collectors tell each other of event ids by way of Redis:
 *
 *     penstock:dedupe:<tenant>:<workspace>:<uuid>   `p:<collector>`: it is being committed there, for CLAIM_MS at most
 *                                                   `d`: it is durable, for the window
 *     penstock:dedupe-claims:<collector>            a hash of the claims that are not settled: a field for each, `<start>-<number>`,
 *                                                   with `<tenant>:<workspace>:` and the uuids of its events
 *
 * A claim takes all ids of a request at once, in one round trip, so of two requests with the same ids one has them all. A collector takes
 * its own old claims over: what runs in this process is in its memory, and that was asked before.
 */
import assert from 'node:assert/strict'
import type { Batch } from '../batch.ts'
import { isRedisFailure, type Redis, type RedisFailure, type RedisScript } from '../redis.ts'

/** After so long a claim ends by itself: its collector died and did not come back, or cannot reach Redis. No commit takes so long. */
const CLAIM_MS = 60_000
/** Claims of a collector that never comes back are forgotten, too. */
const LEFT_CLAIMS_MS = 7 * 24 * 3_600_000

/**
 * How long an answer is waited for: longer than for other things, because without it a copy may be stored twice. Those who wait when it is
 * late are the only ones, since Redis counts as away from then on.
 */
const ANSWER_MS = 500

const UUID_CHARS = 36

const CLAIM = `
local verdicts = {}
local claimed = false
for at = 1, #ARGV[4], ${UUID_CHARS} do
  local key = KEYS[1] .. string.sub(ARGV[4], at, at + ${UUID_CHARS - 1})
  local verdict = 'c'
  if not redis.call('SET', key, ARGV[1], 'NX', 'PX', ARGV[2]) then
    local value = redis.call('GET', key)
    if value == ARGV[1] then
      redis.call('PEXPIRE', key, ARGV[2])
    elseif value == 'd' then
      verdict = 'd'
    else
      verdict = 'p'
    end
  end
  claimed = claimed or verdict == 'c'
  verdicts[#verdicts + 1] = verdict
end
if claimed then
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[5] .. ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ${LEFT_CLAIMS_MS})
end
return table.concat(verdicts)`

const CONFIRM = `
for at = 1, #ARGV[2], ${UUID_CHARS} do
  redis.call('SET', KEYS[1] .. string.sub(ARGV[2], at, at + ${UUID_CHARS - 1}), 'd', 'PX', ARGV[1])
end
redis.call('HDEL', KEYS[2], unpack(ARGV, 3))
return 1`

const RELEASE = `
for at = 1, #ARGV[2], ${UUID_CHARS} do
  local key = KEYS[1] .. string.sub(ARGV[2], at, at + ${UUID_CHARS - 1})
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
redis.call('HDEL', KEYS[2], unpack(ARGV, 3))
return 1`

/** Ids of one workspace. */
export interface SharedIds {
  readonly tenantId: string
  readonly workspaceId: string
  /** UUIDs in lower case. */
  readonly uuids: readonly string[]
}

/** What is known of an id: claimed by this collector now, durable somewhere, or claimed by another collector. */
export type ClaimVerdict = 'claimed' | 'durable' | 'elsewhere'

/** A claim that an earlier start of this collector did not settle. */
export interface LeftClaim extends SharedIds {
  readonly field: string
}

/** The claims of one collector. */
export class SharedClaims {
  private readonly redis: Redis
  private readonly windowMs: number
  private readonly owner: string
  private readonly hash: string
  private readonly claiming: RedisScript
  private readonly confirming: RedisScript
  private readonly releasing: RedisScript
  /** Tells the claims of this start from those of earlier ones. */
  private readonly start = crypto.randomUUID()
  private lastNumber = 0

  /** @param collectorId random, the same after a start with the same log */
  constructor(redis: Redis, collectorId: string, windowMs: number) {
    this.redis = redis
    this.windowMs = windowMs
    this.owner = `p:${collectorId}`
    this.hash = `dedupe-claims:${collectorId}`
    this.claiming = redis.script(CLAIM)
    this.confirming = redis.script(CONFIRM)
    this.releasing = redis.script(RELEASE)
  }

  /** A name for a claim that is about to be made. */
  nextField(): string {
    this.lastNumber++
    return `${this.start}-${this.lastNumber}`
  }

  /** Claims what nobody has; gives a verdict for each id. */
  async claim(ids: SharedIds, field: string): Promise<readonly ClaimVerdict[] | RedisFailure> {
    const workspace = workspaceOf(ids)
    const keys = [`dedupe:${workspace}`, this.hash]
    const args = [this.owner, CLAIM_MS, field, ids.uuids.join(''), workspace]
    const reply = await this.claiming.run(keys, args, ANSWER_MS)
    if (isRedisFailure(reply)) return reply
    assert(typeof reply === 'string' && reply.length === ids.uuids.length)
    return Array.from(reply, (verdict) => (verdict === 'c' ? 'claimed' : verdict === 'd' ? 'durable' : 'elsewhere'))
  }

  /** The ids are durable here, since `ageMs`; the claims with these fields are settled. */
  async confirm(ids: SharedIds, fields: readonly string[], ageMs = 0): Promise<RedisFailure | undefined> {
    const keys = [`dedupe:${workspaceOf(ids)}`, this.hash]
    const args = [Math.ceil(this.windowMs - ageMs), ids.uuids.join(''), ...fields]
    const reply = await this.confirming.run(keys, args, ANSWER_MS)
    return isRedisFailure(reply) ? reply : undefined
  }

  /** The ids are not durable here; the claims with these fields are settled. */
  async release(ids: SharedIds, fields: readonly string[]): Promise<RedisFailure | undefined> {
    const keys = [`dedupe:${workspaceOf(ids)}`, this.hash]
    const reply = await this.releasing.run(keys, [this.owner, ids.uuids.join(''), ...fields], ANSWER_MS)
    return isRedisFailure(reply) ? reply : undefined
  }

  /** The claims that earlier starts of this collector have left. */
  async left(): Promise<readonly LeftClaim[] | RedisFailure> {
    const reply = await this.redis.command('HGETALL', this.hash)
    if (isRedisFailure(reply)) return reply
    assert(Array.isArray(reply))
    const claims: LeftClaim[] = []
    for (let at = 0; at < reply.length; at += 2) {
      const field = String(reply[at])
      const [tenantId = '', workspaceId = '', uuids = ''] = String(reply[at + 1]).split(':')
      if (field.startsWith(this.start)) continue
      claims.push({ field, tenantId, workspaceId, uuids: uuids.match(/.{36}/g) ?? [] })
    }
    return claims
  }
}

/** Names have no colon in them. */
function workspaceOf({ tenantId, workspaceId }: SharedIds): string {
  return `${tenantId}:${workspaceId}:`
}

/** The ids of those events that have one. */
export function sharedIds(batch: Batch): SharedIds {
  const { tenantId, workspaceId, length } = batch
  const uuids: string[] = []
  for (let index = 0; index < length; index++) if (batch.hasId(index)) uuids.push(batch.idOf(index))
  return { tenantId, workspaceId, uuids }
}
