/**
 * Telemetry as it is unless OTEL_SDK_DISABLED: plain tables that are filled on the path of an event and read by `metrics.ts`, and spans of
 * requests that are sampled. Nothing of the OpenTelemetry SDK is loaded before somebody asks for metrics or they are to be sent somewhere.
 */
import type { CommitOutcome } from '../log/event-log.ts'
import { ERROR_TYPE, type MetricName } from './catalogue.ts'
import { Flush, FlushTables } from './flush-tables.ts'
import { COMMIT_EVENTS, COMMIT_SECONDS, Histogram, REQUEST_SECONDS } from './histogram.ts'
import type { Reading } from './readings.ts'
import {
  type CommitTelemetry,
  type FlushedSegment,
  type FlushTelemetry,
  type Identity,
  type MessageTelemetry,
  NOOP_MESSAGE,
  type RequestTelemetry,
  type RouteTelemetry,
  type Telemetry,
  type Trace,
} from './telemetry.ts'
import type { OpenSpan, Tracing } from './tracing.ts'

/** From here on an answer is the server's fault. */
const SERVER_ERROR = 500

/** See the head of this file. */
export class LiveTelemetry implements Telemetry {
  /** Undefined until traces are sent somewhere. */
  tracing: Tracing | undefined
  readonly #routes = new Map<string, Route>()
  readonly #commitSeconds = new Histogram(COMMIT_SECONDS)
  readonly #commitEvents = new Histogram(COMMIT_EVENTS)
  readonly #flushes = new FlushTables()

  route(method: string, path: string): RouteTelemetry {
    const name = `${method} ${path}`
    const known = this.#routes.get(name)
    if (known !== undefined) return known
    const route = new Route(this, method, path)
    this.#routes.set(name, route)
    return route
  }

  beginMessage(): MessageTelemetry {
    const span = this.tracing?.message({ 'network.protocol.name': 'websocket' })
    if (span === undefined) return NOOP_MESSAGE
    return {
      trace: span.trace,
      end: (whose, refusal) => {
        span.set(attributesOf(whose))
        span.end(refusal)
      },
    }
  }

  beginCommit(rows: number, requests: readonly Trace[]): CommitTelemetry {
    const begunAt = performance.now()
    const span = requests.length === 0 ? undefined : this.tracing?.commit(rows, requests)
    return {
      trace: span?.trace,
      end: (outcome: CommitOutcome) => {
        span?.end(outcome === 'durable' ? undefined : outcome)
        this.#commitSeconds.record((performance.now() - begunAt) / 1000)
        this.#commitEvents.record(rows)
      },
    }
  }

  beginFlush(segment: FlushedSegment): FlushTelemetry {
    return new Flush(this.#flushes, segment, this.tracing)
  }

  /** What is counted here and nowhere else. */
  *readings(): Iterable<Reading> {
    for (const [code, retries] of this.#flushes.retries)
      yield ['penstock.flush.retries', retries, { [ERROR_TYPE]: code }]
  }

  /** Every histogram with its values. */
  *histograms(): Iterable<readonly [MetricName, Iterable<Histogram>]> {
    yield ['http.server.request.duration', [...this.#routes.values()].flatMap((route) => [...route.seconds.values()])]
    yield ['penstock.commit.duration', [this.#commitSeconds]]
    yield ['penstock.commit.events', [this.#commitEvents]]
    yield* this.#flushes.histograms()
  }
}

/** Of one method and route. */
class Route implements RouteTelemetry {
  /** By status. */
  readonly seconds = new Map<number, Histogram>()
  readonly #telemetry: LiveTelemetry
  readonly #name: string
  readonly #attributes: { readonly 'http.request.method': string; readonly 'http.route': string }

  constructor(telemetry: LiveTelemetry, method: string, path: string) {
    this.#telemetry = telemetry
    this.#name = `${method} ${path}`
    this.#attributes = { 'http.request.method': method, 'http.route': path }
  }

  begin(headers?: Headers): RequestTelemetry {
    const { tracing } = this.#telemetry
    const span =
      headers === undefined || tracing === undefined
        ? undefined
        : tracing.request(headers, { name: this.#name, attributes: this.#attributes })
    return new Request(this, span)
  }

  record(status: number, seconds: number): void {
    let histogram = this.seconds.get(status)
    if (histogram === undefined) {
      histogram = new Histogram(REQUEST_SECONDS, { ...this.#attributes, 'http.response.status_code': status })
      this.seconds.set(status, histogram)
    }
    histogram.record(seconds)
  }
}

class Request implements RequestTelemetry {
  readonly #route: Route
  readonly #span: OpenSpan | undefined
  readonly #begunAt = performance.now()

  constructor(route: Route, span: OpenSpan | undefined) {
    this.#route = route
    this.#span = span
  }

  get trace(): Trace | undefined {
    return this.#span?.trace
  }

  end(status: number, whose?: Identity): void {
    this.#route.record(status, (performance.now() - this.#begunAt) / 1000)
    if (this.#span === undefined) return
    this.#span.set({ 'http.response.status_code': status, ...attributesOf(whose) })
    this.#span.end(status >= SERVER_ERROR ? String(status) : undefined)
  }
}

function attributesOf(whose: Identity | undefined) {
  if (whose === undefined) return {}
  const { requestId, key } = whose
  return {
    'penstock.request.id': requestId,
    ...(key === undefined ? {} : { 'penstock.tenant': key.tenantId, 'penstock.workspace': key.workspaceId }),
  }
}
