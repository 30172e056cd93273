/** What only Postgres can do: be shared, be away, hang, come back. */
import { afterAll, afterEach, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { KeyCache } from '../../src/auth/key-cache.ts'
import { firstWorkspace } from '../../src/control/first-workspace.ts'
import { hashKey } from '../../src/control/keys.ts'
import { openControl } from '../../src/control/open-control.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { waitUntil } from '../support/collector.ts'
import { run, startPostgres } from '../support/postgres.ts'
import { codeOf, good, openTestControl, provisionAcme, temporaryDataDir } from './control-fixture.ts'

const WEB = { tenant: 'acme', workspace: 'web' } as const
const logger = createLogger({ level: 'silent' })

const postgres = await startPostgres()
afterAll(() => postgres.stop())
afterEach(() => postgres.thaw())

async function newPlace() {
  return { dataDir: temporaryDataDir(), controlDatabaseUrl: await postgres.newDatabase(), statementTimeoutMs: 500 }
}

test('keys and signing secrets are not in the tables as they were given out', async () => {
  const place = await newPlace()
  const made = await provisionAcme(await openTestControl(place))
  const rows = await Promise.all(['keys', 'workspaces'].map((table) => run(place.controlDatabaseUrl, `table ${table}`)))
  const stored = JSON.stringify(rows)
  for (const secret of [made.publicKey, made.secretKey, made.signingSecret]) expect(stored).not.toContain(secret)
  expect(stored).toContain(hashKey(made.publicKey))
})

test('many lookups at once share a few connections', async () => {
  const place = await newPlace()
  const control = await openTestControl(place)
  const { publicKey } = await provisionAcme(control)
  const found = await Promise.all(Array.from({ length: 300 }, () => control.findKeyByHash(hashKey(publicKey))))
  expect(found.every((key) => key?.workspaceId === 'web')).toBe(true)
  const count = `select count(*)::int as open from pg_stat_activity where application_name = 'penstock' and datname = current_database()`
  const [row] = await run<{ open: number }>(place.controlDatabaseUrl, count)
  expect(row?.open).toBeLessThanOrEqual(4)
})

test('a Postgres that is not there is a problem that names the place, not the password', async () => {
  const result = await openControl({
    dataDir: temporaryDataDir(),
    controlDatabaseUrl: 'postgres://me:hunter2@127.0.0.1:1/penstock',
  })
  expect(result).toMatchObject({
    problem: 'control_unavailable',
    message: expect.stringMatching(/^cannot use the control database 127\.0\.0\.1:1\/penstock: \S+/),
  })
  expect(JSON.stringify(result)).not.toContain('hunter2')
})

test('an address that cannot be read is a problem that does not show it', async () => {
  const result = await openControl({
    dataDir: temporaryDataDir(),
    controlDatabaseUrl: 'postgres://me:hun#ter2@db/penstock',
  })
  expect(result).toMatchObject({
    problem: 'control_unavailable',
    message: expect.stringContaining('CONTROL_DATABASE_URL'),
  })
  expect(JSON.stringify(result)).not.toContain('hun')
})

test('a crash of Postgres fails what is under way, known keys go on, and everything recovers by itself', async () => {
  const control = await openTestControl(await newPlace())
  const { publicKey, secretKey } = await provisionAcme(control)
  const cache = new KeyCache({ source: control, logger, lifetimeMs: 0 })
  await cache.authenticate(publicKey)
  await postgres.crash()
  await expect(control.provision({ tenant: 'acme', workspace: 'shop' })).rejects.toThrow()
  await expect(control.listKeys()).rejects.toThrow()
  expect(await cache.authenticate(publicKey)).toMatchObject({ workspaceId: 'web' })
  expect(await cache.authenticate(secretKey)).toBe('unavailable')
  await postgres.restart()
  expect(await control.listWorkspaces()).toHaveLength(1)
  expect(await cache.authenticate(secretKey)).toMatchObject({ workspaceId: 'web' })
  good(await control.provision({ tenant: 'acme', workspace: 'shop' }))
})

test('a Postgres that hangs fails what is asked of it in time, known keys do not wait, and everything recovers by itself', async () => {
  const control = await openTestControl(await newPlace())
  const { publicKey } = await provisionAcme(control)
  const cache = new KeyCache({ source: control, logger, lifetimeMs: 0, lookupTimeoutMs: 100 })
  await cache.authenticate(publicKey)
  postgres.freeze()
  const hanging = Promise.allSettled([control.listKeys(), control.rotateKey('key_none', 0), control.listWorkspaces()])
  expect(await cache.authenticate(publicKey)).toMatchObject({ workspaceId: 'web' }) // found out that it hangs
  expect(cache.authenticate(publicKey)).toMatchObject({ workspaceId: 'web' }) // no promise
  expect((await hanging).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
  postgres.thaw()
  await waitUntil('it answers', async () => (await control.listWorkspaces()).length === 1)
  // No connection is left behind the queries that hung.
  expect(await Promise.all(Array.from({ length: 10 }, () => control.listKeys()))).toHaveLength(10)
})

test('a table that another program has locked does not hold anybody up for long', async () => {
  const place = await newPlace()
  const control = await openTestControl(place)
  const { publicKey } = await provisionAcme(control)
  const locked = run(place.controlDatabaseUrl, 'begin; lock table keys; select pg_sleep(1.2); commit')
  await waitUntil('the table is locked', async () => {
    const locks = `select 1 from pg_locks where mode = 'AccessExclusiveLock' and relation = 'keys'::regclass and granted`
    return (await run(place.controlDatabaseUrl, locks)).length === 1
  })
  await expect(control.findKeyByHash(hashKey(publicKey))).rejects.toThrow('statement timeout')
  await locked
  expect(await control.findKeyByHash(hashKey(publicKey))).toBeDefined()
})

test('a process that stands still inside a transaction does not hold up the others for long', async () => {
  const place = await newPlace()
  const control = await openTestControl(place)
  await provisionAcme(control)
  const module = join(import.meta.dir, '../../src/control/open-control.ts')
  const script = `
    import { openControl } from ${JSON.stringify(module)}
    const control = await openControl(${JSON.stringify(place)})
    const uses = new Map(Array.from({ length: 100_000 }, (_, at) => ['key_' + at, at]))
    console.log('ready')
    while (true) await control.touchKeys(uses)`
  const child = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'ignore' })
  const inTransaction = `select 1 from pg_stat_activity where datname = current_database() and xact_start < now() - interval '10 ms'`
  await waitUntil('it is in a transaction', async () => (await run(place.controlDatabaseUrl, inTransaction)).length > 0)
  child.kill('SIGSTOP')
  const made = control.provision({ tenant: 'acme', workspace: 'shop' })
  const again = made.catch(() => control.provision({ tenant: 'acme', workspace: 'shop' }))
  expect(good(await again)).toMatchObject({ workspaceId: 'shop' })
  child.kill('SIGKILL')
  await child.exited
})

test('rotations of one key by many processes at once give one successor', async () => {
  const place = await newPlace()
  const controls = await Promise.all(Array.from({ length: 5 }, () => openTestControl(place)))
  const [control] = controls
  if (control === undefined) throw new Error('none was opened')
  await provisionAcme(control)
  const id = (await control.listKeys())[0]?.id ?? ''
  const answers = await Promise.all(controls.map((each) => each.rotateKey(id, 60_000)))
  expect(answers.filter((answer) => 'key' in answer)).toHaveLength(1)
  expect(await control.listKeys()).toHaveLength(3)
})

test('a second collector without the key of the signing secrets says so, and makes no new one', async () => {
  const place = await newPlace()
  await provisionAcme(await openTestControl(place))
  const elsewhere = temporaryDataDir()
  const second = await openTestControl({ ...place, dataDir: elsewhere })
  expect(await second.secrets.problem()).toMatchObject({
    problem: 'secrets_key_missing',
    message: expect.stringContaining('SIGNING_SECRETS_KEY'),
  })
  expect(codeOf(await second.provision({ tenant: 'acme', workspace: 'shop' }))).toBe('secrets_key_missing')
  expect(existsSync(join(elsewhere, 'secret.key'))).toBe(false)
})

test('a collector with another key of the signing secrets says so, and makes no workspace with it', async () => {
  const place = await newPlace()
  const first = await openTestControl({ ...place, signingSecretsKey: 'a1'.repeat(32) })
  await provisionAcme(first)
  expect(await first.secrets.problem()).toBeUndefined()
  const second = await openTestControl({ ...place, signingSecretsKey: 'b2'.repeat(32) })
  expect(await second.secrets.problem()).toMatchObject({ problem: 'wrong_secrets_key' })
  expect(codeOf(await second.provision({ tenant: 'acme', workspace: 'shop' }))).toBe('wrong_secrets_key')
  const { key } = good(await first.createKey({ ...WEB, kind: 'secret', signing: 'required' }))
  expect(codeOf((await second.findKeyByHash(hashKey(key)))?.signingSecret)).toBe('wrong_secrets_key')
})

test('collectors that start at once with no key of their own end up with one key between them', async () => {
  const place = await newPlace()
  const answers = await Promise.all(
    Array.from({ length: 4 }, async (_, number) => {
      const control = await openTestControl({ ...place, dataDir: temporaryDataDir() })
      return control.provision({ tenant: 'acme', workspace: `web-${number}` })
    }),
  )
  const codes = answers.map((answer) => ('problem' in answer ? answer.problem : 'made'))
  expect(codes.sort()).toEqual(['made', 'secrets_key_missing', 'secrets_key_missing', 'secrets_key_missing'])
})

test('when several collectors start at once, one makes the first workspace and the others go on without its keys', async () => {
  const place = { ...(await newPlace()), signingSecretsKey: 'a1'.repeat(32) }
  const starts = Array.from({ length: 4 }, async () => {
    const dataDir = temporaryDataDir()
    return good(await firstWorkspace(await openTestControl({ ...place, dataDir }), dataDir))
  })
  expect((await Promise.all(starts)).filter((first) => first !== undefined)).toHaveLength(1)
})
