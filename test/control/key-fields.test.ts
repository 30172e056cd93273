/** What a key and its workspace may be given beside scopes and tier, as both kinds of control database keep it. */
import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { Kysely } from 'kysely'
import { Migrator } from 'kysely/migration'
import { eventsPerMinute } from '../../src/control/grants.ts'
import { hashKey } from '../../src/control/keys.ts'
import type { ControlOptions } from '../../src/control/open-control.ts'
import { openPostgres } from '../../src/control/postgres.ts'
import { CONTROL_MIGRATIONS, type ControlTables } from '../../src/control/schema.ts'
import { openSqlite } from '../../src/control/sqlite.ts'
import { codeOf, everyDatabase, good, type NewPlace, openTestControl, provisionAcme } from './control-fixture.ts'

const WEB = { tenant: 'acme', workspace: 'web' } as const

describe.each(await everyDatabase())('in %s', (_name, newPlace: NewPlace) => {
  async function setUp() {
    const control = await openTestControl(await newPlace())
    const made = await provisionAcme(control)
    const create = (request: object) => control.createKey({ ...WEB, kind: 'secret', ...request })
    return { control, made, create }
  }

  test('a key has no limits, origins or signing of its own when nothing is said', async () => {
    const { control, made } = await setUp()
    expect(await control.findKeyByHash(hashKey(made.publicKey))).toMatchObject({
      batchEventsMax: undefined,
      bodyBytesMax: undefined,
      allowedOrigins: undefined,
      signing: 'off',
      signingSecret: undefined,
      eventTypes: undefined,
    })
  })

  const FIELDS = {
    batchEventsMax: '250',
    bodyBytesMax: '256KiB',
    origins: 'https://Shop.Example, https://*.example.com:8443',
    signing: 'required',
  }
  const READ = {
    batchEventsMax: 250,
    bodyBytesMax: 256 * 1024,
    allowedOrigins: ['https://shop.example', 'https://*.example.com:8443'],
    signing: 'required',
  }

  test('a key keeps what it was given', async () => {
    const { control, create } = await setUp()
    const { key, record } = good(await create(FIELDS))
    expect(record).toMatchObject(READ)
    expect(await control.findKeyByHash(hashKey(key))).toMatchObject(READ)
    expect((await control.listKeys()).find(({ id }) => id === record.id)).toEqual(record)
  })

  test('the successor of a rotated key has everything that the old one had', async () => {
    const { control, create } = await setUp()
    const old = good(await create({ ...FIELDS, scopes: 'ingest,admin', tier: '77' }))
    const next = good(await control.rotateKey(old.record.id, 1000))
    const { id, prefix, createdAt } = next.record
    expect(next.record).toEqual({ ...old.record, id, prefix, createdAt })
    expect(await control.findKeyByHash(hashKey(next.key))).toMatchObject(READ)
  })

  test('a key that signs comes with its workspace’s secret, another key does not', async () => {
    const { control, made, create } = await setUp()
    for (const [signing, secret] of [
      ['required', made.signingSecret],
      ['optional', made.signingSecret],
      ['off', undefined],
    ]) {
      const { key } = good(await create({ signing }))
      expect((await control.findKeyByHash(hashKey(key)))?.signingSecret as string | undefined).toBe(secret)
    }
  })

  test.each([
    [{ batchEventsMax: '0' }, 'invalid_limit'],
    [{ batchEventsMax: '100001' }, 'invalid_limit'],
    [{ batchEventsMax: 'many' }, 'invalid_limit'],
    [{ bodyBytesMax: '1' }, 'invalid_limit'],
    [{ bodyBytesMax: '2GiB' }, 'invalid_limit'],
    [{ bodyBytesMax: '1MB' }, 'invalid_limit'],
    [{ origins: '*' }, 'invalid_origin'],
    [{ signing: 'on' }, 'invalid_signing'],
  ])('%j is refused', async (request, code) => {
    const { create, control } = await setUp()
    expect(codeOf(await create(request))).toBe(code)
    expect(await control.listKeys()).toHaveLength(2)
  })

  test('a workspace has the event types it was made with, until they are changed', async () => {
    const control = await openTestControl(await newPlace())
    const made = good(await control.provision({ ...WEB, eventTypes: 'sign_up, Order Completed,sign_up' }))
    const eventTypes = async () => (await control.findKeyByHash(hashKey(made.publicKey)))?.eventTypes
    expect(await eventTypes()).toEqual(['sign_up', 'Order Completed'])
    expect(good(await control.updateWorkspace({ ...WEB, eventTypes: 'any' }))).toMatchObject({ ...WEB, eventTypes: [] })
    expect(await eventTypes()).toEqual([])
    good(await control.updateWorkspace({ ...WEB, eventTypes: 'default' }))
    expect(await eventTypes()).toBeUndefined()
    good(await control.updateWorkspace({ ...WEB, eventTypes: 'any,default' }))
    expect(await eventTypes()).toEqual(['any', 'default'])
    expect(await control.listWorkspaces()).toMatchObject([{ ...WEB, eventTypes: ['any', 'default'] }])
  })

  test.each(['', 'a,,b', 'a\nb', 'x'.repeat(101), Array.from({ length: 1001 }, (_, at) => `t${at}`).join(',')])(
    'the event types %p are refused (%#)',
    async (eventTypes) => {
      const { control } = await setUp()
      expect(codeOf(await control.provision({ ...WEB, workspace: 'shop', eventTypes }))).toBe('invalid_event_types')
      expect(codeOf(await control.updateWorkspace({ ...WEB, eventTypes }))).toBe('invalid_event_types')
      expect(await control.listWorkspaces()).toMatchObject([{ ...WEB, eventTypes: undefined }])
    },
  )

  test('a workspace that is not there cannot be changed', async () => {
    const { control } = await setUp()
    const request = { tenant: 'acme', workspace: 'shop', eventTypes: 'any' }
    expect(codeOf(await control.updateWorkspace(request))).toBe('no_such_workspace')
  })

  test('last uses of thousands of keys are written together', async () => {
    const { control, create } = await setUp()
    const ids = (await control.listKeys()).map(({ id }) => id)
    ids.push(good(await create({})).record.id)
    const unknown = Array.from({ length: 2500 }, (_, at) => `key_${at}`)
    const at = Date.UTC(2031, 0, 1)
    await control.touchKeys(new Map([...ids.slice(0, 1), ...unknown, ...ids.slice(1)].map((id) => [id, at])))
    expect((await control.listKeys()).map(({ lastUsedAt }) => lastUsedAt)).toEqual(
      Array(3).fill('2031-01-01T00:00:00.000Z'),
    )
  })

  test('a database of the version before keeps its keys, which get no limits', async () => {
    const place = await newPlace()
    await makeFirstVersion(place)
    const control = await openTestControl(place)
    expect(await control.listKeys()).toMatchObject([{ id: 'key_1', signing: 'off', allowedOrigins: undefined }])
    expect(await control.listWorkspaces()).toMatchObject([{ ...WEB, eventTypes: undefined }])
    await openTestControl(place) // and once more: nothing is left to do
  })
})

test.each([
  ['free', 100],
  ['pro', 1000],
  ['enterprise', 10_000],
  ['site', 1000],
  ['unlimited', Number.POSITIVE_INFINITY],
  ['2500', 2500],
] as const)('the tier %s is %p events a minute', (tier, events) => {
  expect(eventsPerMinute(tier)).toBe(events)
})

/** The tables as they were before keys had limits, with one key. */
async function makeFirstVersion({ dataDir, controlDatabaseUrl: url }: ControlOptions): Promise<void> {
  const dialect = url === undefined ? openSqlite(join(dataDir, 'control.sqlite'), 1000) : openPostgres(url, 1000)
  const database = new Kysely<ControlTables>({ dialect })
  const migrator = new Migrator({ db: database, provider: { getMigrations: async () => CONTROL_MIGRATIONS } })
  const { error } = await migrator.migrateTo('001_tenants_workspaces_keys')
  expect(error).toBeUndefined()
  const created_at = '2026-01-01T00:00:00.000Z'
  const names = { tenant_id: 'acme', workspace_id: 'web' }
  const rest = { kind: 'public', hash: 'ab', prefix: 'pk_', scopes: 'ingest', tier: 'site' }
  await database.insertInto('tenants').values({ id: 'acme', created_at }).execute()
  const workspace = { tenant_id: 'acme', id: 'web', signing_secret: 'v1.', created_at }
  await database
    .insertInto('workspaces')
    .values(workspace as ControlTables['workspaces'])
    .execute()
  const key = { ...names, ...rest, id: 'key_1', created_at }
  await database
    .insertInto('keys')
    .values(key as ControlTables['keys'])
    .execute()
  await database.destroy()
}
