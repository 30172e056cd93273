/**
 * The bridge to the OpenTelemetry SDK: an instrument for each counter and gauge of the catalogue, whose values are read when somebody
 * collects, and the histograms, which are ready-made. Loaded when metrics are asked for the first time, or are to be sent somewhere.
 */
import { type Attributes, type HrTime, type Observable, ValueType } from '@opentelemetry/api'
import type { Resource } from '@opentelemetry/resources'
import {
  AggregationTemporality,
  DataPointType,
  type HistogramMetricData,
  type IMetricReader,
  MeterProvider,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics'
import { version } from '../../package.json'
import { METRICS, type Metric, type MetricName } from './catalogue.ts'
import type { Histogram } from './histogram.ts'
import type { Reading } from './readings.ts'

/** Of one metric: more than METRICS_PER_KEY makes. The SDK's own limit is 2,000. */
export const SERIES_MAX = 10_000

const SCOPE = { name: 'penstock', version }

/** Where metrics come from. */
export interface MetricSource {
  /** Values of counters and gauges now. Never rejects. */
  read(): Promise<Iterable<Reading>>
  histograms(): Iterable<readonly [MetricName, Iterable<Histogram>]>
}

/** Every counter and gauge of the source, for these readers; their histograms come from `histogramProducer`. */
export function meterProvider(source: MetricSource, resource: Resource, readers: IMetricReader[]): MeterProvider {
  const provider = new MeterProvider({ resource, readers })
  const meter = provider.getMeter(SCOPE.name, SCOPE.version)
  const instruments = new Map<MetricName, Observable<Attributes>>()
  for (const [name, { kind, unit, description }] of Object.entries<Metric>(METRICS)) {
    if (kind === 'histogram') continue
    const options = { unit, description, valueType: ValueType.DOUBLE }
    const instrument = {
      counter: () => meter.createObservableCounter(name, options),
      updown: () => meter.createObservableUpDownCounter(name, options),
      gauge: () => meter.createObservableGauge(name, options),
    }[kind]()
    instruments.set(name as MetricName, instrument)
  }
  meter.addBatchObservableCallback(
    async (result) => {
      for (const [name, value, attributes] of await source.read()) {
        const instrument = instruments.get(name)
        if (instrument !== undefined) result.observe(instrument, value, attributes)
      }
    },
    [...instruments.values()],
  )
  return provider
}

/** The histograms of the source, since its start. */
export function histogramProducer(source: MetricSource, resource: Resource): MetricProducer {
  const startTime = now()
  return {
    collect: () => {
      const endTime = now()
      const metrics = Array.from(source.histograms(), ([name, histograms]): HistogramMetricData => {
        const { description, unit } = METRICS[name]
        return {
          descriptor: { name, description, unit, valueType: ValueType.DOUBLE },
          aggregationTemporality: AggregationTemporality.CUMULATIVE,
          dataPointType: DataPointType.HISTOGRAM,
          dataPoints: Array.from(histograms, ({ attributes, boundaries, counts, count, sum }) => ({
            ...{ attributes, startTime, endTime },
            value: { buckets: { boundaries: [...boundaries], counts: [...counts] }, count, sum },
          })),
        }
      })
      return Promise.resolve({ resourceMetrics: { resource, scopeMetrics: [{ scope: SCOPE, metrics }] }, errors: [] })
    },
  }
}

function now(): HrTime {
  const ms = Date.now()
  return [Math.floor(ms / 1000), (ms % 1000) * 1_000_000]
}
