/** What operators and load balancers ask, with ClickHouse there and away. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { startEmbeddedClickHouse } from '../../src/sink/embedded-clickhouse.ts'
import { freePort } from '../../src/sink/engine-setup.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { type Collector, newHome, startCollector, waitUntil } from '../support/collector.ts'
import { makeDrafts } from '../support/event-drafts.ts'

interface Health {
  readonly status: string
  readonly dependencies: Record<string, { readonly status: string; readonly response_time_ms?: number }>
  readonly buffer: { readonly oldest_unflushed_age_ms: number }
}

async function healthOf(collector: Collector): Promise<{ httpStatus: number; health: Health }> {
  const response = await fetch(`${collector.url}/health`)
  return { httpStatus: response.status, health: (await response.json()) as Health }
}

describe('with ClickHouse', () => {
  let collector: Collector

  beforeAll(async () => {
    collector = await startCollector()
  })

  afterAll(async () => {
    await collector.stop()
    collector.home.remove()
  })

  test.each(['/livez', '/readyz'])('%s is 200, with a request id', async (path) => {
    const response = await fetch(`${collector.url}${path}`, { headers: { 'x-request-id': 'mine' } })
    expect(response.status).toBe(200)
    expect(response.headers.get('x-request-id')).toBe('mine')
    expect(await response.json()).toEqual({ status: 'ok' })
  })

  test('/health names every dependency with its response time', async () => {
    const { httpStatus, health } = await healthOf(collector)
    expect(httpStatus).toBe(200)
    const there = { status: 'ok', response_time_ms: expect.any(Number) }
    expect(health).toMatchObject({
      status: 'ok',
      version: expect.any(String),
      uptime_seconds: expect.any(Number),
      memory: { rss_bytes: expect.any(Number) },
      dependencies: { log: { status: 'ok' }, control_database: there, clickhouse: there },
    })
  })

  test('/stats counts events exactly', async () => {
    const before = await collector.stats()
    expect((await collector.postEvents([...makeDrafts(7), {}, {}])).status).toBe(201)
    expect((await collector.postEvents([{}])).status).toBe(400)
    await collector.flushed()
    const after = await collector.stats()
    expect(after.events.accepted - before.events.accepted).toBe(7)
    expect(after.events.rejected - before.events.rejected).toBe(3)
    expect(after.flush.inserted_rows - before.flush.inserted_rows).toBe(7)
    expect(after).toMatchObject({ bodies_in_flight_bytes: 0, buffer: { oldest_unflushed_age_ms: 0 } })
  })

  test('/stats has its names in snake_case, as everything that is sent out', async () => {
    const names = [...(await (await fetch(`${collector.url}/stats`)).text()).matchAll(/"([^"]*)":/g)].map(
      ([, name]) => name,
    )
    expect(names).toContain('inserted_rows')
    expect(names.filter((name) => !/^[a-z0-9_]+$/.test(name ?? ''))).toEqual([])
  })

  test.each(['GET', 'PUT', 'DELETE', 'PATCH', 'HEAD'])(
    '%s of the events’ path is 405 and says what is allowed',
    async (method) => {
      const response = await fetch(`${collector.url}/v1/events`, { method })
      expect(response.status).toBe(405)
      expect(response.headers.get('allow')).toBe('POST, OPTIONS')
      const { error } = method === 'HEAD' ? {} : ((await response.json()) as { error: object })
      if (error !== undefined)
        expect(error).toMatchObject({ code: 'method_not_allowed', request_id: expect.any(String) })
    },
  )

  test.each(['/docs', '/api-docs', '/openapi.json', '/api-docs.json', '/docs/swagger-ui.css'])(
    '%s may be read, and nothing else',
    async (path) => {
      expect((await fetch(`${collector.url}${path}`)).status).toBe(200)
      const response = await fetch(`${collector.url}${path}`, { method: 'POST' })
      expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, OPTIONS'])
    },
  )

  test.each(['/', '/v1', '/v2/events', '/v1/events/x', '/%', '/%zz', '/..%2f..%2fetc/passwd', '/__proto__'])(
    'there is nothing at %s: 404 in the shape of every error',
    async (path) => {
      for (const method of ['GET', 'POST']) {
        const response = await fetch(`${collector.url}${path}`, { method })
        expect(response.status).toBe(404)
        expect(await response.json()).toMatchObject({ error: { code: 'not_found', request_id: expect.any(String) } })
      }
    },
  )
})

test('while ClickHouse is away health is degraded and events are taken; when it comes they are all there', async () => {
  const ports = { httpPort: freePort(), tcpPort: freePort() }
  const home = newHome({ CLICKHOUSE_URL: `http://127.0.0.1:${ports.httpPort}` })
  const collector = await startCollector({ home, untilFlowing: false })
  expect((await collector.postEvents(makeDrafts(100))).status).toBe(201)
  const { httpStatus, health } = await healthOf(collector)
  expect(httpStatus).toBe(200)
  expect(health).toMatchObject({ status: 'degraded', dependencies: { clickhouse: { status: 'down' } } })
  expect((await fetch(`${collector.url}/readyz`)).status).toBe(200)
  expect((await collector.stats()).buffer.oldest_unflushed_age_ms).toBeGreaterThan(0)

  const dataDir = join(home.directory, 'engine')
  const engine = startEmbeddedClickHouse({ dataDir, ...ports, logger: createLogger({ level: 'silent' }) })
  try {
    await collector.flushed()
    expect(await collector.query('SELECT count(), uniqExact(properties.n) FROM events')).toBe('100\t100\n')
    await waitUntil('health is ok again', async () => (await healthOf(collector)).health.status === 'ok')
    expect(await collector.stop()).toBe(0)
  } finally {
    await engine.stop()
    home.remove()
  }
})
