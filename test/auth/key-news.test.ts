import { afterAll, expect, test } from 'bun:test'
import { KeyCache } from '../../src/auth/key-cache.ts'
import { announceKeyChange, followKeyChanges } from '../../src/auth/key-news.ts'
import { openRedis, type Redis } from '../../src/redis.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { good, openTestControl, provisionAcme } from '../control/control-fixture.ts'
import { waitUntil } from '../support/collector.ts'
import { startTestRedis } from '../support/redis.ts'

const logger = createLogger({ level: 'silent' })
const server = await startTestRedis()
const opened: Redis[] = []

afterAll(async () => {
  await Promise.all(opened.map((redis) => redis.close()))
  await server.dispose()
})

async function open(): Promise<Redis> {
  const redis = openRedis(server.url, logger)
  opened.push(redis)
  await waitUntil('Redis answers', () => redis.available)
  return redis
}

/** A collector whose cache would believe an answer for an hour, and who changes keys beside it. */
async function setUp() {
  const control = await openTestControl()
  const { secretKey, publicKey } = await provisionAcme(control)
  const cache = new KeyCache({ source: control, logger, lifetimeMs: 3_600_000 })
  let missed = 0
  const counting = {
    forget: (keyId: string) => cache.forget(keyId),
    forgetAll: () => {
      missed += 1
      cache.forgetAll()
    },
  }
  const unfollow = followKeyChanges(await open(), counting)
  await waitUntil('the collector hears', () => missed === 1)
  const secretId = (await control.listKeys()).find(({ kind }) => kind === 'secret')?.id ?? ''
  return { control, cache, secretKey, publicKey, secretId, unfollow, missed: () => missed }
}

test('a key that is revoked elsewhere is refused as soon as the news arrive', async () => {
  const { control, cache, secretKey, secretId, unfollow } = await setUp()
  expect(await cache.authenticate(secretKey)).toMatchObject({ keyId: secretId })
  good(await control.revokeKey(secretId))
  expect(await announceKeyChange(await open(), secretId)).toBe(true)
  await waitUntil('the key is refused', async () => (await cache.authenticate(secretKey)) === 'revoked')
  unfollow()
})

test('news of any key make every key be looked up', async () => {
  const { control, cache, secretKey, unfollow } = await setUp()
  await cache.authenticate(secretKey)
  good(await control.updateWorkspace({ tenant: 'acme', workspace: 'web', eventTypes: 'any' }))
  await announceKeyChange(await open())
  await waitUntil('the new event types are known', async () => {
    const answer = await cache.authenticate(secretKey)
    return typeof answer === 'object' && answer.eventTypes?.length === 0
  })
  unfollow()
})

test('news that were missed while Redis was away are made up for when it is back', async () => {
  const { control, cache, secretKey, secretId, unfollow, missed } = await setUp()
  await cache.authenticate(secretKey)
  const before = missed()
  await server.kill()
  good(await control.revokeKey(secretId))
  expect(cache.authenticate(secretKey)).toMatchObject({ keyId: secretId })
  await server.start()
  await waitUntil('the collector hears again', () => missed() > before)
  expect(await cache.authenticate(secretKey)).toBe('revoked')
  unfollow()
})
