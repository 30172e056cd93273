import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { good, openTestControl, temporaryDataDir } from '../control/control-fixture.ts'
import { startTestClickHouse } from '../support/clickhouse.ts'
import { type Collector, startCollector } from '../support/collector.ts'
import { run, startPostgres } from '../support/postgres.ts'
import { startTestRedis } from '../support/redis.ts'
import { runCli } from './run-cli.ts'

interface Check {
  readonly name: string
  readonly status: string
  readonly message: string
  readonly mend?: string
}

const clickhouse = await startTestClickHouse()
afterAll(() => clickhouse.stop())

/** Free ports everywhere, a new data directory, a real ClickHouse: all is well unless the test changes something. */
async function examine(environment: Record<string, string> = {}) {
  const healthy = { DATA_DIR: temporaryDataDir(), PORT: '0', CLICKHOUSE_URL: clickhouse.url, WAL_MAX_BYTES: '1GiB' }
  const { exitCode, stdout, stderr } = await runCli(['doctor', '--json'], { ...healthy, ...environment })
  const report: { ok: boolean; checks: Check[] } = JSON.parse(stdout)
  const wrong = report.checks.filter((check) => check.status !== 'ok')
  return {
    exitCode,
    stderr,
    ok: report.ok,
    wrong,
    checks: report.checks,
    names: report.checks.map((check) => check.name),
  }
}

test('where everything is well it says so and exits with 0', async () => {
  const { exitCode, stderr, ok, wrong, names } = await examine()
  expect({ exitCode, stderr, ok, wrong }).toEqual({ exitCode: 0, stderr: '', ok: true, wrong: [] })
  expect(names).toEqual([
    'configuration',
    'scanner',
    'data directory',
    'control database',
    'ClickHouse',
    'tables',
    'dead letters',
    'port 0',
  ])
})

test('without an address of ClickHouse it looks whether the embedded one can start', async () => {
  const embedded = { CLICKHOUSE_URL: '', EMBEDDED_CLICKHOUSE_HTTP_PORT: '0', EMBEDDED_CLICKHOUSE_TCP_PORT: '0' }
  const { exitCode, wrong, names } = await examine(embedded)
  expect({ exitCode, wrong }).toEqual({ exitCode: 0, wrong: [] })
  expect(names.filter((name) => name === 'port 0')).toHaveLength(3)
})

describe('beside a running server', () => {
  let collector: Collector
  beforeAll(async () => {
    collector = await startCollector()
  })
  afterAll(async () => {
    await collector.stop()
    collector.home.remove()
  })
  const beside = (environment: Record<string, string> = {}) =>
    examine({ ...collector.home.env, CLICKHOUSE_URL: '', ...environment })

  test('its port is no fault, and it and its ClickHouse are asked', async () => {
    const { exitCode, wrong, names } = await beside()
    expect({ exitCode, wrong }).toEqual({ exitCode: 0, wrong: [] })
    expect(names).toContain('server')
    expect(names.filter((name) => name.startsWith('port'))).toHaveLength(1)
  })

  test('another port of ClickHouse than its own points to the variable', async () => {
    const { exitCode, wrong } = await beside({ EMBEDDED_CLICKHOUSE_HTTP_PORT: '1' })
    expect({ exitCode, wrong }).toEqual({ exitCode: 1, wrong: [expect.objectContaining({ name: 'ClickHouse' })] })
    expect(wrong[0]?.mend).toContain('EMBEDDED_CLICKHOUSE_HTTP_PORT')
  })

  test('dead letters are told', async () => {
    const directory = join(collector.home.env.DATA_DIR ?? '', 'dead-letters')
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, 'some.dead-letter'), '')
    const { exitCode, wrong } = await beside()
    expect({ exitCode, wrong }).toEqual({
      exitCode: 0,
      wrong: [expect.objectContaining({ name: 'dead letters', status: 'warning' })],
    })
    rmSync(join(directory, 'some.dead-letter'))
  })

  test('what it lacks is told, while it takes events and when it does not', async () => {
    const lacking = await startCollector({
      env: { CLICKHOUSE_URL: 'http://127.0.0.1:1', WAL_MAX_BYTES: '128KiB', SEGMENT_BYTES: '64KiB' },
      untilFlowing: false,
    })
    const server = async () => (await examine(lacking.home.env)).checks.find(({ name }) => name === 'server')
    expect(await server()).toMatchObject({ status: 'warning', message: expect.stringContaining('clickhouse: ') })
    const event = { type: 'x', timestamp: '2026-11-20T08:00:00Z', session_id: crypto.randomUUID(), properties: {} }
    const filling = { ...event, properties: { text: 'x'.repeat(9000) } }
    const send = async () => (await lacking.postEvents([filling])).status
    while ((await send()) === 201);
    const sending = setInterval(() => void send().catch(() => undefined), 200) // a refusal is forgotten after 2 s
    expect(await server()).toMatchObject({ status: 'failed', message: expect.stringContaining('the log is full') })
    clearInterval(sending)
    await lacking.stop()
    lacking.home.remove()
  })
})

test('a port that is taken is named with the variable that moves it', async () => {
  using other = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => new Response('hello') })
  const { exitCode, wrong } = await examine({ PORT: String(other.port) })
  expect(exitCode).toBe(1)
  expect(wrong).toEqual([expect.objectContaining({ name: `port ${other.port}`, status: 'failed' })])
  expect(wrong[0]?.mend).toContain('PORT')
})

test('a ClickHouse that does not answer is named with its address', async () => {
  const { exitCode, wrong } = await examine({ CLICKHOUSE_URL: 'http://127.0.0.1:1' })
  expect(exitCode).toBe(1)
  expect(wrong).toEqual([expect.objectContaining({ name: 'ClickHouse', status: 'failed' })])
  expect(wrong[0]?.message).toContain('http://127.0.0.1:1')
})

test('a ClickHouse that refuses the user points to the user and the password', async () => {
  const { exitCode, wrong } = await examine({ CLICKHOUSE_USER: 'nobody', CLICKHOUSE_PASSWORD: 'hunter2' })
  expect(exitCode).toBe(1)
  expect(wrong[0]?.mend).toContain('CLICKHOUSE_PASSWORD')
  expect(JSON.stringify(wrong)).not.toContain('hunter2')
})

test('the tables are held against this version: lacking migrations are a warning, edited and newer ones a fault', async () => {
  const CLICKHOUSE_DATABASE = await clickhouse.createDatabase()
  const look = async () => {
    const { exitCode, checks } = await examine({ CLICKHOUSE_DATABASE })
    return { exitCode, ...checks.find(({ name }) => name === 'tables') }
  }
  const change = (sql: string) => clickhouse.query(sql, { database: CLICKHOUSE_DATABASE, mutations_sync: '1' })
  expect(await look()).toMatchObject({ exitCode: 0, status: 'ok', message: expect.stringContaining('none') })
  expect(await clickhouse.query('SHOW TABLES', { database: CLICKHOUSE_DATABASE })).toBe('')

  const { exitCode } = await runCli(['migrate'], { CLICKHOUSE_URL: clickhouse.url, CLICKHOUSE_DATABASE })
  expect(exitCode).toBe(0)
  expect(await look()).toMatchObject({ exitCode: 0, status: 'ok', message: expect.stringMatching(/, \d+ migrations$/) })

  await change('ALTER TABLE schema_migrations DELETE WHERE version > 1')
  const lacking = await look()
  expect(lacking).toMatchObject({ exitCode: 0, status: 'warning', mend: expect.stringContaining('penstock migrate') })
  expect(lacking.message).toContain('2 (event_counts)')

  await change(`ALTER TABLE schema_migrations UPDATE checksum = 'x' WHERE version = 1`)
  const edited = await look()
  expect(edited).toMatchObject({ exitCode: 1, status: 'failed', mend: expect.stringContaining('clickhouse/') })
  expect(edited.message).toContain('migration 1 (events) was changed')

  await change(`INSERT INTO schema_migrations (version, name, checksum) VALUES (99, 'later', 'x')`)
  expect(await look()).toMatchObject({ exitCode: 1, status: 'failed', mend: expect.stringContaining('newer') })
})

test('something else than ClickHouse at the address is found out', async () => {
  using other = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => new Response('hello') })
  const { exitCode, wrong } = await examine({ CLICKHOUSE_URL: `http://127.0.0.1:${other.port}` })
  expect(exitCode).toBe(1)
  expect(wrong[0]?.mend).toContain('CLICKHOUSE_URL')
})

test('a data directory that cannot be made is named', async () => {
  const { exitCode, wrong } = await examine({ DATA_DIR: '/dev/null/data' })
  expect(exitCode).toBe(1)
  expect(wrong).toContainEqual(expect.objectContaining({ name: 'data directory', status: 'failed' }))
})

test('less room than the log may take is a warning', async () => {
  const { exitCode, wrong } = await examine({ WAL_MAX_BYTES: '1024TiB' })
  expect(exitCode).toBe(0)
  expect(wrong).toEqual([expect.objectContaining({ name: 'data directory', status: 'warning' })])
})

test('a lost key of the signing secrets is found', async () => {
  const dataDir = temporaryDataDir()
  const control = await openTestControl({ dataDir })
  good(await control.provision({ tenant: 'acme', workspace: 'web' }))
  rmSync(join(dataDir, 'secret.key'))
  const { exitCode, wrong } = await examine({ DATA_DIR: dataDir })
  expect(exitCode).toBe(1)
  expect(wrong).toEqual([expect.objectContaining({ name: 'control database', status: 'failed' })])
})

test('a Postgres with the control data is looked at, and nothing is made in it', async () => {
  const postgres = await startPostgres()
  try {
    const CONTROL_DATABASE_URL = await postgres.newDatabase()
    const { exitCode, wrong } = await examine({ CONTROL_DATABASE_URL })
    expect({ exitCode, wrong }).toEqual({ exitCode: 0, wrong: [] })
    const tables = `select tablename from pg_tables where schemaname = 'public'`
    expect(await run(CONTROL_DATABASE_URL, tables)).toEqual([])

    const control = await openTestControl({ controlDatabaseUrl: CONTROL_DATABASE_URL })
    good(await control.provision({ tenant: 'acme', workspace: 'web' }))
    const elsewhere = await examine({ CONTROL_DATABASE_URL })
    expect(elsewhere.exitCode).toBe(1)
    expect(elsewhere.wrong).toEqual([expect.objectContaining({ name: 'control database', status: 'failed' })])
    expect(elsewhere.wrong[0]?.mend).toContain('SIGNING_SECRETS_KEY')

    await postgres.crash()
    const away = await examine({ CONTROL_DATABASE_URL })
    expect(away.exitCode).toBe(1)
    expect(away.wrong[0]?.mend).toContain('CONTROL_DATABASE_URL')
  } finally {
    await postgres.stop()
  }
})

test('a wrong variable is reported as any other finding', async () => {
  const { exitCode, wrong } = await examine({ PORT: 'http' })
  expect(exitCode).toBe(1)
  expect(wrong).toEqual([expect.objectContaining({ name: 'configuration', status: 'failed' })])
})

test('looking changes nothing', async () => {
  const dataDir = join(temporaryDataDir(), 'not-yet')
  await examine({ DATA_DIR: dataDir })
  expect(await Bun.file(join(dataDir, 'control.sqlite')).exists()).toBe(false)
})

test('a Redis that forgets what collectors share when it is full is a warning', async () => {
  const redis = await startTestRedis('--maxmemory-policy', 'allkeys-lru')
  const { exitCode, wrong } = await examine({ REDIS_URL: redis.url })
  expect(exitCode).toBe(0)
  expect(wrong).toEqual([expect.objectContaining({ name: 'Redis', status: 'warning' })])
  expect(wrong[0]?.mend).toContain('noeviction')
  await redis.dispose()
})

test('Redis is asked when there is an address of it; its absence is a warning, as a server goes on without it', async () => {
  const redis = await startTestRedis()
  const { exitCode, wrong, names } = await examine({ REDIS_URL: redis.url })
  expect({ exitCode, wrong }).toEqual({ exitCode: 0, wrong: [] })
  expect(names).toContain('Redis')
  await redis.dispose()
  const away = await examine({ REDIS_URL: redis.url })
  expect(away.exitCode).toBe(0)
  expect(away.wrong).toEqual([expect.objectContaining({ name: 'Redis', status: 'warning' })])
  expect(away.wrong[0]?.mend).toContain('REDIS_URL')
})
