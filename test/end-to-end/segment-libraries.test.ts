/** The official libraries of Segment and RudderStack, as they are, on Node: what they send is stored, also through outages, once. */
import { afterEach, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import type { EmbeddedClickHouse } from '../../src/sink/embedded-clickhouse.ts'
import { type Collector, startCollector, waitUntil } from '../support/collector.ts'
import { newHomeWithoutEngine } from '../support/engine.ts'

const CLIENT = join(import.meta.dir, '../support/segment-client.mjs')

let collector: Collector
let engine: EmbeddedClickHouse | undefined
let clientPid: number | undefined

afterEach(async () => {
  if (clientPid !== undefined) process.kill(clientPid, 'SIGKILL')
  await collector.kill9()
  await engine?.stop()
  engine = undefined
  collector.home.remove()
})

interface Outcome {
  readonly sent: number
  readonly delivered: number
  readonly failed: readonly string[]
}

/** Starts the client; `finish` lets it stop sending, and gives its outcome when everything is flushed. */
function startClient(library: string, what: 'calls' | 'stream', url = collector.url) {
  const child = Bun.spawn(['node', '--no-warnings', CLIENT, library, url, collector.key, what], {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'inherit',
  })
  clientPid = child.pid
  child.exited.then(() => {
    clientPid = undefined
  })
  return {
    async finish(): Promise<Outcome> {
      child.stdin.end()
      return JSON.parse(await new Response(child.stdout).text())
    },
  }
}

const storedEvents = async () => Number(await collector.query('SELECT count() FROM events'))

/** Every streamed call is in ClickHouse, once. */
async function expectAllOnce({ sent, delivered, failed }: Outcome): Promise<void> {
  expect(failed).toEqual([])
  expect(delivered).toBe(sent)
  await collector.flushed()
  const sql = `SELECT count() AS rows, uniqExact(event_id) AS ids, uniqExact(properties.n) AS numbers, max(toUInt32(toString(properties.n))) AS last FROM events WHERE type = 'Streamed'`
  const [counts] = await collector.rows(sql)
  const all = String(sent)
  expect(counts).toEqual({ rows: all, ids: all, numbers: all, last: sent - 1 })
}

const LIBRARIES = { segment: '@segment/analytics-node', rudderstack: 'analytics-node' }

describe.each(['segment', 'rudderstack'] as const)('the library of %s', (library) => {
  test('sends every type of call', async () => {
    collector = await startCollector()
    const outcome = await startClient(library, 'calls').finish()
    expect(outcome).toEqual({ sent: 7, delivered: 7, failed: [] })
    await collector.flushed()
    const rows = await collector.rows(`SELECT * FROM events ORDER BY type`)
    expect(rows.map(({ type }) => type)).toEqual([
      'Imported',
      'Order Completed',
      'alias',
      'group',
      'identify',
      'pageview',
      'screen',
    ])
    const [imported, track, alias, group, identify, page, screen] = rows
    for (const row of rows) {
      expect(row).toMatchObject({ protocol: 'segment', user_id: 'user-17' })
      expect(row).toMatchObject({ context: { library: { name: LIBRARIES[library] } } })
      if (row.type !== 'alias') expect(row.anonymous_id).toBe('anonymous-5')
    }
    expect(track).toMatchObject({
      ip: '::ffff:203.0.113.9',
      locale: 'de-AT',
      browser: 'Firefox',
      os: 'Linux',
      url: 'https://shop.test/cart?x=1',
      path: '/cart',
      title: 'Cart',
      referrer_host: 'search.test',
      properties: { revenue: 49.9, ok: true },
      context: { campaign: { name: 'spring' } },
    })
    expect(String(imported?.occurred_at)).toStartWith('2026-01-02 03:04:')
    expect(alias?.properties).toEqual({ previousId: 'anonymous-5' })
    expect(group?.properties).toEqual({ groupId: 'company-3', name: 'Initech' })
    expect(identify?.properties).toEqual({ email: 'ada@shop.test', age: '36' })
    expect(page).toMatchObject({ url: 'https://shop.test/own', path: '/own', properties: { name: 'Cart' } })
    expect(screen?.properties).toEqual({ name: 'Cart', n: '1' })
  })

  test('loses and doubles nothing while the log is full', async () => {
    const sizes = { SEGMENT_BYTES: '64KiB', RING_BYTES: '128KiB', WAL_MAX_BYTES: '128KiB', IN_FLIGHT_BYTES_MAX: '1MiB' }
    const { home, startEngine } = newHomeWithoutEngine(sizes)
    collector = await startCollector({ home, untilFlowing: false })
    const client = startClient(library, 'stream')
    const large = JSON.stringify({ userId: 'u', event: 'Large', properties: { text: 'x'.repeat(10_000) } })
    await waitUntil('the log is full', async () => (await collector.post(large, {}, '/v1/track')).status === 503)
    // Long enough for some calls to be refused and tried again.
    await Bun.sleep(2_000)
    engine = startEngine()
    await expectAllOnce(await client.finish())
  })

  test('loses and doubles nothing while the collector is away, stopped or killed', async () => {
    collector = await startCollector()
    const client = startClient(library, 'stream')
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const before = await storedEvents()
      await waitUntil('events flow', async () => (await storedEvents()) > before + 100)
      await collector.stop(signal)
      await Bun.sleep(500)
      collector = await startCollector({ home: collector.home })
    }
    await expectAllOnce(await client.finish())
  })

  test('sends again what was stored and not answered, and it is stored once', async () => {
    collector = await startCollector()
    let stored = 0
    let lost = 0
    const seen = new Set<string>()
    const proxy = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      async fetch(request) {
        const { pathname } = new URL(request.url)
        seen.add(`${pathname} ${request.headers.get('content-encoding')}`)
        const body = await request.arrayBuffer()
        const response = await fetch(`${collector.url}${pathname}`, { method: 'POST', headers: request.headers, body })
        // Every third answer is lost, the first one too.
        if (response.status !== 200 || stored++ % 3 !== 0) return response
        lost++
        return new Response(null, { status: 502 })
      },
    })
    const client = startClient(library, 'stream', `http://127.0.0.1:${proxy.port}`)
    await waitUntil('several answers were lost', () => lost >= 3)
    await expectAllOnce(await client.finish())
    await proxy.stop(true)
    expect([...seen]).toEqual([library === 'segment' ? '/v1/batch null' : '/v1/batch gzip'])
  })
})
