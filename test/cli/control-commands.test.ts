/** `provision`, `keys` and `workspaces` on both kinds of control database. */
import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KeyCache } from '../../src/auth/key-cache.ts'
import { followKeyChanges } from '../../src/auth/key-news.ts'
import { openRedis } from '../../src/redis.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { everyDatabase, type NewPlace, openTestControl } from '../control/control-fixture.ts'
import { waitUntil } from '../support/collector.ts'
import { startTestRedis } from '../support/redis.ts'
import { runCli } from './run-cli.ts'

const ACME = ['--tenant', 'acme', '--workspace', 'web']
const logger = createLogger({ level: 'silent' })
const redisServer = await startTestRedis()
afterAll(() => redisServer.dispose())

describe.each(await everyDatabase())('in %s', (_name, newPlace: NewPlace) => {
  /** A command line on a new control database, and a collector that uses the same. */
  async function setUp(environment: Record<string, string> = {}, lifetimeMs = 0) {
    const place = await newPlace()
    const url = place.controlDatabaseUrl
    const env = { DATA_DIR: place.dataDir, ...(url && { CONTROL_DATABASE_URL: url }), ...environment }
    const cli = (...args: string[]) => runCli(args, env)
    const json = async (...args: string[]) => {
      const { exitCode, stdout, stderr } = await cli(...args, '--json')
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
      return JSON.parse(stdout)
    }
    const made = await json('provision', ...ACME)
    const cache = new KeyCache({ source: await openTestControl(place), logger, lifetimeMs })
    return { cli, json, made, cache }
  }

  test('keys are given limits, origins and signing, which a rotation keeps', async () => {
    const { cli, json, made, cache } = await setUp()
    const own = ['--batch-events-max', '20', '--body-bytes-max', '64KiB', '--origins', 'https://*.Shop.example']
    const expected = {
      batch_events_max: 20,
      body_bytes_max: 65_536,
      allowed_origins: ['https://*.shop.example'],
      signing: 'optional',
    }
    const created = await json('keys', 'create', ...ACME, ...own, '--signing', 'optional')
    expect(created).toMatchObject(expected)
    const rotated = await json('keys', 'rotate', created.id, '--grace', '0s')
    expect(rotated).toMatchObject(expected)
    expect(await cache.authenticate(created.key)).toBe('expired')
    expect(await cache.authenticate(rotated.key)).toMatchObject({
      batchEventsMax: 20,
      bodyBytesMax: 65_536,
      allowedOrigins: ['https://*.shop.example'],
      signing: 'optional',
      signingSecret: made.signing_secret,
    })
    const listed = await json('keys', 'list')
    expect(listed).toHaveLength(4)
    expect(listed.find((key: { id: string }) => key.id === rotated.id)).toMatchObject(expected)
    const table = (await cli('keys', 'list')).stdout
    for (const part of ['optional', '20 events, 64KiB', 'https://*.shop.example']) expect(table).toContain(part)
  })

  test('a new workspace is told with what its keys may send', async () => {
    const { cli } = await setUp()
    const told = async (...more: string[]) =>
      (await cli('provision', '--tenant', 'acme', '--workspace', `w${more.length}`, ...more)).stdout
    expect(await told()).toContain('only send events, 1,000 a minute (--tier)')
    expect(await told('--tier', 'unlimited')).toContain('send events, without limit, and read them')
  })

  test('a signing secret is replaced, and one cannot sign with the old one any more', async () => {
    const { cli, json, made, cache } = await setUp()
    const { key } = await json('keys', 'create', ...ACME, '--signing', 'required')
    expect(await cache.authenticate(key)).toMatchObject({ signingSecret: made.signing_secret })
    const [replaced] = await json('workspaces', 'rotate-signing-secret', ...ACME)
    expect(replaced).toMatchObject({ tenant_id: 'acme', workspace_id: 'web' })
    expect(await cache.authenticate(key)).toMatchObject({ signingSecret: replaced.signing_secret })
    const { stdout } = await cli('workspaces', 'rotate-signing-secret', '--all')
    expect(stdout).toMatch(/acme\/web +ss_\w+\n/)
    expect(stdout).not.toContain(replaced.signing_secret)
    for (const wrong of [[], ['--tenant', 'acme'], [...ACME, '--all']]) {
      const { exitCode, stderr } = await cli('workspaces', 'rotate-signing-secret', ...wrong)
      expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining('--all') })
    }
  })

  test('workspaces are listed, and their event types changed', async () => {
    const { cli, json, made, cache } = await setUp()
    await json('provision', '--tenant', 'acme', '--workspace', 'shop', '--event-types', 'sold, returned')
    await json('provision', '--tenant', 'other', '--workspace', 'web', '--event-types', 'any')
    const types = async () =>
      (await json('workspaces', 'list')).map((workspace: { event_types: unknown }) => workspace.event_types)
    expect(await types()).toEqual([null, ['sold', 'returned'], []])
    const updated = await json('workspaces', 'update', ...ACME, '--event-types', 'visit')
    expect(updated).toMatchObject({ tenant_id: 'acme', workspace_id: 'web', event_types: ['visit'] })
    expect(await cache.authenticate(made.public_key)).toMatchObject({ eventTypes: ['visit'] })
    await json('workspaces', 'update', '--tenant', 'acme', '--workspace', 'shop', '--event-types', 'default')
    expect(await types()).toEqual([['visit'], null, []])
    const { stdout } = await cli('workspaces', 'list', '--tenant', 'acme')
    expect(stdout).toContain('acme/shop')
    expect(stdout).not.toContain('other/web')
  })

  test('a taken name is refused', async () => {
    const { cli } = await setUp()
    const { exitCode, stdout, stderr } = await cli('provision', ...ACME, '--json')
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' })
    expect(stderr).toContain('tenant acme already has a workspace web')
  })

  test('with Redis, running servers follow at once', async () => {
    const { json, cli, made, cache } = await setUp({ REDIS_URL: redisServer.url }, 3_600_000)
    const redis = openRedis(redisServer.url, logger)
    let isHearing = false
    followKeyChanges(redis, {
      forget: (keyId) => cache.forget(keyId),
      forgetAll: () => {
        isHearing = true
        cache.forgetAll()
      },
    })
    await waitUntil('the server hears', () => isHearing)
    const [publicKey, secretKey] = [made.public_key, made.secret_key]
    const first = await cache.authenticate(secretKey)
    await cache.authenticate(publicKey)
    const id = typeof first === 'object' ? first.keyId : ''

    await json('workspaces', 'update', ...ACME, '--event-types', 'any')
    await waitUntil('the new types are known', async () => {
      const found = await cache.authenticate(publicKey)
      return typeof found === 'object' && found.eventTypes?.length === 0
    })
    await json('keys', 'rotate', id, '--grace', '0s')
    await waitUntil('the rotated key is refused', async () => (await cache.authenticate(secretKey)) === 'expired')
    const other = await json('keys', 'create', ...ACME)
    await cache.authenticate(other.key)
    const { stdout, stderr } = await cli('keys', 'revoke', other.id)
    expect({ stdout, stderr }).toEqual({ stdout: expect.stringContaining('at once'), stderr: '' })
    await waitUntil('the key is refused', async () => (await cache.authenticate(other.key)) === 'revoked')
    await redis.close()
  })

  test('a Redis that is away is told, and the key is revoked all the same', async () => {
    const { cli, json } = await setUp({ REDIS_URL: 'redis://127.0.0.1:1' })
    const [key] = await json('keys', 'list')
    const { exitCode, stdout, stderr } = await cli('keys', 'revoke', key.id, '--json')
    expect(exitCode).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ id: key.id, state: 'revoked' })
    expect(stderr).toContain('within 30 s')
  })
})

test('where there is no control database none is made, but by provision', async () => {
  const dataDir = join(mkdtempSync(join(tmpdir(), 'penstock-test-')), 'data')
  for (const words of [
    ['keys', 'list'],
    ['workspaces', 'list'],
    ['keys', 'create', ...ACME],
    ['keys', 'revoke', 'a'],
  ]) {
    const { exitCode, stderr } = await runCli(words, { DATA_DIR: dataDir })
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining('set DATA_DIR') })
  }
  expect(existsSync(dataDir)).toBe(false)
})

test.each(['/proc/none', '/etc/passwd'])('DATA_DIR=%s is named as what is wrong', async (dataDir) => {
  const { exitCode, stderr } = await runCli(['provision', ...ACME], { DATA_DIR: dataDir })
  expect(exitCode).toBe(1)
  expect(stderr).toStartWith(`error: DATA_DIR is "${dataDir}", but wants a directory that this user can write: `)
})

test('a Postgres that cannot be reached is an error of one line without the password', async () => {
  const env = { CONTROL_DATABASE_URL: 'postgres://penstock:hunter2@127.0.0.1:1/penstock' }
  const { exitCode, stdout, stderr } = await runCli(['keys', 'list'], env)
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' })
  expect(stderr).toMatch(/^error: cannot use the control database 127\.0\.0\.1:1\/penstock: .+\n$/)
  expect(stderr).not.toContain('hunter2')
})
