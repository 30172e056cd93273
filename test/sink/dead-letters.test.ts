import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isProblem } from '../../src/problem.ts'
import { DeadLetters } from '../../src/sink/dead-letters.ts'
import { DRAFT_SUFFIX } from '../../src/sink/durable-file.ts'
import type { InsertTarget } from '../../src/sink/insert.ts'
import { SplitPlans } from '../../src/sink/split-plans.ts'
import { runCli } from '../cli/run-cli.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import {
  blockBytes,
  commitSegment,
  encoded,
  makeFlusher,
  openLog,
  preparedTarget,
  temporaryDirectory,
  until,
} from './sink-fixture.ts'

let server: TestClickHouse
const cleanups: (() => unknown)[] = []

beforeAll(async () => {
  server = await startTestClickHouse()
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})
afterAll(() => server.stop())

function newDirectory(): string {
  const directory = temporaryDirectory()
  cleanups.push(directory.remove)
  return directory.path
}

const RECORD = { segmentToken: 'log/7', ordinal: 3, rows: 2, code: '33', message: 'line one\nline “two”' } as const

test('a dead letter reads back as it was kept, under a name that depends on the record alone', async () => {
  const letters = new DeadLetters(join(newDirectory(), 'dead-letters'))
  expect(await letters.names()).toEqual([])
  expect(letters.count()).toBe(0)
  const block = blockBytes('kept', 2)
  const name = await letters.keep({ ...RECORD, block })
  expect(await letters.keep({ ...RECORD, block })).toBe(name)
  expect(await letters.names()).toEqual([name])
  expect(letters.count()).toBe(1)
  const letter = await letters.read(name)
  if (isProblem(letter)) throw new Error(letter.message)
  expect(letter.header).toMatchObject({ token: 'log/7/3', rows: 2, code: '33', message: RECORD.message })
  expect(Buffer.from(letter.block).equals(block)).toBe(true)
  expect(await letters.remove(name)).toBe(true)
  expect(await letters.remove(name)).toBe(false)
  expect(await letters.read(name)).toMatchObject({ problem: 'not_found' })
})

test('one changed byte anywhere in the file is noticed', async () => {
  const directory = newDirectory()
  const letters = new DeadLetters(directory)
  const name = await letters.keep({ ...RECORD, block: new TextEncoder().encode('block') })
  const path = join(directory, `${name}.dead-letter`)
  const good = readFileSync(path)
  for (let at = 0; at < good.byteLength; at++) {
    const bad = Buffer.from(good)
    bad[at] = (bad[at] ?? 0) ^ 1
    writeFileSync(path, bad)
    expect(await letters.read(name)).toMatchObject({ problem: 'damaged' })
  }
  for (let length = 0; length < good.byteLength; length += 7) {
    writeFileSync(path, good.subarray(0, length))
    expect(await letters.read(name)).toMatchObject({ problem: 'damaged' })
  }
})

test('no name leads out of the directory, and files that are half written are not listed', async () => {
  const directory = newDirectory()
  const letters = new DeadLetters(join(directory, 'dead-letters'))
  await letters.keep({ ...RECORD, block: new Uint8Array(1) })
  writeFileSync(join(directory, 'secret.dead-letter'), 'x')
  writeFileSync(join(directory, 'dead-letters', `log-7-4.dead-letter.aa${DRAFT_SUFFIX}`), 'x')
  expect(await letters.read('../secret')).toMatchObject({ problem: 'not_found' })
  expect(await letters.remove('../secret')).toBe(false)
  expect(statSync(join(directory, 'secret.dead-letter')).isFile()).toBe(true)
  expect(await letters.names()).toEqual(['log-7-3'])
})

test('a plan that is damaged is an error and not taken for no plan', async () => {
  const directory = newDirectory()
  const plans = new SplitPlans(directory)
  const plan = { token: 'log/7', parts: [[[0, 2]], [[4, 4]]] as [number, number][][], refused: [] }
  await plans.keep(plan)
  expect(await plans.find('log/7')).toEqual({ plan, isDone: false })
  await plans.finish(plan)
  expect(await plans.find('log/7')).toEqual({ plan, isDone: true })
  await plans.tidy()
  expect(await plans.find('log/7')).toEqual({ plan, isDone: true })
  expect(await plans.find('log/8')).toBeUndefined()
  writeFileSync(join(directory, 'log-7.plan'), '{"token":"log/7"')
  await expect(plans.find('log/7')).rejects.toThrow('damaged')
})

interface Refused {
  readonly target: InsertTarget
  readonly environment: Record<string, string>
  readonly letters: DeadLetters
  readonly names: readonly string[]
}

/** Two records that become dead letters: one that nobody can mend, and one that a table with a column `mended` can take. */
async function refuseTwo(): Promise<Refused> {
  const directory = newDirectory()
  const target = await preparedTarget(server)
  const log = await openLog(directory)
  cleanups.push(() => log.dispose())
  const text = (value: string) => [value.length, ...Buffer.from(value)]
  const mendable = Buffer.from([1, 1, ...text('user_agent'), ...text('String'), ...text('kept after all')])
  await server.query("ALTER TABLE events MODIFY COLUMN user_agent Enum8('' = 0, 'x' = 1, 'control' = 2)", {
    database: target.database,
  })
  const flusher = makeFlusher(log, target, directory)
  flusher.start()
  await commitSegment(log, [encoded(blockBytes('a', 2), 2), encoded(mendable), encoded(Buffer.from('garbage'), 3)])
  await until(() => flusher.stats().insertedSegments === 1)
  await log.close()
  await flusher.stop(10_000)
  const letters = new DeadLetters(join(directory, 'dead-letters'))
  const environment = { DATA_DIR: directory, CLICKHOUSE_URL: target.url, CLICKHOUSE_DATABASE: target.database }
  return { target, environment, letters, names: await letters.names() }
}

test('the command line lists, shows and re-sends dead letters once the cause is mended, and drops the rest', async () => {
  const { target, environment, letters, names } = await refuseTwo()
  const [mendable = '', garbage = ''] = names
  const cli = (...args: string[]) => runCli(['dead-letter', ...args], environment)

  const listed = await cli('list', '--json')
  expect(JSON.parse(listed.stdout)).toMatchObject([
    { name: mendable, rows: 1 },
    { name: garbage, rows: 3, code: '33' },
  ])
  expect((await cli('list')).stdout.split('\n')).toHaveLength(4)
  const shown = await cli('show', mendable)
  expect(shown.stdout).toContain('kept after all')
  expect(shown.stdout).toContain('ClickHouse cannot read it')

  const early = await cli('retry', '--json')
  expect(early.exitCode).toBe(1)
  expect(JSON.parse(early.stdout)).toMatchObject([{ stored: false }, { stored: false, code: '33' }])
  expect(await letters.names()).toEqual([...names])

  const { database } = target
  await server.query('ALTER TABLE events MODIFY COLUMN user_agent LowCardinality(String)', { database })
  await server.query('ALTER TABLE events REMOVE TTL', { database }) // it has no time, so it is older than 90 days
  expect(JSON.parse((await cli('show', mendable, '--json')).stdout)).toMatchObject({ readable: true })
  expect((await cli('retry', mendable)).exitCode).toBe(0)
  expect(await letters.names()).toEqual([garbage])
  const count = "SELECT count(), countIf(user_agent = 'kept after all') FROM events"
  expect((await server.query(count, { database })).trim()).toBe('3\t1')

  expect(await cli('drop')).toMatchObject({ exitCode: 1 })
  expect(await cli('drop', 'nothing')).toMatchObject({ exitCode: 1 })
  expect(letters.count()).toBe(1)
  expect(JSON.parse((await cli('drop', '--yes', '--json')).stdout)).toEqual({ dropped: [garbage] })
  expect((await cli('list')).stdout).toContain('no dead letters')
})

test('a dead letter that is stored and comes back is not stored twice', async () => {
  const { target, environment, letters, names } = await refuseTwo()
  const [mendable = ''] = names
  const { database } = target
  await server.query('ALTER TABLE events MODIFY COLUMN user_agent LowCardinality(String)', { database })
  await server.query('ALTER TABLE events REMOVE TTL', { database })
  const letter = await letters.read(mendable)
  if (isProblem(letter)) throw new Error(letter.message)
  expect((await runCli(['dead-letter', 'retry', mendable], environment)).exitCode).toBe(0)
  const parts = letter.header.token.split('/')
  const ordinal = Number(parts.pop())
  const { rows, code, message } = letter.header
  await letters.keep({ segmentToken: parts.join('/'), ordinal, rows, code, message, block: letter.block })
  expect((await runCli(['dead-letter', 'retry', mendable], environment)).exitCode).toBe(0)
  expect((await server.query('SELECT count() FROM events', { database })).trim()).toBe('3')
})
