/** The parts of telemetry by themselves: trace contexts, counts by key, histograms, dependencies that hang, telemetry that is switched off. */
import { expect, test } from 'bun:test'
import { loadConfig } from '../../src/config.ts'
import { isProblem } from '../../src/problem.ts'
import { DependencyWatch } from '../../src/telemetry/dependency-watch.ts'
import { Histogram } from '../../src/telemetry/histogram.ts'
import { BoundedKeyCounts } from '../../src/telemetry/key-counts.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { openTelemetry } from '../../src/telemetry/open.ts'
import { prometheusScraper } from '../../src/telemetry/prometheus.ts'
import type { Reading } from '../../src/telemetry/readings.ts'
import { collectorResource } from '../../src/telemetry/resource.ts'
import { formatTraceparent, parseTraceContext } from '../../src/telemetry/trace-context.ts'
import { Exposition } from '../support/exposition.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'

test('a trace context is read as W3C has it', () => {
  const parse = (traceparent: string) => parseTraceContext(new Headers({ traceparent }))
  const sampled = { traceId: TRACE, spanId: SPAN, traceFlags: 1, isRemote: true }
  expect(parse(`00-${TRACE}-${SPAN}-01`)).toEqual(sampled)
  expect(parse(`00-${TRACE}-${SPAN}-00`)).toEqual({ ...sampled, traceFlags: 0 })
  expect(parse(`00-${TRACE}-${SPAN}-03`)).toEqual(sampled)
  expect(parse(`cc-${TRACE}-${SPAN}-01-what-comes-later`)).toEqual(sampled)
  expect(formatTraceparent(sampled)).toBe(`00-${TRACE}-${SPAN}-01`)
  const state = parseTraceContext(new Headers({ traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: 'vendor=1' }))
  expect(state?.traceState?.get('vendor')).toBe('1')
})

test('what is none is ignored', () => {
  const wrong = [
    '',
    'nonsense',
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE}-${SPAN}-01-more`,
    `ff-${TRACE}-${SPAN}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE}-${SPAN}-1`,
  ]
  for (const traceparent of wrong) expect(parseTraceContext(new Headers({ traceparent }))).toBeUndefined()
  expect(parseTraceContext(new Headers())).toBeUndefined()
})

test('a value is counted in the first bucket that it does not exceed', () => {
  const histogram = new Histogram([1, 2, 5])
  for (const value of [0, 1, 1.5, 2, 5, 5.1, 1e9]) histogram.record(value)
  expect([...histogram.counts]).toEqual([2, 2, 1, 2])
  expect(histogram).toMatchObject({ count: 7, sum: 1e9 + 14.6 })
})

test('only so many keys have series of their own, and all of these are shown', async () => {
  const keys = new BoundedKeyCounts()
  for (let n = 0; n < 1_500; n++)
    for (const outcome of ['accepted', 'rejected', 'rate_limited'] as const)
      keys.add({ keyId: `key_${n}`, tenantId: 'acme', workspaceId: 'web' }, outcome, n < 1_000 ? 1 : 2)
  const read = async () =>
    Array.from(keys.rows(), ({ keyId, events }): Reading[] =>
      Object.entries(events).map(([outcome, count]) => [
        'penstock.key.events',
        count,
        { 'penstock.key': keyId, outcome },
      ]),
    ).flat()
  const scraper = prometheusScraper({ read, histograms: () => [] }, collectorResource('1', 'this one'))
  const metrics = new Exposition(await scraper())
  expect(metrics.samples('penstock_key_events_total').length).toBe(3_003)
  expect(metrics.value('penstock_key_events_total', { penstock_key: 'key_999' })).toBe(3)
  expect(metrics.value('penstock_key_events_total', { penstock_key: 'key_1000' })).toBeUndefined()
  expect(metrics.value('penstock_key_events_total', { penstock_key: 'other', outcome: 'accepted' })).toBe(1_000)
})

test('a dependency that hangs holds up nobody, and what it said before is told meanwhile', async () => {
  const answers = [Promise.resolve({ redis: { status: 'ok' as const } }), new Promise<never>(() => undefined)]
  let asked = 0
  const watch = new DependencyWatch(() => answers[asked++] ?? Promise.reject(new Error('asked once more')))
  expect(await watch.read()).toEqual({ redis: { status: 'ok' } })
  expect(await watch.read()).toEqual({ redis: { status: 'ok' } })
  expect(await watch.read()).toEqual({ redis: { status: 'ok' } })
  expect(asked).toBe(2)
})

test('with OTEL_SDK_DISABLED nothing is measured', async () => {
  const config = loadConfig({ OTEL_SDK_DISABLED: 'true', METRICS_PER_KEY: 'true' })
  if (isProblem(config)) throw new Error(config.message)
  const { telemetry, counts, scrape, stop } = await openTelemetry(config, createLogger({ level: 'silent' }))
  telemetry.route('GET', '/').begin().end(200)
  counts.keys.add({ keyId: 'key', tenantId: 'acme', workspaceId: 'web' }, 'accepted', 1)
  expect([...counts.keys.rows()]).toEqual([])
  expect(new Exposition((await scrape()).replace(/^#.*\n/, '')).series).toEqual([])
  expect(await stop(0)).toBe(true)
})
