/** Keys that are changed beside a running collector, which hears of it through Redis. */
import { afterAll, expect, test } from 'bun:test'
import { runJson } from '../cli/run-cli.ts'
import { startCollector, waitUntil } from '../support/collector.ts'
import { makeDraft } from '../support/event-drafts.ts'
import { startTestRedis } from '../support/redis.ts'

const redis = await startTestRedis()
afterAll(() => redis.dispose())

test('a key that the command line revokes is refused long before the lifetime of the cache is over', async () => {
  const collector = await startCollector({ env: { REDIS_URL: redis.url, KEY_CACHE_LIFETIME_MS: '3600000' } })
  try {
    const cli = (...args: string[]) => runJson(collector.home.env, ...args)
    const made = await cli('keys', 'create', '--tenant', 'default', '--workspace', 'default', '--tier', 'unlimited')
    const send = async () => (await collector.postEvents([makeDraft()], { 'api-key': made.key })).status
    await waitUntil('the collector hears', () => redis.cli('pubsub', 'numsub', 'penstock:keys').endsWith('1'))
    expect(await send()).toBe(201)
    expect(await send()).toBe(201)
    await cli('keys', 'revoke', made.id)
    await waitUntil('the key is refused', async () => (await send()) === 401)
  } finally {
    await collector.stop()
    collector.home.remove()
  }
})
