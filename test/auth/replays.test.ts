import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { RedisReplays } from '../../src/auth/redis-replays.ts'
import { MemoryReplays, type SignatureUse } from '../../src/auth/replays.ts'
import { SignatureSet } from '../../src/auth/signature-set.ts'
import { openRedis, type Redis } from '../../src/redis.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { startTestRedis, type TestRedis } from '../support/redis.ts'

const NOW = 1_700_000_000

/** A new signature that is good for so long. */
function signature(secondsLeft = 300, workspace = 'acme/web'): SignatureUse {
  return { workspace, signature: randomBytes(32), expiresAtSeconds: NOW + secondsLeft }
}

describe('in memory', () => {
  test('a signature is good once', () => {
    const replays = new MemoryReplays()
    const one = signature()
    expect(replays.use(one, NOW)).toBe('fresh')
    expect(replays.use(one, NOW)).toBe('used')
    expect(replays.use({ ...one, signature: Buffer.from(one.signature) }, NOW + 299)).toBe('used')
    expect(replays.use(signature(), NOW)).toBe('fresh')
  })

  test('it is good again when its request did not get through', () => {
    const replays = new MemoryReplays()
    const one = signature()
    replays.use(one, NOW)
    replays.forget(one)
    replays.forget(one)
    expect(replays.stats().signatures).toBe(0)
    expect(replays.use(one, NOW)).toBe('fresh')
    expect(replays.use(one, NOW)).toBe('used')
  })

  test('it is remembered to its end, and then no longer', () => {
    const replays = new MemoryReplays()
    const uses = Array.from({ length: 600 }, (_, index) => signature(index))
    for (const use of uses) expect(replays.use(use, NOW)).toBe('fresh')
    for (let seconds = 0; seconds < 600; seconds += 7) {
      for (const use of uses)
        if (use.expiresAtSeconds > NOW + seconds) expect(replays.use(use, NOW + seconds)).toBe('used')
    }
    expect(replays.use(signature(720), NOW + 700)).toBe('fresh')
    expect(replays.stats().signatures).toBe(1)
  })

  test('a flood takes no more memory than it may, lets nothing through twice, and goes at the expense of its own key', () => {
    const bytesMax = 256 * 1024
    const replays = new MemoryReplays(bytesMax)
    const others = Array.from({ length: 50 }, (_, index) => signature(300, `other ${index}`))
    for (const use of others) expect(replays.use(use, NOW)).toBe('fresh')
    const accepted: SignatureUse[] = []
    const verdicts = { fresh: 0, used: 0, too_old: 0, too_many: 0 }
    for (let index = 0; index < 60_000; index++) {
      const use = signature(index % 600)
      const verdict = replays.use(use, NOW)
      verdicts[verdict]++
      if (verdict === 'fresh') accepted.push(use)
      expect(replays.stats().bytes).toBeLessThan(1.5 * bytesMax)
    }
    expect(verdicts.too_old).toBeGreaterThan(0)
    expect(verdicts.used).toBe(0)
    for (const use of accepted) expect(['used', 'too_old']).toContain(replays.use(use, NOW))
    for (const use of others) expect(replays.use(use, NOW)).toBe('used')
    for (let index = 0; index < 50; index++) expect(replays.use(signature(300, `other ${index}`), NOW)).toBe('fresh')
    // When the flood is over, its key may go on.
    expect(replays.use(signature(1_500), NOW + 1_200)).toBe('fresh')
  })

  test('of a key that needs all the room for one minute, more is refused', () => {
    const replays = new MemoryReplays(8 * 1024)
    const verdicts = new Set(Array.from({ length: 2_000 }, () => replays.use(signature(), NOW)))
    expect(verdicts).toEqual(new Set(['fresh', 'too_many', 'too_old']))
  })
})

test('a set of signatures holds what was added and not removed', () => {
  const values = fc.integer({ min: 0, max: 60 }).map((value) => {
    const bytes = Buffer.alloc(32)
    bytes.writeUIntBE(value * 1_234_567_891, 0, 6)
    return bytes
  })
  fc.assert(
    fc.property(fc.array(fc.record({ value: values, isAdded: fc.boolean() }), { maxLength: 400 }), (steps) => {
      const set = new SignatureSet()
      const model = new Set<string>()
      for (const { value, isAdded } of steps) {
        const name = value.toString('hex')
        expect(set.has(value)).toBe(model.has(name))
        if (!isAdded) expect(set.remove(value)).toBe(model.delete(name))
        else if (!model.has(name)) {
          set.add(value)
          model.add(name)
        }
        expect(set.size).toBe(model.size)
      }
    }),
  )
})

describe('with Redis', () => {
  let server: TestRedis
  const opened: Redis[] = []

  beforeAll(async () => {
    server = await startTestRedis()
  })

  afterAll(async () => {
    await Promise.all(opened.map((redis) => redis.close()))
    await server.dispose()
  })

  async function collector(): Promise<{ redis: Redis; replays: RedisReplays }> {
    const redis = openRedis(server.url, createLogger({ level: 'silent' }))
    opened.push(redis)
    while (!redis.available) await Bun.sleep(5)
    return { redis, replays: new RedisReplays(redis) }
  }

  test('a signature is good once for all collectors, and the first of many at once wins', async () => {
    const [one, two] = await Promise.all([collector(), collector()])
    const use = signature()
    const verdicts = await Promise.all(
      Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? one : two).replays.use(use, NOW)),
    )
    expect(verdicts.filter((verdict) => verdict === 'fresh').length).toBe(1)
    expect(await two.replays.use(use, NOW)).toBe('used')
  })

  test('it is good again everywhere when its request did not get through', async () => {
    const [one, two] = await Promise.all([collector(), collector()])
    const use = signature()
    expect(await one.replays.use(use, NOW)).toBe('fresh')
    one.replays.forget(use)
    while (server.cli('keys', 'penstock:signature:*').includes(use.signature.toString('base64url', 0, 16)))
      await Bun.sleep(5)
    expect(await two.replays.use(use, NOW)).toBe('fresh')
    expect(await one.replays.use(use, NOW)).toBe('used')
  })

  test('Redis forgets it some time after it is over', async () => {
    const { replays } = await collector()
    const use = signature(120, 'expiring')
    await replays.use(use, NOW)
    const [name = ''] = server.cli('keys', 'penstock:signature:expiring:*').split('\n')
    expect(Number(server.cli('ttl', name))).toBeGreaterThanOrEqual(120)
    expect(Number(server.cli('ttl', name))).toBeLessThan(240)
  })

  test('while Redis is away it is good once for each collector', async () => {
    const [one, two] = await Promise.all([collector(), collector()])
    await server.kill()
    const use = signature()
    expect(await one.replays.use(use, NOW)).toBe('fresh')
    expect(await one.replays.use(use, NOW)).toBe('used')
    expect(await two.replays.use(use, NOW)).toBe('fresh')
    one.replays.forget(use)
    expect(await one.replays.use(use, NOW)).toBe('fresh')
    await server.start()
  })
})
