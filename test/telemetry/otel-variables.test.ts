import { expect, test } from 'bun:test'
import { readOtel } from '../../src/otel-variables.ts'

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://localhost:4318' }

test('nothing is sent unless somebody says where to', () => {
  expect(readOtel({})).toEqual({ disabled: false, metrics: undefined, traces: undefined, warnings: [] })
  expect(readOtel({ OTEL_EXPORTER_OTLP_ENDPOINT: ' ', OTEL_SERVICE_NAME: 'shop' }).metrics).toBeUndefined()
})

test('an endpoint takes metrics and one request in a hundred', () => {
  const metrics = { protocol: 'http/protobuf', intervalMs: 60_000, timeoutMs: 30_000 } as const
  const traces = { isParentBased: true, ratio: 0.01 }
  expect(readOtel(ENDPOINT)).toEqual({ disabled: false, metrics, traces, warnings: [] })
})

test('each of them can be left out, or be the only one', () => {
  const sent = (more: Record<string, string>, environment = ENDPOINT) => {
    const { metrics, traces } = readOtel({ ...environment, ...more })
    return [metrics !== undefined, traces !== undefined]
  }
  expect(sent({ OTEL_TRACES_EXPORTER: 'none' })).toEqual([true, false])
  expect(sent({ OTEL_METRICS_EXPORTER: 'none' })).toEqual([false, true])
  expect(sent({ OTEL_METRICS_EXPORTER: 'prometheus' })).toEqual([false, true])
  expect(sent({ OTEL_SDK_DISABLED: 'TRUE' })).toEqual([false, false])
  const none = {} as typeof ENDPOINT
  expect(sent({ OTEL_METRICS_EXPORTER: 'otlp' }, none)).toEqual([true, false])
  expect(sent({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://localhost:4318/v1/traces' }, none)).toEqual([false, true])
})

test('samplers have their usual names', () => {
  const traces = (OTEL_TRACES_SAMPLER: string, OTEL_TRACES_SAMPLER_ARG = '') =>
    readOtel({ ...ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG }).traces
  expect(traces('always_on')).toEqual({ isParentBased: false, ratio: 1 })
  expect(traces('parentbased_always_off', '0.5')).toEqual({ isParentBased: true, ratio: 0 })
  expect(traces('traceidratio', '0.5')).toEqual({ isParentBased: false, ratio: 0.5 })
  expect(traces('parentbased_traceidratio')).toEqual({ isParentBased: true, ratio: 1 })
  expect(traces('', '0.25')).toEqual({ isParentBased: true, ratio: 0.25 })
})

test('what is wrong is warned of and counts as unset', () => {
  const otel = readOtel({
    ...ENDPOINT,
    OTEL_TRACES_SAMPLER: 'sometimes',
    OTEL_TRACES_SAMPLER_ARG: '2',
    OTEL_EXPORTER_OTLP_PROTOCOL: 'pigeon',
    OTEL_METRIC_EXPORT_INTERVAL: 'often',
    OTEL_METRICS_EXPORTER: 'otlp,console',
  })
  expect(otel.traces).toEqual({ isParentBased: true, ratio: 0.01 })
  expect(otel.metrics).toEqual({ protocol: 'http/protobuf', intervalMs: 60_000, timeoutMs: 30_000 })
  expect(otel.warnings.map((line) => line.split(' ')[0]).toSorted()).toEqual([
    'OTEL_EXPORTER_OTLP_PROTOCOL',
    'OTEL_METRICS_EXPORTER',
    'OTEL_METRIC_EXPORT_INTERVAL',
    'OTEL_TRACES_SAMPLER',
    'OTEL_TRACES_SAMPLER_ARG',
  ])
})

test('what is wrong of a switch, an address or a protocol is said once', () => {
  const first = readOtel({ OTEL_SDK_DISABLED: 'yes', OTEL_EXPORTER_OTLP_ENDPOINT: 'foo' })
  expect(first).toMatchObject({ disabled: false, metrics: undefined, traces: undefined })
  expect(first.warnings).toEqual([
    'OTEL_SDK_DISABLED is "yes", but wants true or false: it is ignored',
    'OTEL_EXPORTER_OTLP_ENDPOINT is "foo", but wants an address such as http://localhost:4318: it is ignored',
  ])
  const second = readOtel({ ...ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'pigeon' })
  expect(second.warnings.map((line) => line.split(' ')[0])).toEqual(['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'])
})
