/** Tells running servers what the command line has changed, so that they follow at once (REDIS_URL) and not only in time. */
import type { Config } from '../config.ts'

const CONNECT_WITHIN_MS = 2000

/**
 * Says that a key, or without an id any key, was changed. Resolves to when the servers follow, in words: `at once` or `within 30 s`.
 * Never rejects: what was changed is changed. When Redis is there but cannot be reached, stderr says so.
 */
export async function announceToServers(config: Config, keyId?: string): Promise<string> {
  const inTime = `within ${config.keyCacheLifetimeMs / 1000} s`
  if (config.redisUrl === undefined) return inTime
  const { openRedis } = await import('../redis.ts')
  const { createLogger } = await import('../telemetry/logger.ts')
  const { announceKeyChange } = await import('../auth/key-news.ts')
  const redis = openRedis(config.redisUrl, createLogger({ level: 'silent' }))
  try {
    await redis.ready(CONNECT_WITHIN_MS)
    if (await announceKeyChange(redis, keyId)) return 'at once'
  } finally {
    await redis.close()
  }
  process.stderr.write(`warning: Redis (REDIS_URL) does not answer: running servers follow ${inTime}\n`)
  return inTime
}
