/** What a running collector says at `/metrics`, held against what was sent to it and against the documentation. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { prometheusName, renderMetrics } from '../../src/telemetry/catalogue.ts'
import { runJson } from '../cli/run-cli.ts'
import { type Collector, startCollector, waitUntil } from '../support/collector.ts'
import { newHomeWithoutEngine } from '../support/engine.ts'
import { makeDraft, makeDrafts } from '../support/event-drafts.ts'
import { type Exposition, scrape } from '../support/exposition.ts'
import { installPackage } from '../support/packages.ts'
import { LIMITS, PROTOCOLS } from '../support/protocols.ts'
import { openConnection } from '../support/raw-http.ts'
import { StreamClient } from '../support/stream-client.ts'

const DOCUMENT = readFileSync(join(import.meta.dir, '../../docs/telemetry.md'), 'utf8')
const PROMTOOL = '/usr/bin/promtool'
const NDJSON = { 'content-type': 'application/x-ndjson' }

/** A small log, so that it is soon full. */
const { home, startEngine } = newHomeWithoutEngine({
  ...LIMITS,
  METRICS_PER_KEY: 'true',
  SEGMENT_BYTES: '64KiB',
  WAL_MAX_BYTES: '128KiB',
})
let engine = startEngine()
let collector: Collector
let publicKey: string
let limitedKey: string

beforeAll(async () => {
  await engine.ready()
  collector = await startCollector({ home })
  const names = ['--tenant', 'acme', '--workspace', 'web']
  publicKey = (await runJson(home.env, 'provision', ...names, '--tier', 'unlimited')).public_key
  limitedKey = (await runJson(home.env, 'keys', 'create', ...names, '--tier', '3')).key
})

afterAll(async () => {
  await collector.stop()
  await engine.stop()
  home.remove()
})

/** What the work changes. */
async function change(
  work: () => Promise<unknown>,
): Promise<(name: string, labels?: Record<string, string>) => number> {
  const before = await scrape(collector)
  await work()
  const after = await scrape(collector)
  return (name, labels) => (after.value(name, labels) ?? Number.NaN) - (before.value(name, labels) ?? 0)
}

test('every counter of a front door is there before anything has happened, so that the first refusal shows', async () => {
  const metrics = await scrape(collector)
  for (const penstock_protocol of ['v1/events', 'v1/stream', 'events', 'api/track', 'segment']) {
    expect(metrics.value('penstock_events_received_total', { penstock_protocol })).toBe(0)
    for (const error_type of ['rate_limited', 'overloaded', 'invalid_event'])
      expect(metrics.value('penstock_events_rejected_total', { penstock_protocol, error_type })).toBe(0)
    expect(metrics.value('penstock_requests_refused_total', { penstock_protocol, error_type: 'internal' })).toBe(0)
  }
})

describe('events and bodies are counted by front door', () => {
  for (const { name, path, column, request, event } of PROTOCOLS) {
    test(name, async () => {
      const { body, headers } = request(column === 'api/track' ? publicKey : collector.key, [
        event(crypto.randomUUID()),
      ])
      const text = JSON.stringify(body)
      const changed = await change(() => fetch(collector.url + path, { method: 'POST', headers, body: text }))
      const of = { penstock_protocol: column }
      expect(changed('penstock_events_received_total', of)).toBe(1)
      expect(changed('penstock_events_accepted_total', of)).toBe(1)
      expect(changed('penstock_events_rejected_total', of)).toBe(0)
      expect(changed('penstock_request_bytes_total', of)).toBe(Buffer.byteLength(text))
      const route = { http_route: path, http_request_method: 'POST' }
      expect(changed('http_server_request_duration_seconds_count', route)).toBe(1)
    })
  }

  test('NDJSON, line by line', async () => {
    const lines = [...makeDrafts(3), makeDraft({ type: 5 })].map((draft) => JSON.stringify(draft))
    const text = [...lines, '{', ''].join('\n')
    const changed = await change(() => collector.post(text, NDJSON))
    const of = { penstock_protocol: 'v1/events' }
    expect(changed('penstock_events_received_total', of)).toBe(5)
    expect(changed('penstock_events_accepted_total', of)).toBe(3)
    expect(changed('penstock_events_rejected_total', { ...of, error_type: 'invalid_event' })).toBe(1)
    expect(changed('penstock_events_rejected_total', { ...of, error_type: 'malformed_json' })).toBe(1)
    expect(changed('penstock_request_bytes_total', of)).toBe(text.length)
  })

  test('a WebSocket, message by message', async () => {
    const client = await StreamClient.open(`${collector.url}/v1/stream`, { headers: { 'api-key': collector.key } })
    const send = async (message: unknown) => {
      client.send(message)
      return await client.next()
    }
    const messages = [makeDrafts(2), [makeDraft(), {}], [{}], makeDrafts(11), 'nothing']
    const changed = await change(async () => {
      for (const message of messages) await send(message)
    })
    const of = { penstock_protocol: 'v1/stream' }
    expect((await scrape(collector)).value('penstock_stream_connections')).toBe(1)
    client.close()
    await client.closed
    expect(changed('penstock_events_received_total', of)).toBe(16)
    expect(changed('penstock_events_accepted_total', of)).toBe(3)
    expect(changed('penstock_events_rejected_total', { ...of, error_type: 'invalid_event' })).toBe(2)
    expect(changed('penstock_events_rejected_total', { ...of, error_type: 'batch_too_large' })).toBe(11)
    expect(changed('penstock_requests_refused_total', { ...of, error_type: 'invalid_event' })).toBe(2)
    expect(changed('penstock_requests_refused_total', { ...of, error_type: 'batch_too_large' })).toBe(1)
    expect(changed('penstock_request_bytes_total', of)).toBe(JSON.stringify(messages).length - 2 - 4)
  })

  test('copies', async () => {
    const event_id = crypto.randomUUID()
    const changed = await change(() => collector.postEvents([makeDraft({ event_id }), makeDraft({ event_id })]))
    expect(changed('penstock_events_accepted_total')).toBe(2)
    expect(changed('penstock_events_duplicates_total')).toBe(1)
  })

  test('compressed bodies, by what they hold', async () => {
    const text = JSON.stringify({ events: makeDrafts(10) })
    const changed = await change(() => collector.post(Bun.gzipSync(text), { 'content-encoding': 'gzip' }))
    expect(changed('penstock_request_bytes_total')).toBe(text.length)
  })
})

describe('refusals are counted by reason', () => {
  const rows: [error_type: string, status: number, events: number, send: () => Promise<Response>][] = [
    ['unauthorized', 401, 0, () => collector.post('{}', { 'api-key': 'no' })],
    ['malformed_json', 400, 0, () => collector.post('{')],
    ['invalid_event', 400, 2, () => collector.postEvents([{}, {}])],
    ['batch_too_large', 413, 11, () => collector.postEvents(makeDrafts(11))],
    ['payload_too_large', 413, 0, () => collector.post('x'.repeat(70_000))],
    ['unsupported_encoding', 415, 0, () => collector.post('{}', { 'content-encoding': 'rot13' })],
  ]
  for (const [error_type, status, events, send] of rows) {
    test(error_type, async () => {
      const changed = await change(async () => expect((await send()).status).toBe(status))
      expect(changed('penstock_requests_refused_total', { penstock_protocol: 'v1/events', error_type })).toBe(1)
      expect(changed('penstock_requests_refused_total')).toBe(1)
      expect(changed('penstock_events_rejected_total')).toBe(events)
      expect(changed('penstock_events_received_total')).toBe(events)
      const answered = { http_response_status_code: String(status), http_route: '/v1/events' }
      expect(changed('http_server_request_duration_seconds_count', answered)).toBe(1)
    })
  }

  test('rate_limited, with the events', async () => {
    const send = (events: number) => collector.postEvents(makeDrafts(events), { 'api-key': limitedKey })
    expect((await send(6)).status).toBe(201)
    const changed = await change(async () => expect((await send(5)).status).toBe(429))
    const of = { penstock_protocol: 'v1/events' }
    expect(changed('penstock_rate_limit_hits_total', of)).toBe(1)
    expect(changed('penstock_requests_refused_total', { ...of, error_type: 'rate_limited' })).toBe(1)
    expect(changed('penstock_events_rate_limited_total', of)).toBe(5)
    expect(changed('penstock_events_rejected_total', { ...of, error_type: 'rate_limited' })).toBe(5)
    expect(changed('penstock_events_accepted_total')).toBe(0)
  })
})

test('whatever paths and methods are made up, no series is', async () => {
  const connection = await openConnection(collector.port)
  const send = async (method: string, path: string) => {
    await connection.send(`${method} ${path} HTTP/1.1\r\nhost: test\r\n\r\n`)
    return (await connection.answer(method === 'HEAD'))?.status
  }
  await send('GET', '/nothing')
  await send('PUT', '/v1/events')
  await send('GET', `/users/${crypto.randomUUID()}/journey`)
  const before = new Set((await scrape(collector)).series)
  for (let n = 0; n < 20; n++) {
    await send('GET', `/${crypto.randomUUID()}`)
    await send('PUT', `/v1/events?${n}`)
    await send('GET', `/users/${n}/journey?limit=${n}`)
  }
  const after = await scrape(collector)
  expect(after.series.filter((series) => !before.has(series))).toEqual([])
  expect(after.value('http_server_request_duration_seconds_count', { http_route: 'unknown' })).toBe(21)
  expect(after.value('penstock_requests_refused_total', { error_type: 'not_found' })).toBe(21)
  await send('BREW', '/v1/events')
  await send('BREW', '/coffee')
  const methods = (await scrape(collector)).samples('http_server_request_duration_seconds_count')
  expect(methods.map(({ labels }) => labels.http_request_method)).not.toContain('BREW')
  connection.close()
})

test('what was received was either accepted or rejected, and what was accepted is in ClickHouse', async () => {
  await collector.flushed()
  const metrics = await scrape(collector)
  const total = (name: string) => metrics.value(`penstock_events_${name}_total`) ?? Number.NaN
  expect(total('received')).toBe(total('accepted') + total('rejected'))
  const stored = Number(await collector.query('SELECT count() FROM events'))
  expect(stored).toBe(total('accepted') - total('duplicates'))
  expect(metrics.value('penstock_flush_events_total')).toBe(stored)
  expect(metrics.value('penstock_flush_batch_events_sum')).toBe(stored)
  expect(metrics.value('penstock_commit_events_sum')).toBe(stored)
  expect(metrics.value('penstock_flush_size_bytes_total')).toBe(metrics.value('penstock_flush_batch_size_bytes_sum'))
  expect(metrics.value('penstock_event_lag_seconds_count')).toBe(metrics.value('penstock_flush_batch_events_count'))
  expect(metrics.value('penstock_flush_duration_seconds_count', { outcome: 'failed' })).toBe(0)
})

test('buckets of histograms add up', async () => {
  const metrics = await scrape(collector)
  for (const [name, { type, samples }] of metrics.families) {
    if (type !== 'histogram') continue
    for (const { labels, value: count } of samples.filter((sample) => sample.name === `${name}_count`)) {
      const buckets = metrics.samples(`${name}_bucket`, labels)
      const counts = buckets.map(({ value }) => value)
      expect(counts).toEqual(counts.toSorted((one, other) => one - other))
      expect(buckets.at(-1)).toMatchObject({ labels: { le: '+Inf' }, value: count })
    }
  }
})

test('with METRICS_PER_KEY events are counted by key', async () => {
  const metrics = await scrape(collector)
  const rows = metrics.samples('penstock_key_events_total', { penstock_tenant: 'acme', penstock_workspace: 'web' })
  const ofLimited = rows.filter(({ value }) => value === 5)
  expect(ofLimited).toMatchObject([{ labels: { outcome: 'rate_limited' } }])
  const { penstock_key } = ofLimited[0]?.labels ?? {}
  expect(limitedKey).not.toContain(String(penstock_key))
  expect(rows.find(({ labels }) => labels.penstock_key === penstock_key && labels.outcome === 'accepted')?.value).toBe(
    6,
  )
})

test('while ClickHouse is away it is told, with how much waits and for how long', async () => {
  const before = await scrape(collector)
  const is = (dependency: string, metrics: Exposition) =>
    metrics.value('penstock_dependency_up', { penstock_dependency: dependency })
  expect(['clickhouse', 'control_database', 'log'].map((name) => is(name, before))).toEqual([1, 1, 1])
  expect(before.value('penstock_log_oldest_unflushed_age_seconds')).toBe(0)
  await engine.stop()
  const age = async () => (await scrape(collector)).value('penstock_log_oldest_unflushed_age_seconds') ?? 0
  await collector.postEvents(makeDrafts(10))
  await waitUntil('it is told', async () => is('clickhouse', await scrape(collector)) === 0)
  const aged = await age()
  await waitUntil('what waits grows older', async () => (await age()) > aged)
  await waitUntil('inserts have failed', async () => {
    const metrics = await scrape(collector)
    const failed = metrics.value('penstock_flush_duration_seconds_count', { outcome: 'failed' }) ?? 0
    return failed > 0 && (metrics.value('penstock_flush_retries_total') ?? 0) > 0
  })
  const away = await scrape(collector)
  expect(away.value('penstock_log_usage_bytes')).toBeGreaterThan(64)
  expect(['control_database', 'log'].map((name) => is(name, away))).toEqual([1, 1])
  expect(away.value('penstock_log_segments')).toBeGreaterThan(0)
})

test('when the log is full it is told who was refused', async () => {
  const client = await StreamClient.open(`${collector.url}/v1/stream`, { headers: { 'api-key': collector.key } })
  const large = makeDrafts(10).map((draft) => ({ ...draft, properties: { text: 'x'.repeat(3_000) } }))
  const changed = await change(async () => {
    while ((await collector.postEvents(large)).status === 201);
    client.send([makeDraft()])
    while ((await client.next()).type !== 'slow_down');
  })
  client.terminate()
  const of = { penstock_protocol: 'v1/events', error_type: 'overloaded' }
  expect(changed('penstock_requests_refused_total', of)).toBe(1)
  expect(changed('penstock_events_rejected_total', of)).toBe(10)
  expect(changed('penstock_commits_refused_total', { error_type: 'log_full' })).toBeGreaterThan(0)
  expect(changed('penstock_stream_slow_downs_total')).toBeGreaterThan(0)
  const full = await scrape(collector)
  expect(full.value('penstock_log_usage_bytes')).toBeGreaterThan(0.5 * (full.value('penstock_log_limit_bytes') ?? 0))
  await waitUntil('it is told that the log takes nothing', async () => {
    await collector.postEvents(large)
    return (await scrape(collector)).value('penstock_dependency_up', { penstock_dependency: 'log' }) === 0
  })
})

test('when ClickHouse is back so is everything else', async () => {
  engine = startEngine()
  await engine.ready()
  await collector.flushed()
  await waitUntil('all dependencies are up', async () =>
    (await scrape(collector)).samples('penstock_dependency_up').every(({ value }) => value === 1),
  )
  const metrics = await scrape(collector)
  expect(metrics.value('penstock_log_oldest_unflushed_age_seconds')).toBe(0)
  expect(metrics.value('penstock_log_segments')).toBe(0)
  expect(metrics.value('penstock_event_lag_seconds_sum')).toBeGreaterThan(1)
})

test('the documentation lists the metrics as they are', async () => {
  expect(DOCUMENT).toContain(renderMetrics())
  const metrics = await scrape(collector)
  const rows = [...DOCUMENT.matchAll(/^\| `(\w+)` \| (\w+) \| (.*?) \|.*\| `([\w.]+)`,/gm)]
  const documented = new Map(rows.map(([, name = '', type, labels = '']) => [name, { type, labels }]))
  expect(documented.size).toBeGreaterThan(40)
  documented.delete(prometheusName('penstock.worker.up').name)
  expect([...metrics.families.keys()].filter((name) => name !== 'target_info').toSorted()).toEqual(
    [...documented.keys()].toSorted(),
  )
  for (const [name, { type, labels }] of documented) {
    const family = metrics.families.get(name)
    expect({ name, type: family?.type }).toEqual({ name, type })
    const seen = new Set(family?.samples.flatMap((sample) => Object.keys(sample.labels)))
    seen.delete('le')
    expect({ name, labels: [...seen].map((label) => `\`${label}\``).join(', ') }).toEqual({ name, labels })
  }
})

test('Prometheus finds nothing to complain of', async () => {
  installPackage(PROMTOOL, 'prometheus')
  const text = await (await fetch(`${collector.url}/metrics`)).bytes()
  const { stdout, stderr, exitCode } = Bun.spawnSync([PROMTOOL, 'check', 'metrics'], { stdin: text })
  expect({ exitCode, stdout: stdout.toString(), stderr: stderr.toString() }).toEqual({
    exitCode: 0,
    stdout: '',
    stderr: '',
  })
})
