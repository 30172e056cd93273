/** Rate limits and signatures of the running collector: alone, as several that share Redis, and while Redis comes and goes. */
import { afterAll, describe, expect, test } from 'bun:test'
import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runJson } from '../cli/run-cli.ts'
import { type Collector, startCollector, waitUntil } from '../support/collector.ts'
import { newHomeWithoutEngine } from '../support/engine.ts'
import { makeDraft } from '../support/event-drafts.ts'
import { startTestRedis, type TestRedis } from '../support/redis.ts'

const running: Collector[] = []
let sharedRedis: Promise<TestRedis> | undefined

afterAll(async () => {
  for (const collector of running) {
    await collector.stop()
    collector.home.remove()
  }
  await (await sharedRedis)?.dispose()
})

function redisServer(): Promise<TestRedis> {
  sharedRedis ??= startTestRedis()
  return sharedRedis
}

/** A collector that needs no ClickHouse: what it accepts waits in its log. */
async function start(env: Record<string, string> = {}): Promise<Collector> {
  const { home } = newHomeWithoutEngine(env)
  const collector = await startCollector({ home, untilFlowing: false })
  running.push(collector)
  return collector
}

async function createKey({ home }: Collector, ...options: string[]): Promise<string> {
  const words = ['keys', 'create', '--tenant', 'default', '--workspace', 'default', ...options]
  return (await runJson(home.env, ...words)).key
}

/** Sends so many events in one request. Every request has a connection of its own, so that each worker gets some. */
function send({ url }: Collector, key: string, events = 1): Promise<Response> {
  const body = JSON.stringify({ events: Array.from({ length: events }, () => makeDraft()) })
  return fetch(`${url}/v1/events`, { method: 'POST', headers: { 'api-key': key, connection: 'close' }, body })
}

interface Health {
  readonly status: string
  readonly dependencies: { readonly redis?: { readonly status: string } }
}

async function health({ url }: Collector): Promise<Health> {
  return (await (await fetch(`${url}/health`)).json()) as Health
}

function rate({ headers }: Response) {
  const read = (name: string) => Number(headers.get(name))
  return {
    limit: read('x-ratelimit-limit'),
    remaining: read('x-ratelimit-remaining'),
    reset: read('x-ratelimit-reset'),
    retryAfter: read('retry-after'),
  }
}

test('a key may send its limit, twice that at once, and is told where it stands', async () => {
  const collector = await start()
  const key = await createKey(collector, '--tier', '60')
  const first = await send(collector, key, 50)
  expect(first.status).toBe(201)
  expect(rate(first)).toEqual({ limit: 60, remaining: 70, reset: 50, retryAfter: 0 })
  const second = await send(collector, key, 69)
  expect(second.status).toBe(201)
  const refused = await send(collector, key, 5)
  expect(refused.status).toBe(429)
  expect(rate(refused)).toMatchObject({ limit: 60, retryAfter: expect.any(Number) })
  expect(await refused.json()).toMatchObject({ error: { code: 'rate_limited' } })
  const { retryAfter } = rate(refused)
  expect(retryAfter).toBeGreaterThanOrEqual(1)
  expect(retryAfter).toBeLessThanOrEqual(4)
  await Bun.sleep(retryAfter * 1000)
  expect((await send(collector, key, 5)).status).toBe(201)
  const free = await send(collector, collector.key, 100)
  expect(free.headers.has('x-ratelimit-limit')).toBe(false)
})

test('an upload of lines over the limit is refused as one that may come again, and is not half taken for whole', async () => {
  const collector = await start()
  const key = await createKey(collector, '--tier', '60')
  const upload = (events: number, chars: number) => {
    const lines = Array.from({ length: events }, () =>
      JSON.stringify(makeDraft({ properties: { x: 'x'.repeat(chars) } })),
    )
    return collector.post(lines.join('\n'), { 'api-key': key, 'content-type': 'application/x-ndjson' })
  }
  // Several batches, of which the last one is too many.
  const half = await upload(130, 9_000)
  expect(half.status).toBe(429)
  const { accepted } = (await collector.stats()).events
  expect(await half.json()).toMatchObject({ error: { code: 'rate_limited', accepted } })
  expect(accepted).toBeLessThan(130)
  const refused = await upload(121 - accepted, 1)
  expect(refused.status).toBe(429)
  expect(rate(refused).retryAfter).toBeGreaterThanOrEqual(1)
})

test('lines that are no JSON take of the rate as well, and one that is over it is told so', async () => {
  const collector = await start()
  const key = await createKey(collector, '--tier', '60')
  const upload = (lines: number) =>
    collector.post('{\n'.repeat(lines), { 'api-key': key, 'content-type': 'application/x-ndjson' })
  const first = await upload(100)
  expect(first.status).toBe(400)
  expect(rate(first).remaining).toBeLessThanOrEqual(21)
  expect((await upload(100)).status).toBe(429)
  expect((await upload(100_000)).status).toBe(429)
})

test('a key’s own limit on bodies holds for each line of an upload, whether it is lower or higher', async () => {
  const collector = await start()
  const line = (strings: number) =>
    JSON.stringify(makeDraft({ properties: { x: Array.from({ length: strings }, () => 'x'.repeat(1_000)) } }))
  const upload = (key: string, ...lines: string[]) =>
    collector.post(lines.join('\n'), { 'api-key': key, 'content-type': 'application/x-ndjson' })
  const tier = ['--tier', 'unlimited']
  const low = await createKey(collector, ...tier, '--body-bytes-max', '2KiB')
  expect((await upload(low, ...Array.from({ length: 100 }, () => line(1)))).status).toBe(201)
  for (const strings of [2, 200]) {
    const refused = await upload(low, line(1), line(strings), line(1))
    expect(refused.status).toBe(413)
    const message = 'a line may have 2048 bytes, line 2 has more'
    expect(await refused.json()).toMatchObject({ error: { code: 'payload_too_large', message, accepted: 1 } })
  }
  const high = await createKey(collector, ...tier, '--body-bytes-max', '4MiB')
  expect((await upload(high, line(1_500))).status).toBe(201)
  expect((await upload(collector.key, line(1_500))).status).toBe(413)
})

describe('several collectors', () => {
  test('share the limit of a key by way of Redis', async () => {
    const redis = await redisServer()
    const collector = await start({ REDIS_URL: redis.url, WORKERS: '2' })
    const key = await createKey(collector, '--tier', '600')
    await waitUntil('both workers have Redis', () => redis.cli('pubsub', 'numsub', 'penstock:keys').endsWith('2'))
    const startedAt = performance.now()
    const statuses: number[] = []
    const client = async () => {
      for (let count = 0; count < 400; count++) statuses.push((await send(collector, key)).status)
    }
    await Promise.all(Array.from({ length: 4 }, client))
    const seconds = (performance.now() - startedAt) / 1000
    const passed = statuses.filter((status) => status === 201).length
    expect(new Set(statuses)).toEqual(new Set([201, 429]))
    expect(passed).toBeLessThanOrEqual(1200 + (seconds + 1) * 10)
    expect(passed).toBeGreaterThan(1200 - 10)
  })

  test('go on when Redis goes away, say so, and share it again when it is back', async () => {
    const redis = await redisServer()
    const collector = await start({ REDIS_URL: redis.url })
    const key = await createKey(collector, '--tier', '6000')
    await waitUntil('Redis is there', async () => (await health(collector)).dependencies.redis?.status === 'ok')
    let isOver = false
    const statuses: number[] = []
    const client = async () => {
      while (!isOver) statuses.push((await send(collector, key)).status)
    }
    const clients = Array.from({ length: 4 }, client)
    await Bun.sleep(300)
    await redis.kill()
    await waitUntil('it says so', async () => (await health(collector)).dependencies.redis?.status === 'down')
    expect((await health(collector)).status).toBe('degraded')
    await Bun.sleep(300)
    await redis.start()
    await waitUntil('it is back', async () => (await health(collector)).dependencies.redis?.status === 'ok')
    await Bun.sleep(300)
    isOver = true
    await Promise.all(clients)
    expect(statuses.length).toBeGreaterThan(100)
    expect([201, 429]).toEqual(expect.arrayContaining([...new Set(statuses)]))
    const told = collector.lines.filter(({ msg }) => msg.startsWith('Redis ')).map(({ msg }) => msg)
    expect(told).toEqual(['Redis answers', 'Redis is away: collectors go on without it', 'Redis answers'])
  })
})

describe('a signed request', () => {
  /** The headers of a request that is signed now, a second later than the last one. */
  function signer({ home }: Collector, key: string) {
    const { signing_secret } = JSON.parse(readFileSync(join(home.env.DATA_DIR ?? '', 'first-key.json'), 'utf8'))
    let seconds = Math.floor(Date.now() / 1000) - 100
    return (body: string | Uint8Array): Record<string, string> => {
      const timestamp = String(seconds++)
      const signature = createHmac('sha256', signing_secret).update(`${timestamp}.`).update(body).digest('hex')
      return { 'api-key': key, 'x-timestamp': timestamp, 'x-signature': signature }
    }
  }

  async function post({ url }: Collector, headers: Record<string, string>, body: string | Uint8Array) {
    const response = await fetch(`${url}/v1/events`, { method: 'POST', headers, body })
    const answer = (await response.json()) as { error?: { message: string } }
    return { status: response.status, message: answer.error?.message ?? '' }
  }

  test('is taken once, compressed or not; a changed, stale or unsigned one is refused', async () => {
    const redis = await redisServer()
    const collector = await start({ REDIS_URL: redis.url })
    const key = await createKey(collector, '--tier', 'unlimited', '--signing', 'required')
    const sign = signer(collector, key)
    const body = JSON.stringify({ events: [makeDraft()] })
    const headers = sign(body)
    expect(await post(collector, headers, body)).toMatchObject({ status: 201 })
    expect(await post(collector, headers, body)).toMatchObject({
      status: 401,
      message: expect.stringContaining('used before'),
    })
    const compressed = Bun.gzipSync(body)
    const gzip = { ...sign(compressed), 'content-encoding': 'gzip' }
    expect(await post(collector, gzip, compressed)).toMatchObject({ status: 201 })
    expect(await post(collector, { ...sign(body), 'content-encoding': 'gzip' }, compressed)).toMatchObject({
      status: 401,
    })
    expect(await post(collector, sign(body), body.replace('{', '{ '))).toMatchObject({ status: 401 })
    expect(await post(collector, { 'api-key': key }, body)).toMatchObject({ status: 401 })
    const lines = `${JSON.stringify(makeDraft())}\n${JSON.stringify(makeDraft())}\n`
    const ndjson = { ...sign(lines), 'content-type': 'application/x-ndjson' }
    expect(await post(collector, ndjson, lines)).toMatchObject({ status: 201 })
    expect(await post(collector, ndjson, lines)).toMatchObject({ status: 401 })
  })

  test('that was refused for a passing reason may come again as it is', async () => {
    const collector = await start()
    const key = await createKey(collector, '--tier', '20', '--signing', 'optional')
    const sign = signer(collector, key)
    expect((await send(collector, key, 40)).status).toBe(201)
    const body = JSON.stringify({ events: [makeDraft()] })
    const headers = sign(body)
    let tries = 1
    while ((await post(collector, headers, body)).status === 429) {
      tries++
      await Bun.sleep(300)
    }
    expect(tries).toBeGreaterThan(1)
    expect(await post(collector, headers, body)).toMatchObject({ status: 401 })
  })
})
