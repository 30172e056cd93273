/**
 * The bucket of a key as Redis keeps it for all collectors: a hash `penstock:limit:<key id>` of `missing` (events until it is full), `at`
 * (milliseconds since 1970, by the clock of Redis) and `limit`. A full bucket is not there: the hash expires when it would be full.
 * The arithmetic is that of `bucket.ts`. When the clock of Redis goes back, time stands still for the bucket; when it jumps ahead, the
 * bucket fills up.
 */
import { isRedisFailure, type Redis, type RedisFailure, type RedisScript } from '../redis.ts'
import { BURST, TOLERANCE } from './bucket.ts'

const ASK = `
local limit, need, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local back, least = tonumber(ARGV[4]), tonumber(ARGV[5])
local capacity, perMs = ${BURST} * limit, limit / 60000
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local kept = redis.call('HMGET', KEYS[1], 'missing', 'at', 'limit')
local missing = tonumber(kept[1] or 0)
local before = tonumber(kept[3] or limit)
missing = math.max(0, missing - math.max(0, now - tonumber(kept[2] or now)) * before / 60000)
missing = math.max(0, missing - back)
if before ~= limit then missing = math.min(missing, capacity) end
missing = math.max(missing, least)
local granted = 0
if missing + math.min(need, capacity) <= capacity + ${TOLERANCE} then
  granted = need + math.max(0, math.min(ahead, math.floor((capacity - missing - need) / 2)))
  missing = missing + granted
end
if missing > 0 then
  local at = string.format('%.3f', now)
  redis.call('HSET', KEYS[1], 'missing', string.format('%.9f', missing), 'at', at, 'limit', limit)
  redis.call('PEXPIRE', KEYS[1], math.ceil(missing / perMs) + 1)
else
  redis.call('DEL', KEYS[1])
end
return {granted, string.format('%.9f', missing)}
`

/** What is asked of a shared bucket. Numbers of events. */
export interface Ask {
  readonly keyId: string
  /** Events a minute. */
  readonly limit: number
  /** Wanted whole or not at all; 0: nothing. */
  readonly need: number
  /** Wanted besides, as far as they are there: at most half of what remains, so that other collectors find some too. */
  readonly ahead: number
  /** Tokens taken earlier and not used. */
  readonly back: number
  /** What is missing at least, as far as the asker knows; for a Redis that has lost what it held. */
  readonly least: number
}

export interface Answer {
  /** `need` and as much of `ahead` as there was; 0 when `need` was not there. */
  readonly granted: number
  /** What is missing in the bucket after that. */
  readonly missing: number
}

/** The shared buckets of one Redis. */
export class SharedBuckets {
  readonly #script: RedisScript

  constructor(redis: Redis) {
    this.#script = redis.script(ASK)
  }

  async ask({ keyId, limit, need, ahead, back, least }: Ask): Promise<Answer | RedisFailure> {
    const reply = await this.#script.run([`limit:${keyId}`], [limit, need, ahead, back, least])
    if (isRedisFailure(reply)) return reply
    const [granted, missing] = Array.isArray(reply) ? reply : []
    return { granted: Number(granted), missing: Number(missing) }
  }
}
