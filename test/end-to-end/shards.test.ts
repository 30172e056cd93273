import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EventBlock } from '../../src/native/event-block.ts'
import { createClickHouse } from '../../src/sink/clickhouse.ts'
import { DeadLetters } from '../../src/sink/dead-letters.ts'
import { insertNative } from '../../src/sink/insert.ts'
import { migrate } from '../../src/sink/migrations.ts'
import { ShardedFlusher } from '../../src/sink/sharded-flusher.ts'
import { runCli, runJson } from '../cli/run-cli.ts'
import { blockBytes, commitSegment, encoded, event, LOGGER, openLog, temporaryDirectory } from '../sink/sink-fixture.ts'
import { accountFor } from '../support/accounting.ts'
import {
  type Collector,
  type CollectorHome,
  newHome,
  queryClickHouse,
  startCollector,
  waitUntil,
} from '../support/collector.ts'
import { Producer } from '../support/producer.ts'
import { randomFrom } from '../support/random.ts'
import { type Shards, startShards } from '../support/shards.ts'

/** Everything has come within a few seconds; this long only on a machine that does much else. */
const WITHIN_MS = 60_000
const TWO = [1, 1]
const AGGREGATES = ['events_per_minute', 'events_per_hour', 'events_per_day', 'activity_per_day'] as const

interface Health {
  readonly dependencies: { readonly clickhouse: { readonly message: string } }
}

let shards: Shards
let home: CollectorHome
let collector: Collector
const producers: Producer[] = []

beforeAll(async () => {
  shards = await startShards(3, { two: TWO })
  const env = { CLICKHOUSE_CLUSTER: 'two', CLICKHOUSE_CLUSTER_REPLICATED: 'false', LOG_LEVEL: 'info' }
  home = newHome({ CLICKHOUSE_URL: urlOf(0), FLUSH_INTERVAL_MS: '100', ...env })
})
afterAll(async () => {
  for (const producer of producers) producer.stop()
  await collector?.kill9()
  home?.remove()
  await shards?.stop()
})

function urlOf(index: number): string {
  return shards.urls[index] ?? ''
}

/** As someone would who migrates shard after shard. */
function shardEnv(index: number): Record<string, string> {
  return { ...home.env, CLICKHOUSE_URL: urlOf(index) }
}

/** Rows in a table of the shard itself. */
async function rowsAt(index: number, table = 'events', what = 'count()'): Promise<number> {
  return Number(await queryClickHouse(urlOf(index), `SELECT ${what} FROM ${table}`, 'penstock_shard'))
}

function startProducers(count: number): Promise<unknown> {
  const { url, key } = collector
  const fresh = Array.from({ length: count }, (_, index) => {
    const name = `p${producers.length + index}`
    return new Producer({ name, eventsMax: 50, random: randomFrom(producers.length + index), pauseMs: 20 })
  })
  producers.push(...fresh)
  return Promise.all(fresh.map((producer) => producer.run(url, key)))
}

function stopProducers(): void {
  for (const producer of producers) producer.stop()
}

async function segmentsWaiting(): Promise<number> {
  const { log } = (await collector.stats()) as unknown as { log: { segments_waiting: number; segments_taken: number } }
  return log.segments_waiting + log.segments_taken
}

/** What was acknowledged is stored once, and each aggregate says so, asked through the Distributed tables. */
async function expectExactlyOnce(): Promise<void> {
  const { lost, doubled, unknown, acknowledged: count, unansweredStored } = await accountFor(collector, producers)
  expect({ lost, doubled, unknown }).toEqual({ lost: [], doubled: [], unknown: [] })
  for (const table of AGGREGATES) {
    const [row] = await collector.rows<{ events: string }>(`SELECT sum(events) AS events FROM ${table}`)
    expect([table, Number(row?.events)]).toEqual([table, count + unansweredStored])
  }
}

test('a cluster that the server does not know is told in one line, by the collector and by doctor', async () => {
  const env = { ...home.env, CLICKHOUSE_CLUSTER: 'tow' }
  const { exitCode, stderr } = await runCli(['serve'], env)
  expect(exitCode).toBe(1)
  expect(stderr).toMatch(/^error: CLICKHOUSE_CLUSTER is "tow", but ClickHouse at \S+ knows only two/)
  expect(stderr.trim().split('\n')).toHaveLength(1)
  expect((await runCli(['doctor'], env)).stdout).toContain('CLICKHOUSE_CLUSTER is "tow"')
})

test('the collector makes the tables where it is connected, `migrate` those of the other shards, and doctor tells which lack them', async () => {
  collector = await startCollector({ home })
  const doctor = await runCli(['doctor', '--json'], home.env)
  const cluster = (text: string) => JSON.parse(text).checks.find(({ name }: { name: string }) => name === 'cluster')
  expect(cluster(doctor.stdout)).toMatchObject({
    status: 'failed',
    message: expect.stringContaining('shard 2 without'),
  })
  expect((await runCli(['migrate'], shardEnv(1))).stdout).toMatch(/^applied 1, 2, 3/m)
  expect((await runCli(['migrate'], shardEnv(1))).stdout).toContain('nothing to do')
  expect((await runCli(['migrate', '--again'], shardEnv(1))).stdout).toContain('everything is there')
  expect(cluster(JSON.stringify(await runJson(home.env, 'doctor')))).toMatchObject({ status: 'ok' })
})

test('the tables of a cluster are not taken for those of one server, nor the other way round', async () => {
  const { CLICKHOUSE_CLUSTER: _, ...alone } = home.env
  expect((await runCli(['migrate'], alone)).stderr).toContain('is that of a cluster: set CLICKHOUSE_CLUSTER')
  expect((await runCli(['migrate'], { ...alone, CLICKHOUSE_DATABASE: 'single' })).exitCode).toBe(0)
  const mixed = await runCli(['migrate'], { ...home.env, CLICKHOUSE_DATABASE: 'single' })
  expect(mixed.stderr).toContain('CLICKHOUSE_DATABASE single has tables of one server')
  const replicated = await runCli(['migrate'], { ...home.env, CLICKHOUSE_CLUSTER_REPLICATED: 'true' })
  expect(replicated.stderr).toContain('set CLICKHOUSE_CLUSTER_REPLICATED=false')
})

test('what one node sends on to another arrives there as it was sent, in every table', async () => {
  const server = { user: 'default', password: '', database: 'extra', cluster: { name: 'two', isReplicated: false } }
  for (const url of [urlOf(0), urlOf(1)])
    expect(await migrate({ clickhouse: { ...server, url }, logger: LOGGER })).toHaveProperty('applied')
  const block = new EventBlock()
  const values = [
    1,
    -0.5e-300,
    2 ** 53 - 1,
    'ü € "\\',
    true,
    [1, null, 'a', { b: [] }],
    { 'c.d': { e: [{ f: 1 }, { f: 'x' }] } },
  ]
  const [occurredAt, receivedAt] = [Date.now() - 1000, Date.now()]
  for (const [index, value] of Array.from({ length: 20 }, () => values)
    .flat()
    .entries()) {
    const properties = { value, [`key${index % 9}`]: index, nested: { value } }
    const change = index % 3 === 0 ? { type: 'identify', userId: `u${index % 5}` } : { sessionId: `s${index % 4}` }
    block.append(event({ ...change, occurredAt, receivedAt, path: `/${index}`, properties, context: { value } }))
  }
  const body = new Uint8Array(block.byteLength)
  block.writeTo(body, 0)
  for (const shard of [1, 2]) {
    const sent = { body: [body], bodyBytes: body.byteLength, token: `relay/${shard}` }
    expect(await insertNative({ ...server, url: urlOf(0), shard }, sent)).toEqual({ outcome: 'inserted' })
  }
  const types = 'JSONAllPathsWithTypes(properties)'
  const events = `tuple(* EXCEPT (properties, context), toString(${types}), toJSONString(properties), toJSONString(context))`
  const columns = { events, user_traits: 'tuple(*)', session_states: 'tuple(*)', events_per_day: 'tuple(*)' }
  for (const [table, all] of Object.entries(columns)) {
    const [here, there] = await Promise.all(
      [0, 1].map((index) => {
        const sql = `SELECT count(), sum(cityHash64(${all})) FROM ${table} FINAL`
        return queryClickHouse(urlOf(index), sql.replace('events FINAL', 'events'), 'extra_shard')
      }),
    )
    expect([table, there]).toEqual([table, here])
    expect(here).not.toStartWith('0\t')
  }
})

test('what ClickHouse cannot read is a dead letter at every shard, its neighbours are stored once, and it is sent to its shard when it can be', async () => {
  const directory = temporaryDirectory()
  const cluster = { name: 'two', isReplicated: false }
  const target = { url: urlOf(0), user: 'default', password: '', database: 'extra', cluster }
  const clickhouse = createClickHouse(target)
  const log = await openLog(directory.path)
  const deadLettersDirectory = join(directory.path, 'dead-letters')
  const options = {
    log,
    target,
    cluster,
    clickhouse,
    deadLettersDirectory,
    logger: LOGGER,
    logDirectory: directory.path,
  }
  const flusher = new ShardedFlusher({ ...options, retryMinMs: 10, retryMaxMs: 200 })
  expect(await flusher.start()).toBeUndefined()
  const junk = encoded(Buffer.from('junk that is no block'), 3)
  for (let segment = 0; segment < 4; segment++) {
    const [before, after] = [blockBytes(`a${segment}`, 20), blockBytes(`b${segment}`, 20)]
    await commitSegment(log, [encoded(before, 20), junk, encoded(after, 20)])
  }
  await log.close()
  await waitUntil('all is stored or set aside', () => flusher.stats().insertedSegments === 4, WITHIN_MS)
  await flusher.stop(10_000)
  expect(flusher.stats()).toMatchObject({ insertedRows: 160, refusedRecords: 4, deadLetters: 4, segmentsHeld: 0 })
  const ask = async (index: number, table: string) =>
    (
      await queryClickHouse(
        urlOf(index),
        `SELECT count(), uniqExact(path) FROM ${table} WHERE path LIKE '/%/%'`,
        'system',
      )
    ).trim()
  for (const index of [0, 1]) expect(await ask(index, 'extra_shard.events')).toBe('80\t80')

  const letters = new DeadLetters(deadLettersDirectory)
  const found = await Promise.all((await letters.names()).map((name) => letters.read(name)))
  expect(found.map((letter) => 'header' in letter && letter.header.shard)).toEqual([1, 2, 1, 2])
  const env = { ...home.env, CLICKHOUSE_DATABASE: 'extra', DATA_DIR: directory.path }
  expect((await runCli(['dead-letter', 'drop', '--yes'], env)).exitCode).toBe(0)
  const reason = { code: '33', message: 'it was so' }
  for (let time = 0; time < 2; time++) {
    await letters.keep({
      segmentToken: 'x/1',
      ordinal: 1,
      rows: 7,
      ...reason,
      block: blockBytes('mended', 7),
      shard: 2,
    })
    expect((await runCli(['dead-letter', 'retry'], env)).exitCode).toBe(0)
  }
  expect(await ask(0, 'extra_shard.events')).toBe('80\t80')
  expect(await ask(1, 'extra_shard.events')).toBe('87\t87')
  await clickhouse.close()
  await log.dispose()
  directory.remove()
})

test('segments are shared out among the shards; whoever asks sees all of them, once, in tables and views', async () => {
  const sending = startProducers(4)
  await waitUntil(
    'there is something at both shards',
    async () => {
      const [one, two] = [await rowsAt(0), await rowsAt(1)]
      return Math.min(one, two) > 300 && Math.abs(one - two) / (one + two) < 0.2
    },
    WITHIN_MS,
  )
  stopProducers()
  await sending
  await collector.flushed(WITHIN_MS)
  await expectExactlyOnce()
  const stored = (await rowsAt(0)) + (await rowsAt(1))
  const [counts] = await collector.rows<Record<string, string>>(
    'SELECT sum(events) AS events, max(sessions) AS sessions FROM event_counts_per_day',
  )
  expect(counts).toEqual({ events: String(stored), sessions: '1' })
  // The one session of all of them is on both shards, and one where people look.
  const [session] = await collector.rows<Record<string, string>>(
    'SELECT count() AS n, sum(events) AS events FROM sessions',
  )
  expect(session).toEqual({ n: '1', events: String(stored) })
  const other = await queryClickHouse(urlOf(1), 'SELECT count() FROM events', 'penstock')
  expect(Number(other)).toBe(stored)
})

test('while a shard is away the other one gets its events, and its own wait in the log, over a kill of the collector too', async () => {
  const sending = startProducers(4)
  await shards.kill9(1)
  const before = await rowsAt(0)
  await waitUntil('events flow to the shard that is there', async () => (await rowsAt(0)) > before + 500, WITHIN_MS)
  await waitUntil('segments wait', async () => (await segmentsWaiting()) > 5, WITHIN_MS)
  const health = async () => (await (await fetch(`${collector.url}/health`)).json()) as Health
  const isToldOf = async () =>
    (await health()).dependencies.clickhouse.message === 'takes no events for shard 2 of the cluster: shard_away'
  await waitUntil('health tells of the shard', isToldOf, WITHIN_MS)
  expect(await health()).toMatchObject({ status: 'degraded', dependencies: { clickhouse: { status: 'down' } } })
  const { checks } = JSON.parse((await runCli(['doctor', '--json'], home.env)).stdout)
  expect(checks).toContainEqual(
    expect.objectContaining({
      name: 'cluster',
      status: 'warning',
      message: expect.stringContaining('shard 2 not reached'),
    }),
  )
  await collector.kill9()
  stopProducers()
  await sending
  collector = await startCollector({ home })
  const again = startProducers(2)
  const behind = await rowsAt(0)
  await waitUntil('events flow after the kill', async () => (await rowsAt(0)) > behind + 200, WITHIN_MS)
  await shards.start(1)
  await waitUntil('the shard catches up', async () => (await collector.stats()).flush.failures_in_row === 0, WITHIN_MS)
  stopProducers()
  await again
  await collector.flushed(WITHIN_MS)
  await expectExactlyOnce()
})

test('a shard that is killed again and again in the middle of inserts loses and doubles nothing', async () => {
  const sending = startProducers(4)
  for (let kill = 0; kill < 2; kill++) {
    const before = await rowsAt(1)
    await waitUntil('the shard takes events', async () => (await rowsAt(1)) > before, WITHIN_MS)
    await shards.kill9(1)
    await shards.start(1)
  }
  stopProducers()
  await sending
  await collector.flushed(WITHIN_MS)
  await expectExactlyOnce()
})

test('segments that wait for a shard stay its own when one is added; the new shard gets its part of what comes later', async () => {
  const logPath = join(home.env.DATA_DIR ?? '', 'log')
  const sending = startProducers(3)
  await shards.kill9(1)
  await waitUntil('segments wait', async () => (await segmentsWaiting()) > 5, WITHIN_MS)
  await collector.kill9()
  stopProducers()
  await sending
  const pending = readdirSync(logPath).filter((name) => name.endsWith('.sealed'))
  shards.configure({ two: [1, 1, 1] })
  await shards.kill9(0)
  await shards.start(0) // the embedded server reads its configuration at its start only
  expect((await runCli(['migrate'], shardEnv(2))).exitCode).toBe(0)

  collector = await startCollector({ home })
  const again = startProducers(3)
  await waitUntil('the new shard gets events', async () => (await rowsAt(2)) > 200, WITHIN_MS)
  stopProducers()
  await again
  await shards.start(1)
  await collector.flushed(WITHIN_MS)
  await expectExactlyOnce()
  const { epochs } = JSON.parse(readFileSync(join(logPath, 'shards.json'), 'utf8'))
  expect(epochs).toMatchObject([{ from: 0, weights: [1, 1] }, { weights: [1, 1, 1] }])
  expect(pending.length).toBeGreaterThan(5)
  expect(Math.max(...pending.map((name) => Number.parseInt(name, 10)))).toBeLessThan(epochs[1].from)
})
