import { afterEach, expect, test } from 'bun:test'
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { repairDeduplicationLogs } from '../../src/sink/deduplication-repair.ts'
import { type EmbeddedClickHouse, startEmbeddedClickHouse } from '../../src/sink/embedded-clickhouse.ts'
import { whileNoEngineLives } from '../../src/sink/engine-directory.ts'
import { migrate } from '../../src/sink/migrations.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { type EventBody, eventBody, insertEvents } from '../support/event-bodies.ts'

const DATABASE = 'penstock'
const ROWS = 1_000
const TABLES = ['events', 'events_per_minute', 'events_per_hour', 'events_per_day', 'activity_per_day']

/** What `counts` gives when so many events are stored and counted in each table. */
const everywhere = (events: number) => TABLES.map(() => events)

const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** An engine that can be killed and started again on its directory, with the tables of Penstock in it. */
class Home {
  readonly dataDir = temporaryDirectory()
  readonly directory = join(this.dataDir, 'clickhouse')
  readonly lines: string[] = []
  private engine: EmbeddedClickHouse | undefined

  async start(): Promise<void> {
    const logger = createLogger({ level: 'warn', destination: { write: (line: string) => this.lines.push(line) } })
    this.engine = startEmbeddedClickHouse({ dataDir: this.dataDir, httpPort: 0, tcpPort: 0, logger })
    await this.engine.ready()
    await this.query('SYSTEM STOP MERGES') // what is where must not change by itself
  }

  get url(): string {
    return this.engine?.url ?? ''
  }

  async query(sql: string): Promise<string> {
    const response = await fetch(`${this.url}/?database=${DATABASE}`, { method: 'POST', body: sql })
    const body = (await response.text()).trim()
    if (!response.ok && !body.includes('UNKNOWN_DATABASE')) throw new Error(body)
    return body
  }

  insert(body: EventBody, token: string): Promise<number> {
    return insertEvents(this.url, DATABASE, body, token)
  }

  /** Rows of `events`, and events counted per minute, hour and day. */
  async counts(): Promise<number[]> {
    const counts = TABLES.slice(1).map((table) => `(SELECT sum(events) FROM ${table})`)
    return (await this.query(`SELECT (SELECT count() FROM events), ${counts.join(', ')}`)).split('\t').map(Number)
  }

  /** Directory of a table, and the newest of its parts. */
  async newestPart(table: string): Promise<{ path: string; part: string }> {
    const sql = `SELECT name, path FROM system.parts WHERE database = '${DATABASE}' AND table = '${table}'
      AND active ORDER BY max_block_number DESC LIMIT 1`
    const [part = '', path = ''] = (await this.query(sql)).split('\t')
    return { path: join(path, '..'), part }
  }

  /** kill -9, and no new start. */
  async kill(): Promise<void> {
    const pid = this.engine?.pid
    if (pid !== undefined) process.kill(pid, 'SIGKILL')
    await this.engine?.stop()
  }

  repair() {
    return repairDeduplicationLogs([this.directory])
  }
}

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-repair-'))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Started, with tables and a body to insert. */
async function newHome(): Promise<{ home: Home; body: EventBody }> {
  const home = new Home()
  cleanups.push(() => home.kill())
  await home.start()
  const clickhouse = { url: home.url, user: 'default', password: '', database: DATABASE }
  const migrated = await migrate({ clickhouse, logger: createLogger({ level: 'silent' }) })
  expect(migrated).toHaveProperty('applied')
  await home.query('SYSTEM STOP MERGES')
  const server = { url: home.url } as Parameters<typeof eventBody>[0]
  return { home, body: await eventBody(server, 'body', ROWS) }
}

/** A table as it is on disk. `parts` and `detached` are names of directories, `logs` contents of files by number. */
function tableOnDisk(content: {
  parts?: readonly string[]
  detached?: readonly string[]
  logs?: Readonly<Record<string, string>>
}) {
  const directory = temporaryDirectory()
  const table = join(directory, 'store', 'abc', 'abc00000-0000-0000-0000-000000000000')
  mkdirSync(join(table, 'deduplication_logs'), { recursive: true })
  for (const part of content.parts ?? []) mkdirSync(join(table, part))
  for (const part of content.detached ?? []) mkdirSync(join(table, 'detached', part), { recursive: true })
  const path = (number: string) => join(table, 'deduplication_logs', `deduplication_log_${number}.txt`)
  for (const [number, text] of Object.entries(content.logs ?? {})) writeFileSync(path(number), text, 'latin1')
  return {
    directory,
    table,
    path,
    repair: () => repairDeduplicationLogs([directory]),
    log: (number = '1') => readFileSync(path(number), 'latin1'),
  }
}

/** What this process has read so far: https://man7.org/linux/man-pages/man5/proc_pid_io.5.html */
function bytesRead(): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1])
}

function newestLog(table: string): string {
  const names = readdirSync(join(table, 'deduplication_logs'))
  expect(names).toEqual(['deduplication_log_1.txt'])
  return join(table, 'deduplication_logs', 'deduplication_log_1.txt')
}

test('a batch that ClickHouse had noted and not stored when it was killed is stored and counted once, in whichever table', async () => {
  const { home, body } = await newHome()
  let stored = 0
  for (const table of TABLES) {
    expect(await home.insert(body, `log/${table}`)).toBe(0)
    const { path, part } = await home.newestPart(table)
    await home.kill()
    renameSync(join(path, part), join(path, `tmp_insert_${part}`))
    await home.start()
    for (let attempt = 0; attempt < 2; attempt += 1) expect(await home.insert(body, `log/${table}`)).toBe(0)
    stored += ROWS
    expect({ table, counts: await home.counts() }).toEqual({ table, counts: everywhere(stored) })
  }
  const warnings = home.lines.map((line) => JSON.parse(line)).filter((line) => 'records' in line)
  expect(warnings.map(({ level, records }) => ({ level, records }))).toEqual(
    TABLES.map(() => ({ level: 'warn', records: 1 })),
  )
})

test('a batch whose parts are there, as they were or merged into others, is still a duplicate', async () => {
  const { home, body } = await newHome()
  for (const token of ['log/1', 'log/2', 'log/3']) await home.insert(body, token)
  await home.kill()
  expect(await home.repair()).toEqual({ dropped: [], cut: [], unreadable: [] })
  await home.start()
  await home.query('SYSTEM START MERGES')
  for (const table of TABLES) await home.query(`OPTIMIZE TABLE ${table} FINAL`)
  const merged = await Promise.all(TABLES.map((table) => home.newestPart(table)))
  await home.kill()
  for (const { path } of merged) {
    // The parts that were merged are outdated, and ClickHouse deletes them after some minutes.
    for (const name of readdirSync(path)) if (/_0(_\d+)?$/.test(name)) rmSync(join(path, name), { recursive: true })
  }
  expect(await home.repair()).toEqual({ dropped: [], cut: [], unreadable: [] })
  await home.start()
  for (const token of ['log/1', 'log/2', 'log/3']) expect(await home.insert(body, token)).toBe(0)
  expect(await home.counts()).toEqual(everywhere(3 * ROWS))
})

test('a partition that was dropped is left to ClickHouse, which forgets its batches itself', async () => {
  const { home, body } = await newHome()
  await home.insert(body, 'log/1')
  const { path, part } = await home.newestPart('events')
  const [partition] = part.split('_')
  await home.query(`ALTER TABLE events DROP PARTITION ID '${partition}'`)
  expect((await home.counts())[0]).toBe(ROWS / 2)
  await home.kill()
  const log = readFileSync(newestLog(path), 'utf8')
  expect(log).toContain(`2\t${part}\t`)
  expect(await home.repair()).toEqual({ dropped: [], cut: [], unreadable: [] })
  // The empty part in the place of the dropped ones; ClickHouse deletes it after some time.
  for (const name of readdirSync(path))
    if (name.startsWith(`${partition}_`)) rmSync(join(path, name), { recursive: true })
  expect(await home.repair()).toEqual({ dropped: [], cut: [], unreadable: [] })
  expect(readFileSync(newestLog(path), 'utf8')).toBe(log)
  await home.start()
  expect(await home.insert(body, 'log/1')).toBe(0)
  expect(await home.counts()).toEqual(everywhere(ROWS)) // the other partition and the aggregates took it for a duplicate
})

test('a torn last line is cut off, so that the records behind it are not lost at the next start', async () => {
  const { home, body } = await newHome()
  await home.insert(body, 'log/1')
  const { path } = await home.newestPart('events')
  await home.kill()
  const log = readFileSync(newestLog(path), 'utf8')
  appendFileSync(newestLog(path), '1\t20261121_3_3_0\t202611')
  await home.start()
  expect(readFileSync(newestLog(path), 'utf8')).toBe(log)
  for (const token of ['log/1', 'log/2']) expect(await home.insert(body, token)).toBe(0)
  await home.kill()
  await home.start()
  for (const token of ['log/1', 'log/2']) expect(await home.insert(body, token)).toBe(0)
  expect(await home.counts()).toEqual(everywhere(2 * ROWS))
})

test('a record at the end of a full log is dropped in the next, empty one', async () => {
  const { home } = await newHome()
  await home.query(
    'CREATE TABLE small (n UInt8) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 2',
  )
  await home.query('SYSTEM STOP MERGES')
  const insert = (n: number) =>
    home.query(`INSERT INTO small SETTINGS insert_deduplication_token = '${n}' VALUES (${n})`)
  for (const n of [1, 2, 3, 4]) await insert(n)
  const { path, part } = await home.newestPart('small')
  await home.kill()
  const logs = join(path, 'deduplication_logs')
  expect(readFileSync(join(logs, 'deduplication_log_2.txt'), 'utf8')).toBe('')
  renameSync(join(path, part), join(path, `tmp_insert_${part}`))
  await home.start()
  expect(readFileSync(join(logs, 'deduplication_log_2.txt'), 'utf8')).toStartWith(`2\t${part}\t`)
  for (const n of [3, 4]) await insert(n)
  expect(await home.query('SELECT arraySort(groupArray(n)) FROM small')).toBe('[1,2,3,4]')
})

test('nothing is done while a ClickHouse lives on the directory, whatever process its file names', async () => {
  const { home } = await newHome()
  const work = async () => ({ done: true })
  expect(await whileNoEngineLives(home.directory, work)).toBeUndefined()
  await home.kill()
  // The process id in the file is that of another process by now.
  const status = readFileSync(join(home.directory, 'status'), 'utf8')
  writeFileSync(join(home.directory, 'status'), status.replace(/PID: \d+/, `PID: ${process.pid}`))
  expect(await whileNoEngineLives(home.directory, work)).toEqual({ done: true })
  await home.start()
  expect(await whileNoEngineLives(home.directory, work)).toBeUndefined()
  expect(await whileNoEngineLives(temporaryDirectory(), work)).toEqual({ done: true })
})

test('all records of the missing last part are dropped, those of parts before it stay', async () => {
  const text = '1\tall_6_6_0\ta\n1\tall_7_7_0\tb\n1\tall_8_8_0\tc\n1\tall_8_8_0\td\n'
  const disk = tableOnDisk({ parts: ['all_1_7_2', 'tmp_insert_all_8_8_0', 'detached'], logs: { 1: text } })
  const { dropped } = await disk.repair()
  expect(dropped.map(({ part, blockId }) => [part, blockId])).toEqual([
    ['all_8_8_0', 'c'],
    ['all_8_8_0', 'd'],
  ])
  expect(disk.log()).toBe(`${text}2\tall_8_8_0\tc\n2\tall_8_8_0\td\n`)
  expect((await disk.repair()).dropped).toEqual([])
})

test.each([
  ['a later part of another partition is there', { parts: ['20261122_9_9_0'] }],
  ['a mutated part covers it', { parts: ['20261121_7_9_2_14'] }],
  ['it is detached', { detached: ['20261121_8_8_0'] }],
  ['it is detached because it could not be read', { detached: ['broken-on-start_20261121_7_8_1_try2'] }],
])('a record stays when %s', async (_, content) => {
  const text = '1\t20261121_8_8_0\tid\n'
  const disk = tableOnDisk({ parts: [], ...content, logs: { 1: text } })
  expect((await disk.repair()).dropped).toEqual([])
  expect(disk.log()).toBe(text)
})

test.each([
  ['a temporary or deleted part is none', { parts: ['tmp_insert_20261121_8_8_0', 'delete_tmp_20261121_8_9_1'] }],
  ['a detached part of another partition does not count', { detached: ['20261122_8_9_1'] }],
])('a record is dropped: %s', async (_, content) => {
  const disk = tableOnDisk({ parts: [], ...content, logs: { 1: '1\t20261121_8_8_0\tid\n' } })
  expect((await disk.repair()).dropped).toHaveLength(1)
})

test('a part on another disk of the server counts', async () => {
  const disk = tableOnDisk({ logs: { 1: '1\tall_1_1_0\tid\n' } })
  const other = temporaryDirectory()
  cpSync(disk.directory, other, { recursive: true })
  rmSync(disk.table.replace(disk.directory, other), { recursive: true })
  mkdirSync(join(disk.table.replace(disk.directory, other), 'all_1_1_0'), { recursive: true })
  expect((await repairDeduplicationLogs([disk.directory, other])).dropped).toEqual([])
  expect((await disk.repair()).dropped).toHaveLength(1)
})

test('numbers of log files are compared as numbers, and other files are not looked at', async () => {
  const disk = tableOnDisk({ parts: ['all_1_1_0'], logs: { 9: '1\tall_2_2_0\tid\n', 10: '' } })
  for (const name of ['deduplication_log_11.txt.bak', 'deduplication_log_.txt', 'x'])
    writeFileSync(join(disk.table, 'deduplication_logs', name), '\0\xff')
  mkdirSync(join(disk.table, 'deduplication_logs', 'deduplication_log_x.txt'))
  writeFileSync(join(disk.directory, 'store', 'junk'), 'junk')
  expect(await disk.repair()).toMatchObject({ dropped: [{ part: 'all_2_2_0' }], cut: [], unreadable: [] })
  expect(disk.log('10')).toBe('2\tall_2_2_0\tid\n')
})

test('a directory in the place of a log is left alone', async () => {
  const disk = tableOnDisk({})
  mkdirSync(disk.path('1'))
  expect(await disk.repair()).toEqual({ dropped: [], cut: [], unreadable: [disk.path('1')] })
})

test('no directory, no logs, empty logs: nothing to do', async () => {
  const nothing = { dropped: [], cut: [], unreadable: [] }
  expect(await repairDeduplicationLogs([join(temporaryDirectory(), 'none')])).toEqual(nothing)
  expect(await repairDeduplicationLogs([temporaryDirectory()])).toEqual(nothing)
  expect(await tableOnDisk({}).repair()).toEqual(nothing)
  expect(await tableOnDisk({ logs: { 1: '', 2: '' } }).repair()).toEqual(nothing)
})

test.each([
  ['a beginning', '1\tall_1_1'],
  ['one digit', '1'],
  ['zeros, after a power cut', '\0\0\0\0'],
])('a log that is nothing but a torn line is emptied: %s', async (_, text) => {
  const disk = tableOnDisk({ logs: { 1: text } })
  expect(await disk.repair()).toEqual({ dropped: [], cut: [disk.path('1')], unreadable: [] })
  expect(disk.log()).toBe('')
})

test.each([
  ['a file of another kind', '5\n{"size": 12}'],
  ['a line that is no record', '1\tall_1_1_0\ta1\tall_2_2_0\tb\n1\tall_3_3_0\tc\n'],
  ['bytes', '\x80\xff\n\n\t\n1\tall_1'],
])('a log that ClickHouse would not read is left as it is: %s', async (_, text) => {
  const disk = tableOnDisk({ logs: { 1: text } })
  expect(await disk.repair()).toEqual({ dropped: [], cut: [], unreadable: [disk.path('1')] })
  expect(disk.log()).toBe(text)
})

test('of a large log only the end is read', async () => {
  const lines = Array.from(
    { length: 40_000 },
    (_, index) => `1\tall_${index + 1}_${index + 1}_0\tall_${index}_${index}`,
  )
  const text = `no record\n${lines.join('\n')}\n1\tall_40`
  const disk = tableOnDisk({ parts: ['all_1_39999_5'], logs: { 1: text } })
  const before = bytesRead()
  expect(await disk.repair()).toMatchObject({ dropped: [{ part: 'all_40000_40000_0' }], unreadable: [] })
  expect(bytesRead() - before).toBeLessThan(text.length / 4)
  expect(disk.log()).toEndWith('\n2\tall_40000_40000_0\tall_39999_39999\n')
})
