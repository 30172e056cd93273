import { expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedClickHouse } from '../../src/sink/embedded-clickhouse.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { runCli } from './run-cli.ts'

const repair = (...args: string[]) => runCli(['repair-deduplication', ...args], {})

test('repair-deduplication refuses while a ClickHouse runs, drops records without a part, and says so', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'penstock-repair-cli-'))
  const engine = startEmbeddedClickHouse({
    dataDir,
    httpPort: 0,
    tcpPort: 0,
    logger: createLogger({ level: 'silent' }),
  })
  try {
    await engine.ready()
    const directory = join(dataDir, 'clickhouse')
    const logs = join(directory, 'store', 'abc', 'abc0', 'deduplication_logs')
    const log = join(logs, 'deduplication_log_1.txt')
    mkdirSync(logs, { recursive: true })
    writeFileSync(log, '1\tall_7_7_0\tall_1_2\n1\tall')

    const refused = await repair(directory)
    expect(refused).toMatchObject({ exitCode: 1, stdout: '' })
    expect(refused.stderr).toBe(`error: a ClickHouse runs on ${directory}: stop it first\n`)
    expect(readFileSync(log, 'utf8')).toEndWith('1\tall')

    process.kill(engine.pid ?? 0, 'SIGKILL')
    await engine.stop()
    const { exitCode, stdout } = await repair(directory)
    expect(exitCode).toBe(0)
    expect(stdout).toContain(`cut off a torn line: ${log}`)
    expect(stdout).toMatch(/all_7_7_0 +all_1_2 +\S+abc0/)
    expect(readFileSync(log, 'utf8')).toBe('1\tall_7_7_0\tall_1_2\n2\tall_7_7_0\tall_1_2\n')
    expect(await repair(directory)).toMatchObject({ exitCode: 0, stdout: 'no record without its part\n' })
    const nothing = JSON.stringify({ dropped: [], cut: [], unreadable: [] })
    expect(await repair(directory, '--json')).toMatchObject({ exitCode: 0, stdout: `${nothing}\n` })
  } finally {
    await engine.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
})

test('repair-deduplication of a new, empty directory has nothing to do; of none, or one of something else, it is an error', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-repair-cli-'))
  const empty = await repair(directory)
  expect(empty).toMatchObject({ exitCode: 0, stderr: '', stdout: expect.stringContaining(`yet: ${directory}\n`) })
  mkdirSync(join(directory, 'clickhouse', 'store'), { recursive: true })
  const other = await repair(directory)
  expect(other).toMatchObject({ exitCode: 1, stdout: '', stderr: expect.stringContaining('there is no store in it') })
  rmSync(directory, { recursive: true })
  const missing = await repair(directory)
  expect(missing).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(`${directory} cannot be read: ENOENT`) })
})
