import { afterEach, describe, expect, test } from 'bun:test'
import { type Authenticated, KeyCache, type KeyCacheOptions, type KeySource } from '../../src/auth/key-cache.ts'
import type { ControlDatabase } from '../../src/control/control-database.ts'
import { generateKey } from '../../src/control/keys.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { good, openTestControl, provisionAcme, temporaryDataDir } from '../control/control-fixture.ts'
import { waitUntil } from '../support/collector.ts'

const LIFETIME_MS = 30_000
const caches: KeyCache[] = []

afterEach(async () => {
  for (const cache of caches.splice(0)) await cache.stop()
})

/** A cache over a real control database that counts lookups, can be cut off, and has a clock that only the test moves. */
async function setUp(options: Partial<KeyCacheOptions> = {}) {
  const control = await openTestControl()
  const made = await provisionAcme(control)
  const clock = { now: Date.now() }
  const link = { lookups: 0, touches: 0, cut: false }
  const source: KeySource = {
    async findKeyByHash(hash) {
      link.lookups += 1
      if (link.cut) throw new Error('connection lost')
      return control.findKeyByHash(hash)
    },
    async touchKeys(uses) {
      link.touches += 1
      if (link.cut) throw new Error('connection lost')
      return control.touchKeys(uses)
    },
  }
  const logger = createLogger({ level: 'silent' })
  const cache = new KeyCache({ source, logger, lifetimeMs: LIFETIME_MS, now: () => clock.now, ...options })
  caches.push(cache)
  return { control, made, clock, link, cache }
}

async function idOf(control: ControlDatabase, key: string): Promise<string> {
  return (await control.listKeys()).find((record) => key.startsWith(record.prefix))?.id ?? ''
}

describe('a known key', () => {
  test('tells tenant, workspace, kind, scopes and tier, the second time without waiting', async () => {
    const { cache, made, link, control } = await setUp()
    const first = cache.authenticate(made.publicKey)
    expect(first).toBeInstanceOf(Promise)
    expect(await first).toEqual({
      keyId: await idOf(control, made.publicKey),
      tenantId: 'acme',
      workspaceId: 'web',
      kind: 'public',
      scopes: ['ingest'],
      tier: 'site',
      eventsPerMinute: 1000,
      batchEventsMax: undefined,
      bodyBytesMax: undefined,
      allowedOrigins: undefined,
      signing: 'off',
      signingSecret: undefined,
      eventTypes: undefined,
    })
    expect(cache.authenticate(made.publicKey)).toBe(await first)
    expect(link.lookups).toBe(1)
  })

  test('is looked up once however many requests bring it at the same time', async () => {
    const { cache, made, link } = await setUp()
    const answers = await Promise.all(Array.from({ length: 50 }, () => cache.authenticate(made.secretKey)))
    expect(link.lookups).toBe(1)
    expect(new Set(answers).size).toBe(1)
  })

  test('is looked up again when its lifetime is over', async () => {
    const { cache, made, link, clock } = await setUp()
    await cache.authenticate(made.secretKey)
    clock.now += LIFETIME_MS - 1
    expect(cache.authenticate(made.secretKey)).not.toBeInstanceOf(Promise)
    clock.now += 1
    expect(cache.authenticate(made.secretKey)).toBeInstanceOf(Promise)
    expect(link.lookups).toBe(2)
  })

  test('is looked up again when the clock was set back', async () => {
    const { cache, made, clock } = await setUp()
    await cache.authenticate(made.secretKey)
    clock.now -= 3_600_000
    expect(cache.authenticate(made.secretKey)).toBeInstanceOf(Promise)
  })

  test('that is revoked is refused within the lifetime of the cache', async () => {
    const { cache, made, clock, control } = await setUp()
    await cache.authenticate(made.secretKey)
    good(await control.revokeKey(await idOf(control, made.secretKey)))
    clock.now += LIFETIME_MS
    expect(await cache.authenticate(made.secretKey)).toBe('revoked')
    expect(cache.authenticate(made.secretKey)).toBe('revoked')
  })

  test('is refused from its expiry on, also from the cache', async () => {
    const { cache, clock, control } = await setUp()
    const expiresAt = new Date(clock.now + 1000)
    const { key } = good(await control.createKey({ tenant: 'acme', workspace: 'web', kind: 'secret', expiresAt }))
    expect(await cache.authenticate(key)).toMatchObject({ kind: 'secret' })
    clock.now += 999
    expect(cache.authenticate(key)).toMatchObject({ kind: 'secret' })
    clock.now += 1
    expect(await cache.authenticate(key)).toBe('expired')
  })

  test('and its successor both work during a rotation, then only the successor', async () => {
    const { cache, made, clock, control } = await setUp()
    const next = good(await control.rotateKey(await idOf(control, made.secretKey), 60_000))
    expect(await cache.authenticate(made.secretKey)).toMatchObject({ workspaceId: 'web' })
    expect(await cache.authenticate(next.key)).toMatchObject({ workspaceId: 'web' })
    clock.now = Date.now() + 60_000
    expect(await cache.authenticate(made.secretKey)).toBe('expired')
    expect(await cache.authenticate(next.key)).toMatchObject({ workspaceId: 'web' })
  })
})

describe('an unknown key', () => {
  test('is refused, and remembered as unknown', async () => {
    const { cache, link } = await setUp()
    const key = generateKey('secret')
    expect(await cache.authenticate(key)).toBe('unknown')
    expect(cache.authenticate(key)).toBe('unknown')
    expect(link.lookups).toBe(1)
  })

  test.each(['', 'pk_short', 'x'.repeat(100_000), `pk_${'!'.repeat(43)}`, `${'pk_'}${'a'.repeat(43)}\n`])(
    'that is not shaped like a key is refused without a lookup (%#)',
    async (key) => {
      const { cache, link } = await setUp()
      expect(cache.authenticate(key)).toBe('unknown')
      expect(link.lookups).toBe(0)
    },
  )

  test('in any number takes bounded memory and does not push out known keys', async () => {
    const { cache, made, link } = await setUp({ keysMax: 10 })
    await cache.authenticate(made.secretKey)
    const flood = Array.from({ length: 100 }, () => generateKey('public'))
    for (const key of flood) await cache.authenticate(key)
    expect(cache.authenticate(made.secretKey)).toMatchObject({ workspaceId: 'web' })
    const before = link.lookups
    for (const key of flood) await cache.authenticate(key)
    expect(link.lookups - before).toBe(100) // none of the early ones was still held
  })

  test('among too many lookups at one time is asked to come again, a known key is not', async () => {
    const { cache, made, clock } = await setUp({ lookupsMax: 3 })
    await cache.authenticate(made.secretKey)
    clock.now += LIFETIME_MS
    const flood = Array.from({ length: 5 }, () => cache.authenticate(generateKey('public')))
    const known = cache.authenticate(made.secretKey)
    expect(await Promise.all(flood)).toEqual(['unknown', 'unknown', 'unknown', 'unavailable', 'unavailable'])
    expect(await known).toMatchObject({ workspaceId: 'web' })
  })
})

describe('while the control database is away', () => {
  test('known keys go on beyond their lifetime, others get an answer that may be retried', async () => {
    const { cache, made, clock, link } = await setUp()
    await cache.authenticate(made.secretKey)
    link.cut = true
    clock.now += 10 * LIFETIME_MS
    expect(await cache.authenticate(made.secretKey)).toMatchObject({ workspaceId: 'web' })
    expect(cache.authenticate(made.secretKey)).toMatchObject({ workspaceId: 'web' })
    expect(await cache.authenticate(made.publicKey)).toBe('unavailable')
    link.cut = false
    expect(await cache.authenticate(made.publicKey)).toMatchObject({ kind: 'public' })
  })

  test('a key that was revoked meanwhile is refused soon after the database is back', async () => {
    const { cache, made, clock, link, control } = await setUp()
    await cache.authenticate(made.secretKey)
    link.cut = true
    clock.now += LIFETIME_MS
    await cache.authenticate(made.secretKey)
    good(await control.revokeKey(await idOf(control, made.secretKey)))
    link.cut = false
    clock.now += 1000
    await waitUntil('the key is refused', async () => (await cache.authenticate(made.secretKey)) === 'revoked')
  })

  test('requests with known keys do not wait for it', async () => {
    const { cache, made, clock, link } = await setUp()
    await cache.authenticate(made.secretKey)
    link.cut = true
    clock.now += LIFETIME_MS
    await cache.authenticate(made.secretKey)
    clock.now += LIFETIME_MS
    const before = link.lookups
    for (let request = 0; request < 10; request += 1) {
      expect(cache.authenticate(made.secretKey)).toMatchObject({ workspaceId: 'web' }) // no promise
    }
    expect(link.lookups).toBe(before + 1)
  })

  test('a known key still ends at its own expiry', async () => {
    const { cache, clock, link, control } = await setUp()
    const expiresAt = new Date(clock.now + 60_000)
    const { key } = good(await control.createKey({ tenant: 'acme', workspace: 'web', kind: 'secret', expiresAt }))
    await cache.authenticate(key)
    link.cut = true
    clock.now += 60_000
    expect(await cache.authenticate(key)).toBe('expired')
  })

  test('a lookup that hangs counts as failed', async () => {
    const source: KeySource = { findKeyByHash: () => new Promise(() => {}), touchKeys: async () => {} }
    const { cache } = await setUp({ source, lookupTimeoutMs: 5 })
    expect(await cache.authenticate(generateKey('secret'))).toBe('unavailable')
  })
})

describe('the own fields of a key', () => {
  test('come with it', async () => {
    const { cache, control, made } = await setUp()
    const own = {
      batchEventsMax: '7',
      bodyBytesMax: '2KiB',
      origins: 'https://a.example',
      signing: 'required',
      tier: '50',
    }
    const { key } = good(await control.createKey({ tenant: 'acme', workspace: 'web', kind: 'secret', ...own }))
    good(await control.updateWorkspace({ tenant: 'acme', workspace: 'web', eventTypes: 'one,two' }))
    const authenticated = (await cache.authenticate(key)) as Authenticated
    expect(authenticated).toMatchObject({
      eventsPerMinute: 50,
      batchEventsMax: 7,
      bodyBytesMax: 2048,
      allowedOrigins: ['https://a.example'],
      signing: 'required',
      signingSecret: made.signingSecret,
      eventTypes: ['one', 'two'],
    })
    expect(Object.isFrozen(authenticated.allowedOrigins) && Object.isFrozen(authenticated.eventTypes)).toBe(true)
  })

  test('a key without rate limit has an infinite one', async () => {
    const { cache, control } = await setUp()
    const request = { tenant: 'acme', workspace: 'web', kind: 'secret', tier: 'unlimited' } as const
    const { key } = good(await control.createKey(request))
    expect(await cache.authenticate(key)).toMatchObject({ eventsPerMinute: Number.POSITIVE_INFINITY })
  })
})

describe('without the key of the signing secrets', () => {
  /** A cache on the same database, as a collector that has another secrets key has it. */
  async function setUpWithout() {
    const dataDir = temporaryDataDir()
    const owner = await openTestControl({ dataDir, signingSecretsKey: 'a1'.repeat(32) })
    await provisionAcme(owner)
    const create = async (signing: string) =>
      good(await owner.createKey({ tenant: 'acme', workspace: 'web', kind: 'secret', signing }))
    const [signed, unsigned] = [await create('optional'), await create('off')]
    const lines: string[] = []
    const logger = createLogger({ level: 'info', destination: { write: (line: string) => lines.push(line) } })
    const source = await openTestControl({ dataDir, signingSecretsKey: 'b2'.repeat(32) })
    return { ...(await setUp({ source, logger })), lines, owner, source, signed, unsigned }
  }

  test('keys that sign are unavailable, with one line in the log, and others work', async () => {
    const { cache, clock, signed, unsigned, lines } = await setUpWithout()
    expect(await cache.authenticate(signed.key)).toBe('unavailable')
    expect(await cache.authenticate(unsigned.key)).toMatchObject({ signing: 'off' })
    clock.now += 1000
    expect(await cache.authenticate(signed.key)).toBe('unavailable')
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({
        level: 'error',
        problem: 'wrong_secrets_key',
        keyId: signed.record.id,
        msg: expect.stringContaining('SIGNING_SECRETS_KEY'),
      }),
    ])
  })

  test('a known key is unavailable from the moment that its secret is replaced under another key, and good again with that', async () => {
    const { owner, source: other, signed } = await setUpWithout()
    const link = { source: owner }
    const source: KeySource = {
      findKeyByHash: (hash) => link.source.findKeyByHash(hash),
      touchKeys: async () => {},
    }
    const { cache, clock } = await setUp({ source })
    expect(await cache.authenticate(signed.key)).toMatchObject({ keyId: signed.record.id })
    const replaced = good(await other.secrets.rotateAll())
    for (let round = 0; round < 3; round++) {
      clock.now += LIFETIME_MS
      expect(await cache.authenticate(signed.key)).toBe('unavailable')
    }
    link.source = other
    clock.now += 1000
    expect(await cache.authenticate(signed.key)).toMatchObject({ signingSecret: replaced[0]?.signingSecret })
  })

  test('a key is not looked up for each request', async () => {
    const { cache, signed } = await setUpWithout()
    await cache.authenticate(signed.key)
    expect(cache.authenticate(signed.key)).toBe('unavailable') // no promise
  })

  test('a revoked key is refused as such', async () => {
    const { cache, owner, signed } = await setUpWithout()
    good(await owner.revokeKey(signed.record.id))
    expect(await cache.authenticate(signed.key)).toBe('revoked')
  })
})

describe('news of a changed key', () => {
  test('end the use of a revoked one at once', async () => {
    const { cache, made, link, control } = await setUp()
    await cache.authenticate(made.secretKey)
    await cache.authenticate(made.publicKey)
    const id = await idOf(control, made.secretKey)
    good(await control.revokeKey(id))
    expect(cache.authenticate(made.secretKey)).toMatchObject({ keyId: id })
    cache.forget(id)
    expect(await cache.authenticate(made.secretKey)).toBe('revoked')
    expect(cache.authenticate(made.publicKey)).toMatchObject({ kind: 'public' }) // no promise
    expect(link.lookups).toBe(3)
  })

  test('are believed more than an answer that was asked for before', async () => {
    const { control, made } = await setUp()
    const held: (() => void)[] = []
    const source: KeySource = {
      async findKeyByHash(hash) {
        const record = await control.findKeyByHash(hash)
        await new Promise<void>((resolve) => held.push(resolve))
        return record
      },
      touchKeys: async () => {},
    }
    const { cache } = await setUp({ source })
    const id = await idOf(control, made.secretKey)
    const early = cache.authenticate(made.secretKey)
    await waitUntil('the first lookup has its answer', () => held.length === 1)
    good(await control.revokeKey(id))
    cache.forget(id)
    const late = cache.authenticate(made.secretKey)
    await waitUntil('the second lookup has its answer', () => held.length === 2)
    for (const resolve of held) resolve()
    expect(await early).toMatchObject({ keyId: id })
    expect(await late).toBe('revoked')
    expect(cache.authenticate(made.secretKey)).toBe('revoked')
  })

  test('that may have been missed make every key be looked up again', async () => {
    const { cache, made, link, control } = await setUp()
    await cache.authenticate(made.secretKey)
    await cache.authenticate(made.publicKey)
    good(await control.revokeKey(await idOf(control, made.secretKey)))
    cache.forgetAll()
    expect(await cache.authenticate(made.secretKey)).toBe('revoked')
    expect(await cache.authenticate(made.publicKey)).toMatchObject({ kind: 'public' })
    expect(link.lookups).toBe(4)
  })

  test('that may have been missed do not stop known keys while the database is away', async () => {
    const { cache, made, link } = await setUp()
    await cache.authenticate(made.secretKey)
    link.cut = true
    cache.forgetAll()
    expect(await cache.authenticate(made.secretKey)).toMatchObject({ workspaceId: 'web' })
  })
})

describe('the last use', () => {
  test('is written in the background, and once for many requests', async () => {
    const { cache, made, link, control, clock } = await setUp()
    cache.start()
    for (let request = 0; request < 100; request += 1) await cache.authenticate(made.secretKey)
    expect(link.touches).toBe(0)
    await cache.stop()
    expect(link.touches).toBe(1)
    const lastUses = (await control.listKeys()).map((key) => key.lastUsedAt)
    expect(lastUses.sort()).toEqual([new Date(clock.now).toISOString(), null])
  })

  test('that could not be written is written at the next turn', async () => {
    const { cache, made, link, control } = await setUp({ touchIntervalMs: 2 })
    await cache.authenticate(made.secretKey)
    link.cut = true
    cache.start()
    while (link.touches < 2) await Bun.sleep(1)
    link.cut = false
    await cache.stop()
    expect((await control.listKeys()).filter((key) => key.lastUsedAt !== null)).toHaveLength(1)
  })
})

test('what the cache hands out cannot be changed', async () => {
  const { cache, made } = await setUp()
  const authenticated = (await cache.authenticate(made.secretKey)) as Authenticated
  expect(Object.isFrozen(authenticated)).toBe(true)
  expect(Object.isFrozen(authenticated.scopes)).toBe(true)
})
