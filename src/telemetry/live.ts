/**
 * Telemetry as it is unless OTEL_SDK_DISABLED: plain tables that are filled on the path of an event, and read by `metrics.ts`. Nothing
 * of the OpenTelemetry SDK is loaded before somebody asks for metrics or they are to be sent somewhere.
 */

import type { CommitOutcome } from '../log/event-log.ts'
import { ERROR_TYPE, type MetricName } from './catalogue.ts'
import {
  COMMIT_EVENTS,
  COMMIT_SECONDS,
  FLUSH_BYTES,
  FLUSH_EVENTS,
  FLUSH_SECONDS,
  Histogram,
  LAG_SECONDS,
  REQUEST_SECONDS,
} from './histogram.ts'
import type { Reading } from './readings.ts'
import type {
  CommitTelemetry,
  FlushedSegment,
  FlushTelemetry,
  InsertTelemetry,
  RequestTelemetry,
  RouteTelemetry,
  Telemetry,
  Trace,
} from './telemetry.ts'

/** Codes of failures that are told apart; ClickHouse has some hundreds. */
const RETRY_CODES_MAX = 50
const OTHER = '_OTHER'

/** See the head of this file. */
export class LiveTelemetry implements Telemetry {
  readonly #routes = new Map<string, Route>()
  readonly #commitSeconds = new Histogram(COMMIT_SECONDS)
  readonly #commitEvents = new Histogram(COMMIT_EVENTS)
  readonly flushes = new FlushTables()

  route(method: string, path: string): RouteTelemetry {
    const name = `${method} ${path}`
    const known = this.#routes.get(name)
    if (known !== undefined) return known
    const route = new Route(method, path)
    this.#routes.set(name, route)
    return route
  }

  beginCommit(rows: number, _requests: readonly Trace[]): CommitTelemetry {
    const begunAt = performance.now()
    return {
      trace: undefined,
      end: (_outcome: CommitOutcome) => {
        this.#commitSeconds.record((performance.now() - begunAt) / 1000)
        this.#commitEvents.record(rows)
      },
    }
  }

  beginFlush(segment: FlushedSegment): FlushTelemetry {
    return new Flush(this.flushes, segment)
  }

  /** What is counted here and nowhere else. */
  *readings(): Iterable<Reading> {
    for (const [code, retries] of this.flushes.retries)
      yield ['penstock.flush.retries', retries, { [ERROR_TYPE]: code }]
  }

  /** Every histogram with its values. */
  *histograms(): Iterable<readonly [MetricName, Iterable<Histogram>]> {
    yield ['http.server.request.duration', [...this.#routes.values()].flatMap((route) => [...route.seconds.values()])]
    yield ['penstock.commit.duration', [this.#commitSeconds]]
    yield ['penstock.commit.events', [this.#commitEvents]]
    yield* this.flushes.histograms()
  }
}

/** Of one method and route. */
class Route implements RouteTelemetry {
  /** By status. */
  readonly seconds = new Map<number, Histogram>()
  readonly #method: string
  readonly #path: string

  constructor(method: string, path: string) {
    this.#method = method
    this.#path = path
  }

  begin(_headers?: Headers): RequestTelemetry {
    return new Request(this)
  }

  record(status: number, seconds: number): void {
    let histogram = this.seconds.get(status)
    if (histogram === undefined) {
      histogram = new Histogram(REQUEST_SECONDS, {
        'http.request.method': this.#method,
        'http.route': this.#path,
        'http.response.status_code': status,
      })
      this.seconds.set(status, histogram)
    }
    histogram.record(seconds)
  }
}

class Request implements RequestTelemetry {
  readonly trace: Trace | undefined = undefined
  readonly #route: Route
  readonly #begunAt = performance.now()

  constructor(route: Route) {
    this.#route = route
  }

  end(status: number): void {
    this.#route.record(status, (performance.now() - this.#begunAt) / 1000)
  }
}

/** Of all flushes. */
class FlushTables {
  readonly inserted = new Histogram(FLUSH_SECONDS, { outcome: 'inserted' })
  readonly failed = new Histogram(FLUSH_SECONDS, { outcome: 'failed' })
  readonly batchEvents = new Histogram(FLUSH_EVENTS)
  readonly batchBytes = new Histogram(FLUSH_BYTES)
  readonly lag = new Histogram(LAG_SECONDS)
  /** Retries, by code of the failure. */
  readonly retries = new Map<string, number>()

  retry(code: string): void {
    const kept = this.retries.has(code) || this.retries.size < RETRY_CODES_MAX ? code : OTHER
    this.retries.set(kept, (this.retries.get(kept) ?? 0) + 1)
  }

  *histograms(): Iterable<readonly [MetricName, Iterable<Histogram>]> {
    yield ['penstock.flush.duration', [this.inserted, this.failed]]
    yield ['penstock.flush.batch.events', [this.batchEvents]]
    yield ['penstock.flush.batch.size', [this.batchBytes]]
    yield ['penstock.event.lag', [this.lag]]
  }
}

class Flush implements FlushTelemetry {
  readonly #tables: FlushTables
  readonly #segment: FlushedSegment

  constructor(tables: FlushTables, segment: FlushedSegment) {
    this.#tables = tables
    this.#segment = segment
  }

  beginInsert({ rows, blockBytes }: { readonly rows: number; readonly blockBytes: number }): InsertTelemetry {
    const begunAt = performance.now()
    return {
      traceparent: undefined,
      end: (code) => {
        const seconds = (performance.now() - begunAt) / 1000
        const { inserted, failed, batchEvents, batchBytes } = this.#tables
        const histogram = code === undefined ? inserted : failed
        histogram.record(seconds)
        if (code !== undefined) return
        batchEvents.record(rows)
        batchBytes.record(blockBytes)
      },
    }
  }

  retry(code: string): void {
    this.#tables.retry(code)
  }

  stored(): void {
    this.#tables.lag.record(Math.max(0, Date.now() - this.#segment.oldestAt) / 1000)
  }

  end(): void {}
}
