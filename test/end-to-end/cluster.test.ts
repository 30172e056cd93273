/** Collectors behind nginx, with one Redis, one Postgres and one ClickHouse: what all of them promise together, also when one goes away. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHmac } from 'node:crypto'
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCli, runJson } from '../cli/run-cli.ts'
import { accountFor } from '../support/accounting.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { type Collector, type CollectorHome, newHome, startCollector, waitUntil } from '../support/collector.ts'
import { makeDraft } from '../support/event-drafts.ts'
import { startTestNginx, type TestNginx } from '../support/nginx.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { Producer } from '../support/producer.ts'
import { randomFrom } from '../support/random.ts'
import { startTestRedis, type TestRedis } from '../support/redis.ts'
import { sharedId } from '../support/shared-ids.ts'
import { StreamClient } from '../support/stream-client.ts'
import { segmentsOf } from '../support/workers.ts'

const COLLECTORS = 3

let redis: TestRedis
let postgres: TestPostgres
let clickhouse: TestClickHouse
let nginx: TestNginx
/** By their places; a collector that was killed is replaced in its place. */
const collectors: Collector[] = []
const homes: CollectorHome[] = []

beforeAll(async () => {
  ;[redis, postgres, clickhouse] = await Promise.all([startTestRedis(), startPostgres(), startTestClickHouse()])
  const env = {
    REDIS_URL: redis.url,
    CONTROL_DATABASE_URL: await postgres.newDatabase(),
    SIGNING_SECRETS_KEY: '0123456789abcdef'.repeat(4),
    CLICKHOUSE_URL: clickhouse.url,
    CLICKHOUSE_DATABASE: await clickhouse.createDatabase(),
    KEY_CACHE_LIFETIME_MS: '3600000', // only news can make them forget a key
    TRUST_PROXY: '1',
    SHUTDOWN_DEADLINE_MS: '30000',
  }
  for (let place = 0; place < COLLECTORS; place++) homes.push(newHome(env))
  for (const home of homes) {
    const [from, to] = [homes[0]?.env.DATA_DIR ?? '', home.env.DATA_DIR ?? '']
    if (from !== to) {
      mkdirSync(to)
      copyFileSync(join(from, 'first-key.json'), join(to, 'first-key.json')) // where the helper looks for a key
    }
    collectors.push(await startCollector({ home }))
  }
  nginx = await startTestNginx(homes.map(({ port }) => port))
  await allHaveRedis()
})

afterAll(async () => {
  await nginx?.dispose()
  for (const collector of collectors) await collector.stop()
  for (const home of homes) home.remove()
  await clickhouse?.stop()
  await postgres?.stop()
  await redis?.dispose()
})

function one(): Collector {
  const [first] = collectors
  if (first === undefined) throw new Error('no collector runs')
  return first
}

function allHaveRedis(): Promise<void> {
  const listening = () => redis.cli('pubsub', 'numsub', 'penstock:keys').split(/\s+/).at(-1)
  return waitUntil('all collectors hear each other', () => listening() === String(COLLECTORS))
}

function createKey(...options: string[]): Promise<{ id: string; key: string }> {
  const words = ['keys', 'create', '--tenant', 'default', '--workspace', 'default', ...options]
  return runJson(one().home.env, ...words)
}

/** One request, by a connection of its own. */
async function send(url: string, key: string, events: readonly object[], headers: Record<string, string> = {}) {
  const response = await fetch(`${url}/v1/events`, {
    method: 'POST',
    headers: { 'api-key': key, connection: 'close', ...headers },
    body: JSON.stringify({ events }),
  })
  await response.arrayBuffer()
  return response.status
}

function emptyLogs(): Promise<void> {
  return waitUntil('every log is empty', () => homes.every((home) => segmentsOf(home).length === 0))
}

/** Producers that give their events ids and send a request through nginx again until it is acknowledged. */
function startProducers() {
  const run = crypto.randomUUID()
  const producers = Array.from({ length: 6 }, (_, number) => {
    const eventsMax = number % 2 === 0 ? 20 : 1
    const options = { name: `${run}-${number}`, random: randomFrom(number), eventsMax, pauseMs: 5, sendsAgain: true }
    return new Producer({ ...options, newConnections: number > 2 })
  })
  const sending = producers.map((producer) => producer.run(nginx.url, one().key))
  const acknowledged = () => producers.reduce((sum, producer) => sum + producer.acknowledged, 0)
  return {
    run,
    producers,
    statuses: () => [...new Set(producers.flatMap(({ answers }) => [...answers.keys()]))].sort(),
    async more(events: number) {
      const before = acknowledged()
      await waitUntil(`${events} more events are acknowledged`, () => acknowledged() > before + events)
    },
    async stop() {
      for (const producer of producers) producer.stop()
      await Promise.all(sending)
    },
  }
}

async function health({ url }: Collector) {
  const answer = await fetch(`${url}/health`)
  const { status, dependencies } = (await answer.json()) as {
    status: string
    dependencies: { redis: { status: string } }
  }
  return { http: answer.status, status, redis: dependencies.redis.status }
}

describe('all collectors together', () => {
  test('give a key its limit, and not each of them', async () => {
    const { key } = await createKey('--tier', '600')
    const startedAt = performance.now()
    const statuses: number[] = []
    const client = async (url: string) => {
      while (performance.now() - startedAt < 4_000) statuses.push(await send(url, key, [makeDraft(), makeDraft()]))
    }
    await Promise.all([nginx.url, nginx.url, nginx.url, ...collectors.map(({ url }) => url)].map(client))
    const seconds = (performance.now() - startedAt) / 1000
    const passed = 2 * statuses.filter((status) => status === 201).length
    expect(new Set(statuses)).toEqual(new Set([201, 429]))
    expect(passed).toBeLessThanOrEqual(1_200 + (seconds + 1) * 10) // the burst, what the time brings, and what one second brings
    expect(passed).toBeGreaterThan(1_200 - 20)
  })

  test('store an event once that is sent to each of them at the same time', async () => {
    const userId = crypto.randomUUID()
    for (let round = 0; round < 30; round++) {
      const events = Array.from({ length: 5 }, () => makeDraft({ event_id: crypto.randomUUID(), user_id: userId }))
      const urls = [nginx.url, nginx.url, ...collectors.map(({ url }) => url)]
      const statuses = await Promise.all(urls.map((url) => send(url, one().key, events)))
      expect(statuses).toEqual([201, 201, 201, 201, 201])
    }
    await emptyLogs()
    const stored = await one().query(`SELECT count(), uniq(event_id) FROM events WHERE user_id = '${userId}'`)
    expect(stored).toBe('150\t150\n')
  })

  test('take a signature once', async () => {
    const { key } = await createKey('--tier', 'unlimited', '--signing', 'required')
    const kept = readFileSync(join(one().home.env.DATA_DIR ?? '', 'first-key.json'), 'utf8')
    const { signing_secret } = JSON.parse(kept)
    for (let round = 0; round < 5; round++) {
      const events = [makeDraft()]
      const timestamp = String(Math.floor(Date.now() / 1000) - round)
      const hmac = createHmac('sha256', signing_secret).update(`${timestamp}.${JSON.stringify({ events })}`)
      const headers = { 'x-timestamp': timestamp, 'x-signature': hmac.digest('hex') }
      const all = await Promise.all(collectors.map(({ url }) => send(url, key, events, headers)))
      expect(all.sort()).toEqual([201, 401, 401])
      expect(await send(nginx.url, key, events, headers)).toBe(401)
    }
  })

  test('refuse a key as soon as it is revoked', async () => {
    const { id, key } = await createKey('--tier', 'unlimited')
    for (const { url } of collectors) expect(await send(url, key, [makeDraft()])).toBe(201)
    expect((await runCli(['keys', 'revoke', id], one().home.env)).exitCode).toBe(0)
    for (const { url } of collectors) {
      await waitUntil('the key is refused', async () => (await send(url, key, [makeDraft()])) === 401, 2_000)
    }
  })

  test('know the address of the client behind nginx, and believe nobody else about it', async () => {
    const userId = crypto.randomUUID()
    const events = [makeDraft({ user_id: userId })]
    expect(await send(nginx.url, one().key, events, { 'x-forwarded-for': '198.51.100.7' })).toBe(201)
    await emptyLogs()
    const [row] = await one().rows(`SELECT toString(ip) AS ip FROM events WHERE user_id = '${userId}'`)
    expect(row).toEqual({ ip: '::ffff:127.0.0.1' })
  })
})

describe('nginx lets through', () => {
  test('streams, which stay open', async () => {
    const stream = await StreamClient.open(`${nginx.url.replace('http', 'ws')}/v1/stream?api_key=${one().key}`)
    for (let seq = 1; seq <= 3; seq++) {
      stream.send({ events: [makeDraft()], seq })
      expect(await stream.next()).toEqual({ type: 'ack', seq, accepted: 1, rejected: 0 })
    }
    stream.close()
  })

  test('uploads of many megabytes, and what a collector says to those that are too large', async () => {
    const line = `${JSON.stringify(makeDraft({ properties: { text: 'x'.repeat(5_000) } }))}\n`
    const post = async (body: string, type: string) => {
      const headers = { 'api-key': one().key, 'content-type': type }
      const response = await fetch(`${nginx.url}/v1/events`, { method: 'POST', headers, body })
      return { status: response.status, answer: await response.json() }
    }
    const upload = await post(line.repeat(2_000), 'application/x-ndjson')
    expect(upload).toEqual({ status: 201, answer: { accepted: 2_000, rejected: 0 } })
    const refused = await post(JSON.stringify({ events: [], text: 'x'.repeat(2_000_000) }), 'application/json')
    expect(refused).toMatchObject({ status: 413, answer: { error: { code: 'payload_too_large' } } })
  })
})

describe('under load', () => {
  test('one is killed and started again, one is taken away: nothing is lost and nothing is stored twice', async () => {
    const load = startProducers()
    await load.more(1_000)
    await collectors[1]?.kill9()
    await load.more(1_000)
    collectors[1] = await startCollector({ home: homes[1] as CollectorHome })
    await load.more(1_000)
    expect(await collectors[2]?.stop()).toBe(0)
    expect(segmentsOf(homes[2] as CollectorHome)).toEqual([])
    await load.more(1_000)
    await load.stop()
    await emptyLogs()
    const account = await accountFor(one(), load.producers, `startsWith(message_id, '${load.run}')`)
    expect(account).toMatchObject({ lost: [], doubled: [], unknown: [], unanswered: 0 })
    expect([201, 502, 503]).toEqual(expect.arrayContaining(load.statuses()))
    collectors[2] = await startCollector({ home: homes[2] as CollectorHome })
    await allHaveRedis()
  })

  test('what a killed collector had begun is put off, and known as soon as it is back', async () => {
    const [other, killed] = collectors
    if (other === undefined || killed === undefined) throw new Error('not all collectors run')
    const events = [makeDraft({ event_id: crypto.randomUUID(), user_id: crypto.randomUUID() })]
    const said = () => sharedId(redis, 'default:default', String(events[0]?.event_id)).state
    redis.freeze() // it will carry out what it was sent, but nobody gets an answer
    expect(await send(killed.url, killed.key, events)).toBe(201)
    await killed.kill9()
    redis.thaw()
    await waitUntil('the claim is there', () => said().startsWith('p'))
    await waitUntil('the other one has Redis', async () => (await health(other)).status === 'ok')
    const refused = await other.postEvents(events)
    expect({ status: refused.status, hasWait: refused.headers.has('retry-after') }).toEqual({
      status: 503,
      hasWait: true,
    })
    collectors[1] = await startCollector({ home: homes[1] as CollectorHome })
    await waitUntil('it has said what is in its log', () => said() === 'd')
    expect(await send(other.url, other.key, events)).toBe(201)
    await emptyLogs()
    expect(await other.query(`SELECT count() FROM events WHERE user_id = '${events[0]?.user_id}'`)).toBe('1\n')
  })

  test('Redis is killed and started again: every request is taken, and the health says what is the matter', async () => {
    const load = startProducers()
    await load.more(1_000)
    await redis.kill()
    for (const collector of collectors) {
      await waitUntil('it says so', async () => (await health(collector)).redis === 'down')
      expect(await health(collector)).toEqual({ http: 200, status: 'degraded', redis: 'down' })
    }
    await load.more(1_000)
    await redis.start()
    for (const collector of collectors) {
      await waitUntil('it is well again', async () => (await health(collector)).status === 'ok')
    }
    await load.more(1_000)
    await load.stop()
    expect(load.statuses()).toEqual([201])
  })
})
