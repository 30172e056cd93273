/** SIGTERM and SIGINT under load: what was answered is stored, what is in flight is answered, and the end comes in time. */
import { afterEach, expect, test } from 'bun:test'
import { join } from 'node:path'
import type { EmbeddedClickHouse } from '../../src/sink/embedded-clickhouse.ts'
import { freePort } from '../../src/sink/engine-setup.ts'
import { runCli } from '../cli/run-cli.ts'
import { accountFor } from '../support/accounting.ts'
import { type Collector, type CollectorHome, newHome, startCollector, waitUntil } from '../support/collector.ts'
import { newHomeWithoutEngine } from '../support/engine.ts'
import { makeDraft, makeDrafts } from '../support/event-drafts.ts'
import { Producer } from '../support/producer.ts'
import { randomFrom } from '../support/random.ts'
import { openConnection, postHead } from '../support/raw-http.ts'

let collector: Collector
let engine: EmbeddedClickHouse | undefined

afterEach(async () => {
  await collector.kill9()
  await engine?.stop()
  engine = undefined
  collector.home.remove()
})

const newProducers = () =>
  Array.from({ length: 8 }, (_, number) => {
    return new Producer({ name: `p${number}`, eventsMax: number % 2 === 0 ? 100 : 1, random: randomFrom(number) })
  })

const acknowledgedBy = (producers: readonly Producer[]) => producers.reduce((sum, one) => sum + one.acknowledged, 0)

/** Stops the collector while producers send; they end with it. */
async function stopUnderLoad(signal: NodeJS.Signals): Promise<Producer[]> {
  const producers = newProducers()
  const sending = producers.map((producer) => producer.run(collector.url, collector.key))
  await waitUntil('events flow', () => acknowledgedBy(producers) > 3_000)
  const exitCode = await collector.stop(signal)
  for (const producer of producers) producer.stop()
  await Promise.all(sending)
  expect(exitCode).toBe(0)
  return producers
}

async function startAgain(home: CollectorHome): Promise<Collector> {
  collector = await startCollector({ home })
  await collector.flushed()
  return collector
}

test.each(['SIGTERM', 'SIGINT'] as const)('after %s under load every answered event is stored once', async (signal) => {
  collector = await startCollector({ env: { SEGMENT_BYTES: '64KiB', SHUTDOWN_DEADLINE_MS: '30000' } })
  const producers = await stopUnderLoad(signal)
  expect(collector.lines.filter(({ level }) => level === 'error')).toEqual([])
  expect(collector.stderr).toBe('')
  // The last flush was before the end: nothing is left in the log.
  collector = await startCollector({ home: collector.home })
  expect((await collector.stats()).log.written_bytes).toBe(0)
  expect(await accountFor(collector, producers)).toMatchObject({ lost: [], doubled: [], unknown: [] })
})

test('a request that is in flight when the stop begins is answered and stored; a new connection is refused', async () => {
  collector = await startCollector()
  const body = JSON.stringify({ events: makeDrafts(3) })
  const connection = await openConnection(collector.port)
  const headers = { 'api-key': collector.key, 'content-length': Buffer.byteLength(body) }
  await connection.send(postHead('/v1/events', headers) + body.slice(0, 100))
  await waitUntil('the body is being read', async () => (await collector.stats()).bodies_in_flight_bytes > 0)
  const exited = collector.stop()
  await waitUntil('the stop has begun', () => collector.lines.some(({ msg }) => msg === 'shutting down'))
  await expect(openConnection(collector.port)).rejects.toThrow()
  await connection.send(body.slice(100))
  expect(await connection.answer()).toMatchObject({ status: 201, body: '{"accepted":3,"rejected":0}' })
  expect(await exited).toBe(0)
  await startAgain(collector.home)
  expect(await collector.query('SELECT count() FROM events')).toBe('3\n')
})

test('a client that never ends its request holds the stop up to the deadline, no longer', async () => {
  collector = await startCollector({ env: { SHUTDOWN_DEADLINE_MS: '1500' } })
  expect((await collector.postEvents(makeDrafts(5))).status).toBe(201)
  const connection = await openConnection(collector.port)
  await connection.send(postHead('/v1/events', { 'api-key': collector.key, 'content-length': 1_000 }))
  await waitUntil('the body is being read', async () => (await collector.stats()).bodies_in_flight_bytes > 0)
  const begun = performance.now()
  expect(await collector.stop()).toBe(0)
  // The deadline, and what ClickHouse takes to end.
  expect(performance.now() - begun).toBeLessThan(15_000)
  connection.close()
  await startAgain(collector.home)
  expect(await collector.query('SELECT count() FROM events')).toBe('5\n')
})

test('a stop while ClickHouse is away ends by the deadline and leaves the events to the next start', async () => {
  const { home, startEngine } = newHomeWithoutEngine({ SHUTDOWN_DEADLINE_MS: '1000' })
  collector = await startCollector({ home, untilFlowing: false })
  const producers = await stopUnderLoad('SIGTERM')
  engine = startEngine()
  await startAgain(home)
  expect(await accountFor(collector, producers)).toMatchObject({ lost: [], doubled: [], unknown: [] })
})

test('a stop while ClickHouse goes away and comes back loses and doubles nothing', async () => {
  const { home, startEngine } = newHomeWithoutEngine({ SEGMENT_BYTES: '64KiB', SHUTDOWN_DEADLINE_MS: '500' })
  engine = startEngine()
  collector = await startCollector({ home })
  const producers = newProducers()
  const sending = producers.map((producer) => producer.run(collector.url, collector.key))
  await waitUntil('events flow', () => acknowledgedBy(producers) > 3_000)
  process.kill(engine.pid ?? 0, 'SIGKILL')
  expect(await collector.stop()).toBe(0)
  for (const producer of producers) producer.stop()
  await Promise.all(sending)
  await startAgain(home)
  expect(await accountFor(collector, producers)).toMatchObject({ lost: [], doubled: [], unknown: [] })
})

test('without a log on disk (DURABILITY=memory) a stop flushes what is in memory', async () => {
  collector = await startCollector({ env: { DURABILITY: 'memory', FLUSH_INTERVAL_MS: '60000' } })
  const type = crypto.randomUUID()
  expect((await collector.postEvents(makeDrafts(50).map((event) => ({ ...event, type })))).status).toBe(201)
  const body = `${JSON.stringify(makeDraft({ type }))}\n`
  expect((await collector.post(body, { 'content-type': 'application/x-ndjson' })).status).toBe(201)
  expect(await collector.query('SELECT count() FROM events')).toBe('0\n')
  expect(await collector.stop()).toBe(0)
  await startAgain(collector.home)
  expect(await collector.query(`SELECT count() FROM events WHERE type = '${type}'`)).toBe('51\n')
})

test('a client that never ends its request does not take the time that the flush needs', async () => {
  const env = { DURABILITY: 'memory', FLUSH_INTERVAL_MS: '60000', SHUTDOWN_DEADLINE_MS: '6000' }
  collector = await startCollector({ env })
  expect((await collector.postEvents(makeDrafts(50))).status).toBe(201)
  const connection = await openConnection(collector.port)
  await connection.send(postHead('/v1/events', { 'api-key': collector.key, 'content-length': 1_000 }))
  await waitUntil('the body is being read', async () => (await collector.stats()).bodies_in_flight_bytes > 0)
  expect(await collector.stop()).toBe(0)
  connection.close()
  await startAgain(collector.home)
  expect(await collector.query('SELECT count() FROM events')).toBe('50\n')
})

test('a collector on a port that is taken refuses with one line and exit code 1, and announces nothing', async () => {
  collector = await startCollector({ home: newHome() })
  const other = newHome()
  const second = await runCli(['serve'], { ...other.env, PORT: String(collector.port), LOG_LEVEL: 'error' })
  other.remove()
  expect(second).toMatchObject({ exitCode: 1, stdout: '' })
  expect(second.stderr.trim().split('\n')).toHaveLength(1)
  expect(second.stderr).toContain(`127.0.0.1:${collector.port} (HOST, PORT)`)
})

test('a second collector on the same DATA_DIR refuses with one line and exit code 1; the first goes on', async () => {
  collector = await startCollector({ home: newHome() })
  const env = { ...collector.home.env, PORT: String(freePort()), LOG_LEVEL: 'error' }
  const second = await runCli(['serve'], env)
  expect(second.exitCode).toBe(1)
  expect(second.stdout).toBe('')
  expect(second.stderr.trim().split('\n')).toHaveLength(1)
  expect(second.stderr).toContain(join(collector.home.directory, 'data'))
  expect(second.stderr).toContain('another collector')
  expect((await collector.postEvents(makeDrafts(1))).status).toBe(201)
})

test('a migration that hangs does not hold up the stop beyond its deadline', async () => {
  const { home, startEngine } = newHomeWithoutEngine({ SHUTDOWN_DEADLINE_MS: '1000' })
  engine = startEngine()
  await engine.ready()
  process.kill(engine.pid ?? 0, 'SIGSTOP')
  try {
    collector = await startCollector({ home, untilFlowing: false })
    expect((await collector.postEvents([makeDraft()])).status).toBe(201)
    const begun = performance.now()
    expect(await collector.stop()).toBe(0)
    expect(performance.now() - begun).toBeLessThan(5_000)
  } finally {
    process.kill(engine.pid ?? 0, 'SIGCONT')
  }
  await startAgain(home)
  expect(await collector.query('SELECT count() FROM events')).toBe('1\n')
})

test('SIGTERM also ends a collector whose ClickHouse has never answered', async () => {
  collector = await startCollector({
    untilFlowing: false,
    onSpawn: async (pid) => {
      const engines = () =>
        Bun.spawnSync(['pgrep', '-P', String(pid)])
          .stdout.toString()
          .trim()
      await waitUntil('there is an engine', () => engines() !== '', 10_000)
      process.kill(Number(engines().split('\n')[0]), 'SIGSTOP')
    },
  })
  expect(await collector.stop('SIGTERM')).toBe(0)
  expect(collector.clickhousePid).toBeUndefined()
})
