/**
 * Sends metrics and traces to where OTEL_EXPORTER_OTLP_ENDPOINT says, over OTLP. Loaded only when that is wanted: the SDK takes 110 ms and 20 MB.
 *
 * Nothing waits for it. Spans are sent by a batch processor with a queue of its own limit (OTEL_BSP_MAX_QUEUE_SIZE), metrics once in
 * OTEL_METRIC_EXPORT_INTERVAL; what cannot be sent is dropped, and logged once a minute.
 */
import { createRequire } from 'node:module'
import { DiagLogLevel, diag, ROOT_CONTEXT, trace } from '@opentelemetry/api'
import type { Resource } from '@opentelemetry/resources'
import { PeriodicExportingMetricReader, type PushMetricExporter } from '@opentelemetry/sdk-metrics'
import { startNodeSdk } from '@opentelemetry/sdk-node'
import { AlwaysOnSampler, SamplingDecision, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace'
import { version } from '../../package.json'
import type { Otel, OtlpProtocol, Sampling } from '../otel-variables.ts'
import type { Logger } from './logger.ts'
import { histogramProducer, type MetricSource, meterProvider, SERIES_MAX } from './metrics.ts'
import { Tracing } from './tracing.ts'

export interface Otlp {
  /** Undefined when no traces are sent. */
  readonly tracing: Tracing | undefined
  /** Sends what is left and ends. Never rejects; may take as long as the other side lets it wait. */
  stop(): Promise<void>
}

const LOG_INTERVAL_MS = 60_000
const REASON_CHARS_MAX = 500

/** Exporters that come with the SDK, by OTEL_EXPORTER_OTLP_PROTOCOL. */
const METRIC_EXPORTERS: Readonly<Record<OtlpProtocol, string>> = {
  grpc: '@opentelemetry/exporter-metrics-otlp-grpc',
  'http/protobuf': '@opentelemetry/exporter-metrics-otlp-proto',
  'http/json': '@opentelemetry/exporter-metrics-otlp-http',
}

/** Begins to send what is configured. */
export function startOtlp(otel: Otel, source: MetricSource, resource: Resource, logger: Logger): Otlp {
  const tracer = otel.traces && startTraces(otel.traces, resource)
  logTroubles(logger)
  const metrics = otel.metrics && startMetrics(otel.metrics, source, resource)
  return {
    tracing: tracer?.tracing,
    stop: async () => {
      await Promise.allSettled([tracer?.stop(), metrics?.shutdown()])
    },
  }
}

/** The SDK does what the variables say, but for the choice of what is sampled: see `tracing.ts`. */
function startTraces(sampling: Sampling, resource: Resource) {
  const sdk = startNodeSdk({
    baseResource: resource,
    resourceDetectors: [],
    sampler: new AlwaysOnSampler(),
    metricReaders: [],
    logRecordProcessors: [],
    logLevel: 'none',
  })
  const ratio = new TraceIdRatioBasedSampler(sampling.ratio)
  const isInRatio = (traceId: string) =>
    ratio.shouldSample(ROOT_CONTEXT, traceId).decision !== SamplingDecision.NOT_RECORD
  return { tracing: new Tracing(trace.getTracer('penstock', version), sampling, isInRatio), stop: () => sdk.shutdown() }
}

function startMetrics(
  { protocol, intervalMs, timeoutMs }: NonNullable<Otel['metrics']>,
  source: MetricSource,
  resource: Resource,
) {
  const reader = new PeriodicExportingMetricReader({
    exporter: metricExporter(protocol),
    exportIntervalMillis: intervalMs,
    exportTimeoutMillis: timeoutMs,
    metricProducers: [histogramProducer(source, resource)],
    cardinalityLimits: { default: SERIES_MAX },
  })
  return meterProvider(source, resource, [reader])
}

/** The SDK's own, which reads endpoint, headers and so on from the environment. It is a dependency of the SDK, not one of ours. */
function metricExporter(protocol: OtlpProtocol): PushMetricExporter {
  const requireOfSdk = createRequire(import.meta.resolve('@opentelemetry/sdk-node'))
  const { OTLPMetricExporter }: { OTLPMetricExporter: new () => PushMetricExporter } = requireOfSdk(
    METRIC_EXPORTERS[protocol],
  )
  return new OTLPMetricExporter()
}

/** An endpoint that is away fails every few seconds. */
function logTroubles(logger: Logger): void {
  let loggedAt = Number.NEGATIVE_INFINITY
  const say = (message: string, ...rest: unknown[]) => {
    const now = performance.now()
    if (now - loggedAt < LOG_INTERVAL_MS) return
    loggedAt = now
    const reason = [inWords(message), ...rest].map(String).join(' ').slice(0, REASON_CHARS_MAX)
    logger.warn({ reason }, 'telemetry could not be sent')
  }
  const nothing = () => undefined
  const diagLogger = { error: say, warn: say, info: nothing, debug: nothing, verbose: nothing }
  diag.setLogger(diagLogger, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true })
}

/** The SDK writes errors as JSON, with their stack. */
function inWords(message: string): string {
  try {
    const { message: words }: { message?: unknown } = JSON.parse(message)
    return typeof words === 'string' ? words : message
  } catch {
    return message
  }
}
