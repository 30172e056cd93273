import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadMigrations, MIGRATIONS_DIRECTORY } from '../../src/sink/migration-files.ts'
import type { MigrationOptions } from '../../src/sink/migrations.ts'
import { migrate, migrationStatus } from '../../src/sink/migrations.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'

let server: TestClickHouse
const cleanups: (() => unknown)[] = []

beforeAll(async () => {
  server = await startTestClickHouse()
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})
afterAll(() => server.stop())

async function options(files?: Record<string, string>): Promise<MigrationOptions & { directory?: string }> {
  return {
    clickhouse: { url: server.url, user: 'default', password: '', database: await server.createDatabase() },
    logger: createLogger({ level: 'silent' }),
    claimLifetimeMs: 1_000,
    ...(files === undefined ? {} : { directory: writeFiles(files) }),
  }
}

function writeFiles(files: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-migrations-'))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  for (const [name, sql] of Object.entries(files)) writeFileSync(join(directory, name), sql)
  return directory
}

function query(sql: string, { clickhouse }: MigrationOptions): Promise<string> {
  return server.query(sql, { database: clickhouse.database }).then((body) => body.trim())
}

const COUNTER =
  'CREATE TABLE IF NOT EXISTS runs (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100'
const SLOW_INSERT = 'INSERT INTO runs SELECT sleepEachRow(0.2) + 1 FROM numbers(10) SETTINGS max_block_size = 1'

test('the database is created and everything is applied once; a second run finds nothing to do', async () => {
  const fresh = await options()
  await server.query(`DROP DATABASE ${fresh.clickhouse.database}`)
  const status = await migrationStatus(fresh)
  expect('pending' in status && status.pending.length).toBeGreaterThan(0)

  const first = await migrate(fresh)
  expect(first).toEqual({ applied: 'pending' in status ? status.pending.map(({ version }) => version) : [] })
  expect(await migrate(fresh)).toEqual({ applied: [] })
  const after = await migrationStatus(fresh)
  expect('pending' in after && after.pending).toEqual([])
})

test('every table and column that the migrations make has a comment', async () => {
  const fresh = await options()
  await migrate(fresh)
  const { database } = fresh.clickhouse
  const tables = `SELECT name FROM system.tables WHERE database = '${database}' AND comment = ''`
  expect(await query(tables, fresh)).toBe('')
  const columns = `SELECT table, name FROM system.columns WHERE database = '${database}' AND comment = ''
    AND table NOT IN ('events_per_minute_view', 'events_per_hour_view', 'events_per_day_view', 'user_traits_view')`
  expect(await query(columns, fresh)).toBe('')
})

test('no migration alters a materialized view: ClickHouse would know its batches under other ids, and count them again', () => {
  const migrations = loadMigrations(MIGRATIONS_DIRECTORY)
  if ('problem' in migrations) throw new Error(migrations.message)
  const statements = migrations.flatMap(({ statements }) => statements)
  const views = statements.flatMap((sql) => /^CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+)/.exec(sql)?.[1] ?? [])
  const altered = statements.flatMap((sql) => /^(?:ALTER|DROP|RENAME|REPLACE)\s+\w+\s+(\w+)/.exec(sql)?.[1] ?? [])
  expect(views.length).toBeGreaterThan(0)
  expect(altered.filter((name) => views.includes(name))).toEqual([])
})

test('five runners at once apply every migration exactly once', async () => {
  const files = {
    '0001_runs.sql': `${COUNTER}; INSERT INTO runs VALUES (1)`,
    '0002_more.sql': 'INSERT INTO runs VALUES (2)',
    '0003_most.sql': 'INSERT INTO runs VALUES (3)',
  }
  const shared = await options(files)
  const outcomes = await Promise.all(Array.from({ length: 5 }, () => migrate(shared)))
  const applied = outcomes.flatMap((outcome) => ('applied' in outcome ? outcome.applied : [-1]))
  expect(applied.sort()).toEqual([1, 2, 3])
  expect(await query('SELECT groupArray(n) FROM (SELECT n FROM runs ORDER BY n)', shared)).toBe('[1,2,3]')
  expect(await query('SELECT count(), uniq(version) FROM schema_migrations', shared)).toBe('3\t3')
})

test('five runners at once bring up the real tables', async () => {
  const shared = await options()
  const outcomes = await Promise.all(Array.from({ length: 5 }, () => migrate(shared)))
  expect(outcomes.every((outcome) => 'applied' in outcome)).toBe(true)
  expect(await query('SELECT count() = uniq(version) FROM schema_migrations', shared)).toBe('1')
})

test('after kill -9 in the middle of a file another runner takes over and finishes it, each statement in effect once', async () => {
  const shared = await options({
    '0001_runs.sql': `${COUNTER}; INSERT INTO runs VALUES (7); ${SLOW_INSERT}; CREATE TABLE IF NOT EXISTS last (n UInt8) ENGINE = Memory`,
  })
  const script = `
    const { migrate } = await import(${JSON.stringify(join(import.meta.dir, '../../src/sink/migrations.ts'))})
    const { createLogger } = await import(${JSON.stringify(join(import.meta.dir, '../../src/telemetry/logger.ts'))})
    await migrate({ ...${JSON.stringify({ ...shared, logger: undefined })}, logger: createLogger({ level: 'silent' }) })`
  const runner = spawn(process.execPath, ['-e', script], { stdio: 'inherit' })
  cleanups.push(() => runner.kill('SIGKILL'))
  await until(
    async () =>
      (await query('EXISTS TABLE runs', shared)) === '1' && (await query('SELECT count() FROM runs', shared)) !== '0',
  )
  runner.kill('SIGKILL')
  await once(runner, 'close')
  expect(await query('SELECT count() FROM schema_migrations', shared)).toBe('0')

  expect(await migrate(shared)).toEqual({ applied: [1] })
  expect(await query('SELECT countIf(n = 7), countIf(n = 1) FROM runs', shared)).toBe('1\t10')
  expect(await query('EXISTS TABLE last', shared)).toBe('1')
  expect(await query("SELECT max(attempt) FROM schema_migration_claims WHERE kind = 'claimed'", shared)).toBe('2')
})

test('a holder that is slow but alive keeps its claim', async () => {
  const shared = await options({ '0001_runs.sql': `${COUNTER}; ${SLOW_INSERT}` })
  const outcomes = await Promise.all([migrate(shared), migrate(shared)])
  expect(outcomes.flatMap((outcome) => ('applied' in outcome ? outcome.applied : [-1]))).toEqual([1])
  expect(await query('SELECT max(attempt) FROM schema_migration_claims', shared)).toBe('1')
})

test('a statement that fails is told, is not marked as applied, and the next run goes on from there', async () => {
  const files = { '0001_runs.sql': `${COUNTER}; INSERT INTO missing VALUES (1)` }
  const broken = await options(files)
  const failure = await migrate(broken)
  expect(failure).toMatchObject({ problem: 'statement_failed' })
  expect('message' in failure && failure.message).toContain('statement 2 of migration 1 (runs)')
  const mended = { ...broken, directory: writeFiles({ '0001_runs.sql': `${COUNTER}; INSERT INTO runs VALUES (1)` }) }
  expect(await migrate(mended)).toEqual({ applied: [1] })
})

test('an applied migration that was edited is refused', async () => {
  const before = await options({ '0001_runs.sql': COUNTER })
  await migrate(before)
  const edited = { ...before, directory: writeFiles({ '0001_runs.sql': `${COUNTER} COMMENT 'edited'` }) }
  expect(await migrate(edited)).toMatchObject({ problem: 'edited_migration' })
})

test('a database newer than the code is refused', async () => {
  const newer = await options({ '0001_runs.sql': COUNTER, '0002_next.sql': 'SELECT 1' })
  await migrate(newer)
  const older = { ...newer, directory: writeFiles({ '0001_runs.sql': COUNTER }) }
  expect(await migrate(older)).toMatchObject({ problem: 'database_newer' })
})

test.each([
  ['a gap', { '0001_a.sql': 'SELECT 1', '0003_c.sql': 'SELECT 1' }],
  ['a number given twice', { '0001_a.sql': 'SELECT 1', '0001_b.sql': 'SELECT 1' }],
  ['a start other than 1', { '0000_a.sql': 'SELECT 1' }],
  ['a name without number', { 'events.sql': 'SELECT 1' }],
])('files with %s are refused before anything runs', async (_, files) => {
  expect(await migrate(await options(files as Record<string, string>))).toMatchObject({ problem: 'bad_sequence' })
})

test('a ClickHouse that is away is a problem to be tried again, not a crash', async () => {
  const away = await options()
  const refused = { ...away, clickhouse: { ...away.clickhouse, url: 'http://127.0.0.1:1' } }
  expect(await migrate(refused)).toMatchObject({ problem: 'clickhouse_unavailable' })
})

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await Bun.sleep(20)
}
