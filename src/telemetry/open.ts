/**
 * The telemetry of one collector: what is told on the path of an event (`telemetry`), and who reads it: Prometheus at `/metrics`, and whoever
 * is at OTEL_EXPORTER_OTLP_ENDPOINT.
 */
import type { Resource } from '@opentelemetry/resources'
import { version } from '../../package.json'
import type { Config } from '../config.ts'
import type { Otel } from '../otel-variables.ts'
import { singleFlight } from '../single-flight.ts'
import { withTimeout } from '../timeout.ts'
import { DependencyWatch } from './dependency-watch.ts'
import { EventCounts } from './event-counts.ts'
import { EventLoopMonitor } from './event-loop.ts'
import { BoundedKeyCounts, NO_KEY_COUNTS } from './key-counts.ts'
import { LiveTelemetry } from './live.ts'
import type { Logger } from './logger.ts'
import type { MetricSource } from './metrics.ts'
import type { Otlp } from './otlp.ts'
import { ofProcess, type Reading, readings, type Sources } from './readings.ts'
import { NOOP_TELEMETRY, type Telemetry } from './telemetry.ts'

export interface OpenTelemetry {
  /** For whoever is on the path of an event. */
  readonly telemetry: Telemetry
  /** For the pipeline. */
  readonly counts: EventCounts
  /** Tells what there is to be measured, as soon as all of it is there. */
  watch(sources: Sources): void
  /** All metrics, as Prometheus reads them. However many ask at one time, they are collected once. */
  scrape(): Promise<string>
  /** Sends what is left; false when that was not done at the deadline. */
  stop(deadlineMs: number): Promise<boolean>
}

const NOTHING_TO_TELL = '# telemetry is switched off (OTEL_SDK_DISABLED)\n'

/** See the head of this file. Begins to send to where the configuration says. */
export async function openTelemetry({ metricsPerKey, otel }: Config, logger: Logger): Promise<OpenTelemetry> {
  for (const warning of otel.warnings) logger.warn(warning)
  if (otel.disabled) return { ...OFF, counts: new EventCounts() }
  const live = new Live(new EventCounts(metricsPerKey ? new BoundedKeyCounts() : NO_KEY_COUNTS))
  if (otel.metrics !== undefined || otel.traces !== undefined) await live.send(otel, logger)
  return live
}

const OFF: Omit<OpenTelemetry, 'counts'> = {
  telemetry: NOOP_TELEMETRY,
  watch: () => undefined,
  scrape: () => Promise.resolve(NOTHING_TO_TELL),
  stop: () => Promise.resolve(true),
}

class Live implements OpenTelemetry {
  readonly telemetry = new LiveTelemetry()
  readonly counts: EventCounts
  readonly #instanceId = crypto.randomUUID()
  #sources: Sources | undefined
  #dependencies = new DependencyWatch(() => Promise.resolve({}))
  #otlp: Otlp | undefined
  #scraper: Promise<() => Promise<string>> | undefined

  constructor(counts: EventCounts) {
    this.counts = counts
  }

  async send(otel: Otel, logger: Logger): Promise<void> {
    const { startOtlp } = await import('./otlp.ts')
    this.#otlp = startOtlp(otel, this.#source(), await this.#resource(), logger)
    this.telemetry.tracing = this.#otlp.tracing
  }

  watch(sources: Sources): void {
    this.#sources = sources
    this.#dependencies = new DependencyWatch(sources.dependencies)
  }

  readonly scrape = singleFlight(() => this.#scrape())

  async stop(deadlineMs: number): Promise<boolean> {
    if (this.#otlp === undefined) return true
    return withTimeout(this.#otlp.stop(), deadlineMs).then(
      () => true,
      () => false,
    )
  }

  async #scrape(): Promise<string> {
    this.#scraper ??= this.#makeScraper()
    return (await this.#scraper)()
  }

  /** The SDK takes 60 ms to load, which nobody has to wait for at the start. */
  async #makeScraper(): Promise<() => Promise<string>> {
    const { prometheusScraper } = await import('./prometheus.ts')
    return prometheusScraper(this.#source(), await this.#resource())
  }

  async #resource(): Promise<Resource> {
    const { collectorResource } = await import('./resource.ts')
    return collectorResource(version, this.#instanceId)
  }

  /** For one reader: what it reads of the event loop is since its own last look. */
  #source(): MetricSource {
    const eventLoop = new EventLoopMonitor()
    return {
      read: async () => {
        const found: Reading[] = [...ofProcess(eventLoop.read()), ...this.telemetry.readings()]
        if (this.#sources !== undefined) found.push(...readings(this.#sources, await this.#dependencies.read()))
        return found
      },
      histograms: () => this.telemetry.histograms(),
    }
  }
}
