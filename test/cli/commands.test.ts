import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { KeyCache } from '../../src/auth/key-cache.ts'
import { hashKey } from '../../src/control/keys.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { openTestControl, temporaryDataDir } from '../control/control-fixture.ts'
import { type CliResult, runCli } from './run-cli.ts'

/** A command line whose data directory is new. */
function newCli() {
  const dataDir = temporaryDataDir()
  return { dataDir, cli: (...args: string[]) => runCli(args, { DATA_DIR: dataDir }) }
}

function expectOneLineError(result: CliResult, part: string): void {
  expect(result.stderr).toContain(part)
  expect(result.stderr.trim().split('\n')).toHaveLength(1)
  expect(result.stdout).toBe('')
  expect(result.exitCode).toBe(1)
}

const ACME = ['--tenant', 'acme', '--workspace', 'web']

describe('provision', () => {
  test('prints JSON with working keys, and nothing else', async () => {
    const { cli, dataDir } = newCli()
    const result = await cli('provision', ...ACME, '--tier', 'pro', '--json')
    expect(result).toMatchObject({ exitCode: 0, stderr: '' })
    const made = JSON.parse(result.stdout)
    expect(Object.keys(made)).toEqual(['tenant_id', 'workspace_id', 'public_key', 'secret_key', 'signing_secret'])
    expect(made).toMatchObject({ tenant_id: 'acme', workspace_id: 'web' })
    const control = await openTestControl({ dataDir })
    for (const key of [made.public_key, made.secret_key]) {
      expect(await control.findKeyByHash(hashKey(key))).toMatchObject({ tenantId: 'acme', tier: 'pro' })
    }
  })

  test('says when the control database is new, which may be another one than the server has', async () => {
    const { cli, dataDir } = newCli()
    const place = join(dataDir, 'control.sqlite')
    expect((await cli('provision', ...ACME)).stdout).toContain(`a new control database, ${place}: `)
    const second = await cli('provision', '--tenant', 'acme', '--workspace', 'shop')
    expect(second.stdout).not.toContain(place)
  })

  test('refuses a taken name', async () => {
    const { cli } = newCli()
    await cli('provision', ...ACME)
    expectOneLineError(await cli('provision', ...ACME, '--json'), 'already has a workspace web')
  })

  test.each([
    [['provision', '--tenant', 'acme'], '--workspace'],
    [['provision', '--tenant', 'a b', '--workspace', 'web'], 'tenant is "a b"'],
    [['provision', ...ACME, '--tier', 'gold'], 'tier is "gold"'],
    [['provision', ...ACME, '--tiers', 'pro'], '--tiers'],
    [['provision', ...ACME, 'extra'], 'too many arguments'],
    [['keys', 'create', ...ACME, '--kind', 'private'], 'public or secret'],
    [['keys', 'create', ...ACME, '--expires-in', 'soon'], '90d'],
    [['keys', 'create', ...ACME], 'no workspace web'],
    [['keys', 'create', ...ACME, '--expires-in', '0s'], 'more than nothing'],
    [['keys', 'create', ...ACME, '--origins', 'shop.example'], 'origin is "shop.example", but wants scheme://host'],
    [['keys', 'create', ...ACME, '--signing', 'on'], 'signing is "on", but wants one of off, optional, required'],
    [['keys', 'create', ...ACME, '--batch-events-max', '0'], 'batch-events-max is "0", but wants a whole number'],
    [['keys', 'create', ...ACME, '--body-bytes-max', '1MB'], 'body-bytes-max is "1MB", but wants a size'],
    [['provision', ...ACME, '--event-types', 'a,,b'], 'event type is "", but wants default, any'],
    [['workspaces', 'update', ...ACME], '--event-types'],
    [['workspaces', 'update', ...ACME, '--event-types', 'any'], 'no workspace web'],
    [['workspaces'], 'list, update'],
    [['keys', 'rotate'], 'id'],
    [['keys', 'rotate', 'key_none'], 'key_none'],
    [['keys', 'rotate', 'key_none', '--grace', '1y'], '--grace'],
    [['keys', 'revoke', 'key_none'], 'key_none'],
    [['keys'], 'list, create, rotate, revoke'],
    [['keys', 'drop'], 'unknown command "drop"'],
    [['start'], 'unknown command "start"'],
    [[], 'no command'],
    [['key', 'list'], 'unknown command "key"'],
  ])('%j is an error of one line', async (args, part) => {
    const { cli, dataDir } = newCli()
    await openTestControl({ dataDir })
    expectOneLineError(await cli(...args), part)
  })
})

test('a wrong environment variable is an error of one line that names it', async () => {
  expectOneLineError(await runCli(['keys', 'list'], { PORT: 'http' }), 'PORT is "http"')
})

test('a data directory that cannot be used is an error of one line', async () => {
  expectOneLineError(await runCli(['keys', 'list'], { DATA_DIR: '/dev/null/data' }), '/dev/null/data')
})

test('help lists the commands and every environment variable', async () => {
  const { exitCode, stdout } = await runCli(['--help'], {})
  expect(exitCode).toBe(0)
  for (const part of ['provision', 'keys', 'doctor', 'SEGMENT_BYTES', '64MiB']) expect(stdout).toContain(part)
})

describe('keys', () => {
  test('are created, listed, rotated and revoked beside a running server, which follows', async () => {
    const { cli, dataDir } = newCli()
    const json = async (...args: string[]) => JSON.parse((await cli(...args, '--json')).stdout)
    const control = await openTestControl({ dataDir })
    const logger = createLogger({ level: 'silent' })
    const server = new KeyCache({ source: control, logger, lifetimeMs: 0 })

    const { secret_key } = await json('provision', ...ACME)
    expect(await server.authenticate(secret_key)).toMatchObject({ tenantId: 'acme' })

    const created = await json('keys', 'create', ...ACME, '--scopes', 'read', '--tier', '500', '--expires-in', '1h')
    expect(created).toMatchObject({ kind: 'secret', scopes: ['read'], tier: '500', state: 'active' })
    expect(await server.authenticate(created.key)).toMatchObject({ scopes: ['read'], tier: '500' })

    const rotated = await json('keys', 'rotate', created.id, '--grace', '0s')
    expect(await server.authenticate(created.key)).toBe('expired')
    expect(await server.authenticate(rotated.key)).toMatchObject({ scopes: ['read'], tier: '500' })

    const revoked = await json('keys', 'revoke', rotated.id)
    expect(revoked).toMatchObject({ id: rotated.id, state: 'revoked' })
    expect(await server.authenticate(rotated.key)).toBe('revoked')

    const listed = await json('keys', 'list', '--tenant', 'acme')
    expect(listed).toHaveLength(4)
    expect(listed.map((key: { state: string }) => key.state).sort()).toEqual(['active', 'active', 'expired', 'revoked'])
    expect(listed.find((key: { id: string }) => key.id === created.id)).toMatchObject({ replaced_by: rotated.id })
    expect(await json('keys', 'list', '--tenant', 'other')).toEqual([])
  })

  test('are never listed in full', async () => {
    const { cli } = newCli()
    const { public_key, secret_key } = JSON.parse((await cli('provision', ...ACME, '--json')).stdout)
    for (const args of [
      ['keys', 'list'],
      ['keys', 'list', '--json'],
    ]) {
      const { stdout } = await cli(...args)
      expect(stdout).toContain(secret_key.slice(0, 12))
      expect(stdout).not.toContain(secret_key)
      expect(stdout).not.toContain(public_key)
    }
  })
})
