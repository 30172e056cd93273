/**
 * Metrics in the text format of Prometheus, version 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/
 * A reader of our own, because the SDK's exporter brings its own HTTP server.
 */
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus'
import type { Resource } from '@opentelemetry/resources'
import { type MetricData, type MetricProducer, MetricReader, type ResourceMetrics } from '@opentelemetry/sdk-metrics'
import { isRatio, nameWithUnit } from './catalogue.ts'
import { histogramProducer, type MetricSource, meterProvider, SERIES_MAX } from './metrics.ts'

/** Collects when it is asked. */
class ScrapeReader extends MetricReader {
  constructor(producer: MetricProducer) {
    super({ metricProducers: [producer], cardinalitySelector: () => SERIES_MAX })
  }

  protected onShutdown(): Promise<void> {
    return Promise.resolve()
  }

  protected onForceFlush(): Promise<void> {
    return Promise.resolve()
  }
}

/** Gives the function that collects everything once and writes it down. */
export function prometheusScraper(source: MetricSource, resource: Resource): () => Promise<string> {
  const reader = new ScrapeReader(histogramProducer(source, resource))
  meterProvider(source, resource, [reader])
  const serializer = new PrometheusSerializer(undefined, false, undefined, false, true)
  return async () => {
    const { resourceMetrics } = await reader.collect()
    return serializer.serialize(withUnits(resourceMetrics))
  }
}

/** The unit becomes part of the name, as Prometheus wants it. The serializer does not do that. */
function withUnits({ resource, scopeMetrics }: ResourceMetrics): ResourceMetrics {
  const named = (metric: MetricData): MetricData => {
    const { name, unit } = metric.descriptor
    return {
      ...metric,
      descriptor: { ...metric.descriptor, name: nameWithUnit(name, unit, isRatio(name)), unit: '' },
    }
  }
  return { resource, scopeMetrics: scopeMetrics.map(({ scope, metrics }) => ({ scope, metrics: metrics.map(named) })) }
}
