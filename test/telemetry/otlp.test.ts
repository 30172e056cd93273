/** Metrics and traces of a running collector, sent over OTLP; and what becomes of it when nobody takes them. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Collector, startCollector, waitUntil } from '../support/collector.ts'
import { newHomeWithoutEngine } from '../support/engine.ts'
import { makeDrafts } from '../support/event-drafts.ts'
import { type ReceivedSpan, startOtlpReceiver } from '../support/otlp-receiver.ts'
import { StreamClient } from '../support/stream-client.ts'

const receiver = startOtlpReceiver()

/** Sends soon, in the encoding that the receiver reads. */
const SOON = {
  OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
  OTEL_METRIC_EXPORT_INTERVAL: '200',
  OTEL_BSP_SCHEDULE_DELAY: '100',
}

describe('with an endpoint', () => {
  const { home, startEngine } = newHomeWithoutEngine({
    ...SOON,
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0',
    FLUSH_INTERVAL_MS: '500',
  })
  let engine = startEngine()
  let collector: Collector

  beforeAll(async () => {
    await engine.ready()
    collector = await startCollector({ home })
  })

  afterAll(async () => {
    await collector.stop()
    await engine.stop()
    await receiver.stop()
    home.remove()
  })

  /** A request as a sampled trace of its sender; gives the id of that trace. */
  async function postTraced(events: number, flags = '01'): Promise<string> {
    const traceId = crypto.randomUUID().replaceAll('-', '')
    const traceparent = `00-${traceId}-00f067aa0ba902b7-${flags}`
    expect((await collector.postEvents(makeDrafts(events), { traceparent })).status).toBe(201)
    return traceId
  }

  const spansOf = (traceId: string) => receiver.spans.filter((span) => span.traceId === traceId)

  test('a request that its sender traces is followed until ClickHouse has its events', async () => {
    const traceId = await postTraced(7)
    await waitUntil('four spans have come', () => spansOf(traceId).length === 4)
    const byName = new Map(spansOf(traceId).map((span) => [span.name, span]))
    const [request, commit, flush, insert] = ['POST /v1/events', 'commit', 'flush', 'INSERT events'].map(
      (name) => byName.get(name) as ReceivedSpan,
    )
    expect(request).toMatchObject({
      kind: 2,
      parentSpanId: '00f067aa0ba902b7',
      attributes: {
        'http.request.method': 'POST',
        'http.route': '/v1/events',
        'http.response.status_code': 201,
        'penstock.tenant': 'default',
        'penstock.workspace': 'default',
      },
    })
    expect(commit).toMatchObject({ parentSpanId: request?.spanId, links: [request?.spanId] })
    expect(flush).toMatchObject({ parentSpanId: commit?.spanId, links: [commit?.spanId] })
    expect(insert).toMatchObject({ kind: 3, parentSpanId: flush?.spanId })
    expect(insert?.attributes).toMatchObject({ 'db.system.name': 'clickhouse', 'db.operation.batch.size': 7 })
    const who = { 'service.name': 'penstock', 'deployment.environment.name': 'test' }
    expect(request?.resource).toMatchObject(who)
    expect(request?.resource['service.instance.id']).toBeString()
  })

  test('of requests that share a segment each is linked to, and the insert is one', async () => {
    const traceIds = await Promise.all([1, 2, 3, 4, 5].map((events) => postTraced(events)))
    await collector.flushed()
    const spans = () => traceIds.flatMap(spansOf)
    const named = (name: string) => spans().filter((span) => span.name === name)
    const isLinked = (name: string, above: string) => {
      const links = named(above).flatMap((span) => span.links)
      return named(name).length > 0 && named(name).every(({ spanId }) => links.includes(spanId))
    }
    await waitUntil('all are linked', () => {
      const isComplete =
        named('POST /v1/events').length === 5 && named('INSERT events').length === named('flush').length
      return isComplete && isLinked('POST /v1/events', 'commit') && isLinked('commit', 'flush')
    })
    for (const span of [...named('commit'), ...named('flush')]) expect(span.links).toContain(String(span.parentSpanId))
  })

  test('nobody else is traced: neither who says so, nor who says nothing or nonsense', async () => {
    const before = receiver.spans.length
    const untraced = await postTraced(1, '00')
    for (const traceparent of [
      `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
      'nonsense',
      `ff-${untraced}-00f067aa0ba902b7-01`,
    ])
      expect((await collector.postEvents(makeDrafts(1), { traceparent })).status).toBe(201)
    await collector.flushed()
    const last = await postTraced(1)
    await waitUntil('a later trace has come', () => spansOf(last).length === 4)
    expect(new Set(receiver.spans.slice(before).map(({ traceId }) => traceId))).toEqual(new Set([last]))
  })

  test('metrics are sent, the same as at /metrics', async () => {
    const accepted = () =>
      receiver.metrics
        .get('penstock.events.accepted')
        ?.find(({ attributes }) => attributes['penstock.protocol'] === 'v1/events')
    const sent = Number(await collector.query('SELECT count() FROM events'))
    await waitUntil('all events are told of', () => accepted()?.value === sent)
    const durations = receiver.metrics.get('http.server.request.duration') ?? []
    expect(durations.map(({ attributes }) => attributes)).toContainEqual({
      'http.request.method': 'POST',
      'http.route': '/v1/events',
      'http.response.status_code': 201,
    })
    const up = receiver.metrics.get('penstock.dependency.up')
    expect(up).toContainEqual({ attributes: { 'penstock.dependency': 'clickhouse' }, value: 1 })
  })

  test('a line of the log about a request says whose it is and in which trace it is found', async () => {
    await engine.stop()
    const traceId = crypto.randomUUID().replaceAll('-', '')
    const headers = {
      traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
      'x-request-id': 'mine',
      'api-key': collector.key,
    }
    const answer = await fetch(`${collector.url}/users/somebody/journey`, { headers })
    expect(answer.status).toBe(503)
    await waitUntil('its span has come', () => spansOf(traceId).length === 1)
    const [span] = spansOf(traceId)
    expect(collector.lines.find(({ requestId }) => requestId === 'mine')).toMatchObject({
      level: 'warn',
      tenantId: 'default',
      workspaceId: 'default',
      protocol: 'users/journey',
      trace_id: traceId,
      span_id: String(span?.spanId),
    })
    expect(span?.attributes).toMatchObject({ 'penstock.request.id': 'mine', 'error.type': '503' })
  })

  test('an insert that failed is a span of its own, and the next try another one', async () => {
    const traceId = await postTraced(3)
    const inserts = () => spansOf(traceId).filter(({ name }) => name === 'INSERT events')
    await waitUntil('two tries have failed', () => inserts().length >= 2)
    expect(inserts()[0]?.attributes['error.type']).toBeString()
    expect(spansOf(traceId).filter(({ name }) => name === 'flush')).toEqual([])
    engine = startEngine()
    await engine.ready()
    await collector.flushed()
    await waitUntil('the flush is told of', () => spansOf(traceId).some(({ name }) => name === 'flush'))
    const tokens = new Set(inserts().map(({ attributes }) => attributes['penstock.insert.token']))
    expect(tokens.size).toBe(1)
    expect(inserts().at(-1)?.attributes['error.type']).toBeUndefined()
  })

  test('the last spans and metrics are sent at the end', async () => {
    const traceId = await postTraced(2)
    expect(await collector.stop()).toBe(0)
    expect(
      spansOf(traceId)
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(['INSERT events', 'POST /v1/events', 'commit', 'flush'])
  })
})

describe('with an endpoint that takes everything and answers nothing', () => {
  const silent = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 0,
    fetch: () => new Promise<Response>(() => undefined),
  })
  const { home } = newHomeWithoutEngine({
    ...SOON,
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${silent.port}`,
    OTEL_EXPORTER_OTLP_TIMEOUT: '600000',
    OTEL_BSP_EXPORT_TIMEOUT: '600000',
    OTEL_TRACES_SAMPLER: 'always_on',
    SHUTDOWN_DEADLINE_MS: '1000',
  })

  afterAll(async () => {
    await silent.stop(true)
    home.remove()
  })

  test('requests and streams are served, and the stop does not wait for it', async () => {
    const collector = await startCollector({ home, untilFlowing: false })
    const stream = await StreamClient.open(`${collector.url}/v1/stream`, { headers: { 'api-key': collector.key } })
    for (let n = 0; n < 20; n++) {
      expect((await collector.postEvents(makeDrafts(5))).status).toBe(201)
      stream.send(makeDrafts(5))
      expect((await stream.next()).type).toBe('ack')
    }
    stream.close()
    await waitUntil('it is told', () => collector.lines.some(({ msg }) => msg === 'telemetry could not be sent'))
    expect(await collector.stop()).toBe(0)
    expect(collector.stderr).toBe('')
    expect(collector.lines.filter(({ msg }) => msg.startsWith('telemetry could not')).length).toBe(1)
  })
})
