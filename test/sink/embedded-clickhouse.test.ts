import { afterEach, expect, test } from 'bun:test'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { getPriority, tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import {
  type EmbeddedClickHouse,
  type EmbeddedClickHouseOptions,
  startEmbeddedClickHouse,
} from '../../src/sink/embedded-clickhouse.ts'
import { MERGE_NICENESS } from '../../src/sink/engine-setup.ts'
import { createLogger } from '../../src/telemetry/logger.ts'

const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-embedded-'))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

function start(options: Partial<EmbeddedClickHouseOptions> = {}): EmbeddedClickHouse {
  const engine = startEmbeddedClickHouse({
    dataDir: options.dataDir ?? temporaryDirectory(),
    httpPort: 0,
    tcpPort: 0,
    logger: createLogger({ level: 'silent' }),
    ...options,
  })
  cleanups.push(() => engine.stop())
  return engine
}

async function query(engine: { url: string }, sql: string): Promise<string> {
  const response = await fetch(engine.url, { method: 'POST', body: sql, headers: { connection: 'close' } })
  return (await response.text()).trim()
}

/** A zombie, which only waits for its parent to read the exit code, counts as dead. */
function isAlive(pid: number | undefined): boolean {
  const ps = Bun.spawnSync(['ps', '-o', 'stat=', '-p', String(pid)])
  return ps.exitCode === 0 && !ps.stdout.toString().startsWith('Z')
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(10)
}

function failureOf(engine: EmbeddedClickHouse): Promise<unknown> {
  return engine.ready().then(
    () => 'ready',
    (error: unknown) => error,
  )
}

test('it starts, answers SQL, and a clean stop is quick and leaves no process', async () => {
  const engine = start()
  await engine.ready()
  expect(engine.state).toBe('ready')
  expect(await query(engine, 'SELECT 1 + 1')).toBe('2')
  const pid = engine.pid
  const startedAt = performance.now()
  await engine.stop()
  expect(performance.now() - startedAt).toBeLessThan(4_000)
  expect(engine.state).toBe('stopped')
  expect(isAlive(pid)).toBe(false)
  expect(await failureOf(engine)).toMatchObject({ code: 'stopped' })
})

test('the data directory may be given relative to where we run', async () => {
  const engine = start({ dataDir: relative(process.cwd(), temporaryDirectory()) })
  await engine.ready()
  await query(engine, 'CREATE DATABASE d ENGINE = Atomic')
  await query(engine, 'CREATE TABLE d.t (n UInt8) ENGINE = MergeTree ORDER BY n')
  expect(await query(engine, 'INSERT INTO d.t VALUES (1)')).toBe('')
  expect(await query(engine, 'SELECT n FROM d.t')).toBe('1')
})

test('keys with dots read back as they were sent', async () => {
  const engine = start()
  await engine.ready()
  const json = '{"a.b":1,"c":{"d":2}}'
  expect(await query(engine, `SELECT '${json}'::JSON FORMAT TSVRaw`)).toBe(json)
})

test('no system log tables are kept, and half of the memory is left to others', async () => {
  const engine = start()
  await engine.ready()
  await query(engine, 'SYSTEM FLUSH LOGS')
  expect(
    await query(engine, "SELECT count() FROM system.tables WHERE database = 'system' AND name LIKE '%\\_log'"),
  ).toBe('0')
  const ratio = "SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage_to_ram_ratio'"
  expect(await query(engine, ratio)).toBe('0.5')
})

test('data survive kill -9 of the engine, which is started again by itself on the same ports', async () => {
  const engine = start()
  await engine.ready()
  await query(engine, 'CREATE DATABASE kept ENGINE = Atomic')
  await query(engine, 'CREATE TABLE kept.t (n UInt64) ENGINE = MergeTree ORDER BY n')
  await query(engine, 'INSERT INTO kept.t SELECT number FROM numbers(1000)')
  for (let round = 0; round < 2; round += 1) {
    const pid = engine.pid
    expect(pid).toBeNumber()
    process.kill(pid ?? 0, 'SIGKILL')
    await until(() => engine.state === 'restarting')
    await engine.ready()
    expect(engine.pid).not.toBe(pid)
    expect(await query(engine, 'SELECT count() FROM kept.t')).toBe('1000')
  }
})

test('a port that is still taken while it starts again is waited for', async () => {
  const engine = start()
  await engine.ready()
  const port = Number(new URL(engine.url).port)
  process.kill(engine.pid ?? 0, 'SIGKILL')
  await until(() => engine.state === 'restarting')
  const squatter = Bun.listen({ hostname: '127.0.0.1', port, socket: { data() {} } })
  await Bun.sleep(700)
  expect(engine.state).toBe('restarting')
  squatter.stop(true)
  await engine.ready()
  expect(await query(engine, 'SELECT 1')).toBe('1')
})

test.each([
  ['httpPort', 'EMBEDDED_CLICKHOUSE_HTTP_PORT'],
  ['tcpPort', 'EMBEDDED_CLICKHOUSE_TCP_PORT'],
] as const)('a taken %s is refused at once in one line naming %s', async (option, variable) => {
  const squatter = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  cleanups.push(() => squatter.stop(true))
  const engine = start({ [option]: squatter.port })
  const error = await failureOf(engine)
  expect(error).toMatchObject({ code: 'port_taken' })
  expect(String(error)).toContain(`${variable}=${squatter.port} is taken`)
  expect(String(error)).not.toContain('\n')
  expect(engine.state).toBe('failed')
  expect(engine.pid).toBeUndefined()
})

test('another ClickHouse on the port is not taken for ours', async () => {
  const other = start()
  await other.ready()
  const engine = start({ httpPort: Number(new URL(other.url).port) })
  expect(await failureOf(engine)).toMatchObject({ code: 'port_taken' })
  expect(await query(other, 'SELECT 1')).toBe('1')
})

test('two engines on one directory are refused, and the first goes on', async () => {
  const dataDir = temporaryDirectory()
  const first = start({ dataDir })
  await first.ready()
  const error = await failureOf(start({ dataDir, predecessorWaitMs: 500 }))
  expect(error).toMatchObject({ code: 'directory_in_use' })
  expect(String(error)).toContain(`in use by process ${first.pid}`)
  expect(await query(first, 'SELECT 1')).toBe('1')
  process.kill(first.pid ?? 0, 'SIGKILL') // what the second has left must not keep the first from starting again
  await until(() => first.state === 'restarting')
  await first.ready()
  expect(await query(first, 'SELECT 1')).toBe('1')
})

test('when its parent is killed by kill -9 the engine ends too, and the next one takes over ports and data', async () => {
  const dataDir = temporaryDirectory()
  const script = `
    const { startEmbeddedClickHouse } = await import(${JSON.stringify(join(import.meta.dir, '../../src/sink/embedded-clickhouse.ts'))})
    const { createLogger } = await import(${JSON.stringify(join(import.meta.dir, '../../src/telemetry/logger.ts'))})
    const engine = startEmbeddedClickHouse({ dataDir: ${JSON.stringify(dataDir)}, httpPort: 0, tcpPort: 0, logger: createLogger({ level: 'silent' }) })
    await engine.ready()
    await fetch(engine.url, { method: 'POST', body: 'CREATE DATABASE handed_over ENGINE = Atomic' })
    console.log(JSON.stringify({ pid: engine.pid, url: engine.url, tcpPort: engine.tcpPort }))
    setInterval(() => {}, 1000)`
  const parent = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(parent.stdout, 'data')
  const { pid, url, tcpPort } = JSON.parse(String(line)) as { pid: number; url: string; tcpPort: number }
  expect(isAlive(pid)).toBe(true)
  // A client that holds its connection makes ClickHouse wait with its end: the successor has to be patient.
  const client = await Bun.connect({ hostname: '127.0.0.1', port: tcpPort, socket: { data() {} } })
  cleanups.push(() => client.end())
  parent.kill('SIGKILL')
  await once(parent, 'close')

  const successor = start({ dataDir, httpPort: Number(new URL(url).port), tcpPort })
  await successor.ready()
  await until(() => !isAlive(pid))
  expect(await query(successor, 'EXISTS DATABASE handed_over')).toBe('1')
})

test('nothing is started while what a kill may have left cannot be looked at', async () => {
  const dataDir = temporaryDirectory()
  const loop = join(dataDir, 'clickhouse', 'store')
  const engine = start({ dataDir })
  await engine.ready()
  const pid = engine.pid
  symlinkSync('store', loop)
  process.kill(pid ?? 0, 'SIGKILL')
  await until(() => engine.state === 'restarting')
  await Bun.sleep(700)
  expect(engine.pid).toBeUndefined()
  const second = start({ dataDir })
  const error = await failureOf(second)
  expect(error).toMatchObject({ code: 'failed_to_start' })
  expect(String(error)).toContain('ELOOP')
  expect(String(error)).not.toContain('\n')
  rmSync(loop)
  await engine.ready()
  expect(await query(engine, 'SELECT 1')).toBe('1')
})

test('without the library the error names CLICKHOUSE_URL', async () => {
  const script = `
    const { startEmbeddedClickHouse } = await import(${JSON.stringify(join(import.meta.dir, '../../src/sink/embedded-clickhouse.ts'))})
    const { createLogger } = await import(${JSON.stringify(join(import.meta.dir, '../../src/telemetry/logger.ts'))})
    const engine = startEmbeddedClickHouse({ dataDir: ${JSON.stringify(temporaryDirectory())}, httpPort: 0, tcpPort: 0, logger: createLogger({ level: 'silent' }) })
    await engine.ready().catch((error) => console.log(JSON.stringify({ code: error.code, message: error.message })))
    await engine.stop()`
  const child = spawn(process.execPath, ['-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, CHDB_LIBCHDB_PATH: '/no/such/library' },
  })
  const [line] = await once(child.stdout, 'data')
  const failure = JSON.parse(String(line)) as { code: string; message: string }
  expect(failure.code).toBe('no_library')
  expect(failure.message).toContain('set CLICKHOUSE_URL')
  expect(failure.message).not.toContain('\n')
})

test('it has a process group of its own', async () => {
  const engine = start()
  await engine.ready()
  const ps = Bun.spawnSync(['ps', '-o', 'pgid=', '-p', String(engine.pid)])
  expect(Number(ps.stdout.toString())).toBe(engine.pid ?? 0)
})

test('the collector goes first on a shared core, also where sessions share it before processes do', async () => {
  const engine = start()
  await engine.ready()
  const { pid } = engine
  assert(pid !== undefined)
  expect(getPriority(pid)).toBe(5)
  const session = `/proc/${pid}/autogroup`
  if (existsSync(session)) expect(readFileSync(session, 'utf8')).toMatch(/ nice 5$/m)
})

test('merges give way to inserts, where the engine may say so', async () => {
  const engine = start()
  await engine.ready()
  const { pid } = engine
  assert(pid !== undefined)
  await query(engine, 'CREATE DATABASE d ENGINE = Atomic')
  await query(engine, 'CREATE TABLE d.t (n UInt64, s String) ENGINE = MergeTree ORDER BY s')
  let isMerging = true
  const merging = (async () => {
    for (let inserts = 0; isMerging && inserts < 500; inserts++)
      await query(engine, 'INSERT INTO d.t SELECT number, toString(rand()) FROM numbers(100000)')
  })()
  const wanted = maySetNiceness(pid) ? MERGE_NICENESS : getPriority(pid)
  // A thread has it only while it merges.
  await until(() => nicenessOfMerges(pid).includes(wanted))
  isMerging = false
  await merging
})

function nicenessOfMerges(pid: number): number[] {
  const found: number[] = []
  for (const id of readdirSync(`/proc/${pid}/task`)) {
    try {
      if (readFileSync(`/proc/${pid}/task/${id}/comm`, 'utf8') === 'MergeMutate\n') found.push(getPriority(Number(id)))
    } catch {
      // The thread has just ended.
    }
  }
  return found
}

/** Whether a process has the capability CAP_SYS_NICE, number 23 of capabilities(7). */
function maySetNiceness(pid: number): boolean {
  const [, effective] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return (BigInt(`0x${effective}`) & (1n << 23n)) !== 0n
}

test('a stop during the start ends the start', async () => {
  const engine = start()
  await until(() => engine.pid !== undefined)
  const pid = engine.pid
  await engine.stop()
  expect(engine.state).toBe('stopped')
  expect(isAlive(pid)).toBe(false)
})

test('an engine that does not end by the deadline is killed', async () => {
  const engine = start({ stopDeadlineMs: 300 })
  await engine.ready()
  const pid = engine.pid ?? 0
  process.kill(pid, 'SIGSTOP')
  await engine.stop()
  expect(engine.state).toBe('stopped')
  expect(isAlive(pid)).toBe(false)
})

test('a clean end has exit code 0', async () => {
  const lines: string[] = []
  const destination = { write: (line: string) => lines.push(line) }
  const engine = start({ logger: createLogger({ level: 'info', destination }) })
  await engine.ready()
  await engine.stop()
  const ended = lines.map((line) => JSON.parse(line)).find((record) => 'exit_code' in record)
  expect(ended).toMatchObject({ exit_code: 0, signal: null })
})

test('what the engine prints is logged at debug within a rate, and never holds it up', async () => {
  const lines: string[] = []
  const destination = { write: (line: string) => lines.push(line) }
  const engine = start({ logger: createLogger({ level: 'debug', destination }) })
  await engine.ready()
  await Promise.all(Array.from({ length: 300 }, () => query(engine, 'SELECT no_such_column')))
  expect(await query(engine, 'SELECT 1')).toBe('1')
  const printed = lines.filter((line) => line.includes('no_such_column')).map((line) => JSON.parse(line))
  expect(printed[0]).toMatchObject({ level: 'debug', source: 'clickhouse' })
  const perSecond = Map.groupBy(printed, ({ time }) => time.slice(0, '2026-11-20T10:00:00'.length))
  // 50 in each second of the limit, of which a second of the clock meets two.
  for (const records of perSecond.values()) expect(records.length).toBeLessThanOrEqual(100)
})
