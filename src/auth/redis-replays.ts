/**
 * Remembers used signatures for several collectors: each in its own memory, and all of them in Redis, keys
 * `penstock:signature:<tenant>/<workspace>:<16 bytes>` that expire. While Redis is away a signature is good once for each collector.
 */
import { isRedisFailure, type Redis } from '../redis.ts'
import { MemoryReplays, type Replays, type SignatureUse, type UseVerdict } from './replays.ts'

/** Remembered for this much longer than it is good: the clocks of collectors differ. */
const CLOCKS_DIFFER_SECONDS = 60

/** See the head of this file. */
export class RedisReplays implements Replays {
  readonly #redis: Redis
  readonly #memory: MemoryReplays

  /** @param memory what this collector remembers by itself */
  constructor(redis: Redis, memory = new MemoryReplays()) {
    this.#redis = redis
    this.#memory = memory
  }

  use(use: SignatureUse, nowSeconds: number): UseVerdict | Promise<UseVerdict> {
    const here = this.#memory.use(use, nowSeconds)
    return here === 'fresh' && this.#redis.available ? this.#useEverywhere(use, nowSeconds) : here
  }

  forget(use: SignatureUse): void {
    this.#memory.forget(use)
    void this.#redis.command('DEL', name(use))
  }

  stats() {
    return this.#memory.stats()
  }

  async #useEverywhere(use: SignatureUse, nowSeconds: number): Promise<UseVerdict> {
    const seconds = Math.max(0, use.expiresAtSeconds - nowSeconds) + CLOCKS_DIFFER_SECONDS
    const reply = await this.#redis.command('SET', name(use), '', 'NX', 'EX', Math.ceil(seconds))
    return reply === 'OK' || isRedisFailure(reply) ? 'fresh' : 'used'
  }
}

function name({ workspace, signature }: SignatureUse): string {
  return `signature:${workspace}:${signature.toString('base64url', 0, 16)}`
}
