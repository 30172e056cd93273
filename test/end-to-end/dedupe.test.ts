/** Each event is stored and counted once, however often it is sent: copies, retries over crashes, two collectors with one Redis. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Collector, newHome, startCollector, waitUntil } from '../support/collector.ts'
import { makeDraft } from '../support/event-drafts.ts'
import { InsistentClient } from '../support/insistent-client.ts'
import { randomFrom } from '../support/random.ts'
import { startTestRedis, type TestRedis } from '../support/redis.ts'

/** Small, so that segments are sealed, inserted and deleted all the time: then their ids are in files of their own. */
const SMALL = { FLUSH_INTERVAL_MS: '50', SEGMENT_BYTES: '64KiB', RING_BYTES: '256KiB' }

interface DedupeStats {
  readonly ids: number
  readonly bytes: number
  readonly duplicates: number
  readonly shared?: { readonly unasked: number; readonly untold: number }
}

async function dedupeStats(collector: Collector): Promise<DedupeStats> {
  return ((await collector.stats()) as unknown as { dedupe: DedupeStats }).dedupe
}

/** Rows and different ids of a type in `events`, and the sum of an aggregate. */
async function countsOf(collector: Collector, type: string): Promise<{ rows: number; ids: number; counted: number }> {
  const [row] = await collector.rows<{ rows: string; ids: string }>(
    `SELECT count() AS rows, uniqExact(event_id) AS ids FROM events WHERE type = '${type}'`,
  )
  const [sum] = await collector.rows<{ counted: string }>(
    `SELECT sum(events) AS counted FROM events_per_minute WHERE type = '${type}'`,
  )
  return { rows: Number(row?.rows), ids: Number(row?.ids), counted: Number(sum?.counted) }
}

function draftsOf(type: string, count: number): Record<string, unknown>[] {
  return Array.from({ length: count }, () => makeDraft({ type, event_id: crypto.randomUUID() }))
}

describe('one collector', () => {
  let collector: Collector

  beforeAll(async () => {
    collector = await startCollector()
  })
  afterAll(async () => {
    await collector.stop()
    collector.home.remove()
  })

  test('acknowledges copies and stores the events once, sent one after the other, at once, and in one batch', async () => {
    const drafts = draftsOf('copied', 50)
    const others = draftsOf('copied', 50)
    for (let copy = 0; copy < 3; copy++) {
      const response = await collector.postEvents(drafts)
      expect([response.status, await response.json()]).toEqual([201, { accepted: 50, rejected: 0 }])
    }
    const answers = await Promise.all(Array.from({ length: 20 }, () => collector.postEvents(others)))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201))
    expect((await collector.postEvents([...draftsOf('copied', 1), ...drafts, ...drafts].slice(0, 100))).status).toBe(
      201,
    )
    await collector.flushed()
    expect(await countsOf(collector, 'copied')).toEqual({ rows: 101, ids: 101, counted: 101 })
    expect((await dedupeStats(collector)).duplicates).toBe(100 + 19 * 50 + 99)
  })

  test('has events without an id for different ones, and an id of any text for one', async () => {
    const plain = makeDraft({ type: 'named' })
    const named = makeDraft({ type: 'named', event_id: 'order 17' })
    for (let copy = 0; copy < 2; copy++) await collector.postEvents([plain, named])
    await collector.flushed()
    expect(await countsOf(collector, 'named')).toEqual({ rows: 3, ids: 3, counted: 3 })
  })

  test('finds copies through every door, also in NDJSON', async () => {
    const drafts = draftsOf('doors', 500)
    const lines = drafts.map((draft) => JSON.stringify(draft)).join('\n')
    for (let copy = 0; copy < 2; copy++) {
      const response = await collector.post(lines, { 'content-type': 'application/x-ndjson' })
      expect(response.status).toBe(201)
    }
    expect((await collector.postEvents(drafts.slice(100, 200))).status).toBe(201)
    await collector.flushed()
    expect(await countsOf(collector, 'doors')).toEqual({ rows: 500, ids: 500, counted: 500 })
  })
})

test('with DEDUPE_WINDOW_MS=0 every copy is stored', async () => {
  const collector = await startCollector({ env: { DEDUPE_WINDOW_MS: '0' } })
  const drafts = draftsOf('windowless', 10)
  for (let copy = 0; copy < 3; copy++) expect((await collector.postEvents(drafts)).status).toBe(201)
  await collector.flushed()
  expect(await countsOf(collector, 'windowless')).toEqual({ rows: 30, ids: 10, counted: 30 })
  await collector.stop()
  collector.home.remove()
})

test('kill -9 under the load of clients that send again until they are acknowledged: each event is stored once', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const random = randomFrom(seed)
  const home = newHome(SMALL)
  let collector = await startCollector({ home })
  const clients = Array.from({ length: 6 }, (_, number) => {
    const options = { copies: 0.3, batchEventsMax: number % 2 === 0 ? 1 : 60, random: randomFrom(seed + number + 1) }
    return new InsistentClient({ ...options, collector: () => collector })
  })
  const running = clients.map((client) => client.run())
  for (let kill = 0; kill < 4; kill++) {
    await Bun.sleep(300 + random() * 1_500)
    await collector.kill9()
    collector = await startCollector({ home, untilFlowing: kill === 1 })
  }
  await Bun.sleep(500)
  for (const client of clients) client.stop()
  await Promise.all(running)
  await collector.flushed()
  const acknowledged = clients.reduce((sum, client) => sum + client.acknowledged.size, 0)
  expect({ seed, ...(await countsOf(collector, 'insistent')) }).toEqual({
    seed,
    rows: acknowledged,
    ids: acknowledged,
    counted: acknowledged,
  })
  expect((await dedupeStats(collector)).ids).toBe(acknowledged)
  const unanswered = clients.reduce((sum, client) => sum + (client.answers.get(0) ?? 0), 0)
  expect(unanswered).toBeGreaterThan(0)
  await collector.stop()
  home.remove()
}, 180_000)

describe('two collectors with one Redis', () => {
  let redis: TestRedis
  let first: Collector
  let second: Collector

  beforeAll(async () => {
    redis = await startTestRedis()
    first = await startCollector({ env: { ...SMALL, REDIS_URL: redis.url } })
    second = await startCollector({ env: { ...SMALL, REDIS_URL: redis.url, CLICKHOUSE_URL: first.home.clickhouseUrl } })
  }, 180_000)
  afterAll(async () => {
    for (const collector of [second, first]) {
      await collector.stop()
      collector.home.remove()
    }
    await redis.dispose()
  })

  const bothFlushed = () => Promise.all([first.flushed(), second.flushed()])

  test('store once what clients send to either of them, also when one is killed and started again', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31)
    const clients = Array.from({ length: 6 }, (_, number) => {
      const random = randomFrom(seed + number)
      const options = { copies: 0.5, batchEventsMax: number % 2 === 0 ? 1 : 60, random }
      return new InsistentClient({ ...options, collector: () => (random() < 0.5 ? first : second) })
    })
    const running = clients.map((client) => client.run())
    for (let kill = 0; kill < 3; kill++) {
      await Bun.sleep(1_000)
      await second.kill9()
      second = await startCollector({ home: second.home, untilFlowing: false })
    }
    await Bun.sleep(1_000)
    for (const client of clients) client.stop()
    await Promise.all(running)
    await bothFlushed()
    const acknowledged = clients.reduce((sum, client) => sum + client.acknowledged.size, 0)
    expect({ seed, ...(await countsOf(first, 'insistent')) }).toEqual({
      seed,
      rows: acknowledged,
      ids: acknowledged,
      counted: acknowledged,
    })
    expect((await dedupeStats(second)).duplicates).toBeGreaterThan(0)
  }, 180_000)

  test('go on by themselves when Redis is killed, and together when it is back', async () => {
    const before = draftsOf('without redis', 20)
    expect((await first.postEvents(before)).status).toBe(201)
    await redis.kill()
    const drafts = draftsOf('without redis', 20)
    try {
      for (let copy = 0; copy < 3; copy++) expect((await first.postEvents(drafts)).status).toBe(201)
      expect((await first.postEvents(before)).status).toBe(201)
      const health = await fetch(`${first.url}/health`)
      expect([health.status, await health.json()]).toMatchObject([200, { status: 'degraded' }])
      expect((await dedupeStats(first)).shared?.untold).toBeGreaterThan(0)
    } finally {
      await redis.start()
    }
    await waitUntil('the other is told', async () => (await dedupeStats(first)).shared?.untold === 0)
    await waitUntil('both have Redis', async () => {
      const health = await Promise.all([first, second].map(async ({ url }) => (await fetch(`${url}/health`)).json()))
      return health.every((one) => (one as { status: string }).status === 'ok')
    })
    expect((await second.postEvents(drafts)).status).toBe(201)
    await bothFlushed()
    expect(await countsOf(first, 'without redis')).toEqual({ rows: 40, ids: 40, counted: 40 })
  })
})
