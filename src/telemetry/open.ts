/**
 * The telemetry of one collector: what is told on the path of an event (`telemetry`), and who reads it: Prometheus at `/metrics`.
 */
import type { Resource } from '@opentelemetry/resources'
import { version } from '../../package.json'
import type { Config } from '../config.ts'
import { DependencyWatch } from './dependency-watch.ts'
import { EventCounts } from './event-counts.ts'
import { EventLoopMonitor } from './event-loop.ts'
import { BoundedKeyCounts, NO_KEY_COUNTS } from './key-counts.ts'
import { LiveTelemetry } from './live.ts'
import type { MetricSource } from './metrics.ts'
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
  stop(): void
}

const NOTHING_TO_TELL = '# telemetry is switched off (OTEL_SDK_DISABLED)\n'

/** See the head of this file. */
export function openTelemetry({ metricsPerKey, otel }: Config): OpenTelemetry {
  const counts = new EventCounts(metricsPerKey && !otel.disabled ? new BoundedKeyCounts() : NO_KEY_COUNTS)
  if (otel.disabled) {
    const scrape = () => Promise.resolve(NOTHING_TO_TELL)
    return { telemetry: NOOP_TELEMETRY, counts, watch: () => undefined, scrape, stop: () => undefined }
  }
  return new Live(counts)
}

class Live implements OpenTelemetry, MetricSource {
  readonly telemetry = new LiveTelemetry()
  readonly counts: EventCounts
  readonly #eventLoop = new EventLoopMonitor()
  readonly #instanceId = crypto.randomUUID()
  #sources: Sources | undefined
  #dependencies = new DependencyWatch(() => Promise.resolve({}))
  #scraper: Promise<() => Promise<string>> | undefined
  #scraping: Promise<string> | undefined

  constructor(counts: EventCounts) {
    this.counts = counts
  }

  watch(sources: Sources): void {
    this.#sources = sources
    this.#dependencies = new DependencyWatch(sources.dependencies)
  }

  scrape(): Promise<string> {
    this.#scraping ??= this.#scrape().finally(() => {
      this.#scraping = undefined
    })
    return this.#scraping
  }

  async #scrape(): Promise<string> {
    this.#scraper ??= this.#makeScraper()
    return (await this.#scraper)()
  }

  /** The SDK takes 60 ms to load, which nobody has to wait for at the start. */
  async #makeScraper(): Promise<() => Promise<string>> {
    const { prometheusScraper } = await import('./prometheus.ts')
    return prometheusScraper(this, await this.#resource())
  }

  async #resource(): Promise<Resource> {
    const { collectorResource } = await import('./resource.ts')
    return collectorResource(version, this.#instanceId)
  }

  async read(): Promise<Iterable<Reading>> {
    const found: Reading[] = [...ofProcess(this.#eventLoop.read()), ...this.telemetry.readings()]
    if (this.#sources !== undefined) found.push(...readings(this.#sources, await this.#dependencies.read()))
    return found
  }

  histograms() {
    return this.telemetry.histograms()
  }

  stop(): void {
    this.#eventLoop.stop()
  }
}
