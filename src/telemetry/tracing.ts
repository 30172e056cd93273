/**
 * Spans: request → commit → flush → insert. A commit is a child of the first sampled request whose events are in it, and linked to all
 * of them; a flush the same to the commits in its segment; an insert is a child of its flush, and ClickHouse hears of it.
 *
 * Whether a request is sampled is decided here, before the SDK is asked: a span that is not sampled costs it 2 µs. Loaded only when traces
 * are sent somewhere.
 */
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import type { Sampling } from '../otel-variables.ts'
import type { FlushedSegment, Trace } from './telemetry.ts'
import { formatTraceparent, parseTraceContext } from './trace-context.ts'

/** Decides for a trace id that came from elsewhere as others decide for it. */
export type TraceIdRatio = (traceId: string) => boolean

/** A sampled span. */
export interface OpenSpan {
  readonly trace: Trace
  /** For the header of that name, of a request that it makes. */
  readonly traceparent: string
  set(attributes: Attributes): void
  /** @param errorType why it went wrong, when it did */
  end(errorType?: string): void
}

/** What a request span begins with. */
export interface RequestFacts {
  readonly name: string
  readonly attributes: Attributes
}

/** See the head of this file. */
export class Tracing {
  readonly #tracer: Tracer
  readonly #sampling: Sampling
  readonly #isInRatio: TraceIdRatio

  /** @param tracer one that samples everything */
  constructor(tracer: Tracer, sampling: Sampling, isInRatio: TraceIdRatio) {
    this.#tracer = tracer
    this.#sampling = sampling
    this.#isInRatio = isInRatio
  }

  /** Undefined when it is not sampled. */
  request(headers: Headers, { name, attributes }: RequestFacts): OpenSpan | undefined {
    const parent = parseTraceContext(headers)
    if (!this.#isSampled(parent)) return undefined
    return new Recording(this.#tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, contextOf(parent)))
  }

  /** A message of a stream: each is sampled by itself, since a stream may be open for days. */
  message(attributes: Attributes): OpenSpan | undefined {
    if (!this.#isSampled(undefined)) return undefined
    return new Recording(this.#tracer.startSpan('message', { kind: SpanKind.SERVER, attributes }, ROOT_CONTEXT))
  }

  commit(rows: number, requests: readonly Trace[]): OpenSpan | undefined {
    return this.#linked('commit', requests, { 'penstock.commit.events': rows })
  }

  flush({ number, rows, blockBytes, traces }: FlushedSegment): OpenSpan | undefined {
    return this.#linked('flush', traces, {
      'penstock.segment.number': number,
      'penstock.flush.events': rows,
      'penstock.flush.size': blockBytes,
    })
  }

  insert(flush: Trace, rows: number, token: string): OpenSpan {
    const attributes = {
      'db.system.name': 'clickhouse',
      'db.operation.name': 'INSERT',
      'db.collection.name': 'events',
      'db.operation.batch.size': rows,
      'penstock.insert.token': token,
    }
    return new Recording(
      this.#tracer.startSpan('INSERT events', { kind: SpanKind.CLIENT, attributes }, contextOf(flush)),
    )
  }

  #linked(name: string, traces: readonly Trace[], attributes: Attributes): OpenSpan | undefined {
    const [first] = traces
    if (first === undefined) return undefined
    const links = traces.map((context) => ({ context }))
    return new Recording(this.#tracer.startSpan(name, { attributes, links }, contextOf(first)))
  }

  #isSampled(parent: SpanContext | undefined): boolean {
    const { isParentBased, ratio } = this.#sampling
    if (parent === undefined) return Math.random() < ratio
    return isParentBased ? (parent.traceFlags & TraceFlags.SAMPLED) !== 0 : this.#isInRatio(parent.traceId)
  }
}

class Recording implements OpenSpan {
  readonly trace: Trace
  readonly #span: Span

  constructor(span: Span) {
    this.#span = span
    this.trace = span.spanContext()
  }

  get traceparent(): string {
    return formatTraceparent(this.trace)
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(attributes)
  }

  end(errorType?: string): void {
    if (errorType !== undefined) {
      this.#span.setAttribute('error.type', errorType)
      this.#span.setStatus({ code: SpanStatusCode.ERROR })
    }
    this.#span.end()
  }
}

function contextOf(parent: SpanContext | undefined): Context {
  return parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent)
}
