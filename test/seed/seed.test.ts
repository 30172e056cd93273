/** The command itself, on a real collector. */
import { afterAll, describe, expect, test } from 'bun:test'
import { type CliResult, runCli, runJson } from '../cli/run-cli.ts'
import { temporaryDataDir } from '../control/control-fixture.ts'
import { startCollector, waitUntil } from '../support/collector.ts'

let collector = await startCollector()
const { env } = collector.home
afterAll(async () => {
  await collector.stop()
  collector.home.remove()
})

const SHOP = "tenant_id = 'demo' AND workspace_id = 'shop'"
const seed = (...args: string[]) => runCli(['seed', ...args], env)
const number = async (sql: string) => Number(await collector.query(sql))

function expectOneLineError(result: CliResult, ...parts: string[]): void {
  expect(result.stderr.trim().split('\n')).toHaveLength(1)
  for (const part of parts) expect(result.stderr).toContain(part)
  expect(result.exitCode).toBe(1)
}

const first = await seed('--events', '5000', '--days', '3')

describe('seed', () => {
  test('makes workspace demo/shop, shows its keys, and fills it with exactly the events', async () => {
    expect(first).toMatchObject({ exitCode: 0, stderr: '' })
    for (const part of ['public key', 'secret key', 'demo/shop: 5,000 events', 'All of them can be queried.'])
      expect(first.stdout).toContain(part)
    expect(await number(`SELECT count() FROM events WHERE ${SHOP}`)).toBe(5_000)
    expect(await number(`SELECT uniqExact(event_id) FROM events WHERE ${SHOP}`)).toBe(5_000)
    expect(await number(`SELECT sum(events) FROM event_counts_per_day WHERE ${SHOP}`)).toBe(5_000)
    expect(await number(`SELECT uniq(day) FROM event_counts_per_day WHERE ${SHOP}`)).toBe(4)
    expect(await number(`SELECT count() FROM events WHERE ${SHOP} AND (browser = '' OR path = '')`)).toBe(0)
    expect(await number(`SELECT count() FROM users WHERE ${SHOP}`)).toBeGreaterThan(0)
  })

  test('prints queries that work as they are', async () => {
    const queries = [...first.stdout.matchAll(/--data-binary "([^"]+)"/g)].map(([, sql]) => sql ?? '')
    expect(queries).toHaveLength(2)
    for (const sql of queries) expect(await collector.query(sql)).toContain('│')
  })

  test('prints keys that work, without a limit', async () => {
    const key = /sk_\w+/.exec(first.stdout)?.[0] ?? ''
    const [user] = await collector.rows<{ user_id: string }>(`SELECT user_id FROM users WHERE ${SHOP} LIMIT 1`)
    const response = await fetch(`${collector.url}/users/${user?.user_id}/journey`, { headers: { 'API-Key': key } })
    expect(await response.json()).toMatchObject({ userId: user?.user_id })
    expect(response.headers.get('x-ratelimit-limit')).toBeNull()
  })

  test('refuses to double what is there, unless it is told to', async () => {
    expectOneLineError(await seed('--events', '5000'), 'demo/shop has 5,000 events already', '--again')
    expect(await number(`SELECT count() FROM events WHERE ${SHOP}`)).toBe(5_000)
    const again = await runJson(env, 'seed', '--events', '1000', '--again')
    expect(again).toMatchObject({ tenant_id: 'demo', workspace_id: 'shop', events: 1_000, queryable: true })
    expect(await number(`SELECT count() FROM events WHERE ${SHOP}`)).toBe(6_000)
    const keys: { state: string }[] = await runJson(env, 'keys', 'list', '--tenant', 'demo')
    expect(keys.map(({ state }) => state)).toEqual(['active', 'active', 'revoked'])
  })

  test('sends into the workspace of a key, as slowly as the key wants it', async () => {
    const names = ['--tenant', 'acme', '--workspace', 'web']
    const made = await runJson(env, 'provision', ...names, '--tier', '6000')
    // The bucket holds 12,000 events, and gets 100 a second.
    const { exitCode, stdout, stderr } = await seed('--key', made.public_key, '--events', '12200')
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: expect.stringContaining('6,000 events a minute') })
    expect(stdout).toContain('acme/web: 12,200 events')
    expect(await number("SELECT count() FROM events WHERE tenant_id = 'acme'")).toBe(12_200)
  })

  test('sends every event once when the collector is killed meanwhile', async () => {
    const { secret_key } = await runJson(
      env,
      'provision',
      '--tenant',
      'acme',
      '--workspace',
      'killed',
      '--tier',
      'unlimited',
    )
    const accepted = async () => (await collector.stats()).events.accepted
    const before = await accepted()
    const running = seed('--key', secret_key, '--events', '60000')
    await waitUntil('some are accepted', async () => (await accepted()) > before + 1_000)
    await collector.kill9()
    collector = await startCollector({ home: collector.home })
    expect(await running).toMatchObject({ exitCode: 0, stderr: '' })
    const where = "tenant_id = 'acme' AND workspace_id = 'killed'"
    expect(await number(`SELECT count() FROM events WHERE ${where}`)).toBe(60_000)
    expect(await number(`SELECT uniqExact(event_id) FROM events WHERE ${where}`)).toBe(60_000)
  })
})

describe('one line says what is wrong', () => {
  test('when no collector answers', async () => {
    expectOneLineError(await seed('--url', 'http://127.0.0.1:1'), 'no collector answers at http://127.0.0.1:1', '--url')
    expectOneLineError(await seed('--url', collector.home.clickhouseUrl), 'is no collector')
  })

  test('when a key is not known', async () => {
    const key = `sk_${'a'.repeat(43)}`
    expectOneLineError(await seed('--key', key), 'cannot tell whether the workspace of the key has events', '--again')
    expectOneLineError(await seed('--key', key, '--again'), 'answers 401')
  })

  test('when the control database is not that of the collector', async () => {
    const elsewhere = { ...env, DATA_DIR: temporaryDataDir() }
    const run = (...args: string[]) => runCli(['seed', '--again', ...args], elsewhere)
    expectOneLineError(await run(), 'no control database in DATA_DIR')
    await runJson(elsewhere, 'provision', '--tenant', 'other', '--workspace', 'web')
    expectOneLineError(await run(), 'answers 401', 'use the DATA_DIR or CONTROL_DATABASE_URL of that collector')
  })

  test.each([
    [['--events', '0'], '--events is "0", but wants a whole number'],
    [['--days', 'week'], '--days is "week"'],
    [['--visitors', '1.5'], '--visitors is "1.5"'],
  ])('when the options are wrong: %j', async (args, part) => {
    expectOneLineError(await seed(...args), part)
  })
})
