/** What flushes did since the start: how long inserts took, how large they were, how late events came, and why inserts were repeated. */
import type { MetricName } from './catalogue.ts'
import { FLUSH_BYTES, FLUSH_EVENTS, FLUSH_SECONDS, Histogram, LAG_SECONDS } from './histogram.ts'
import type { FlushedSegment, FlushTelemetry, InsertBatch, InsertTelemetry } from './telemetry.ts'
import type { OpenSpan, Tracing } from './tracing.ts'

/** Codes of failures that are told apart; ClickHouse has some hundreds. */
const RETRY_CODES_MAX = 50
const OTHER = '_OTHER'

/** See the head of this file. */
export class FlushTables {
  readonly inserted = new Histogram(FLUSH_SECONDS, { outcome: 'inserted' })
  readonly failed = new Histogram(FLUSH_SECONDS, { outcome: 'failed' })
  readonly batchEvents = new Histogram(FLUSH_EVENTS)
  readonly batchBytes = new Histogram(FLUSH_BYTES)
  readonly lag = new Histogram(LAG_SECONDS)
  /** By code of the failure. */
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

/** One segment on its way. */
export class Flush implements FlushTelemetry {
  readonly #tables: FlushTables
  readonly #segment: FlushedSegment
  readonly #tracing: Tracing | undefined
  readonly #span: OpenSpan | undefined
  #isStored = false

  constructor(tables: FlushTables, segment: FlushedSegment, tracing: Tracing | undefined) {
    this.#tables = tables
    this.#segment = segment
    this.#tracing = tracing
    this.#span = tracing?.flush(segment)
  }

  beginInsert({ rows, blockBytes, token }: InsertBatch): InsertTelemetry {
    const begunAt = performance.now()
    const span = this.#span && this.#tracing?.insert(this.#span.trace, rows, token)
    return {
      traceparent: span?.traceparent,
      end: (code) => {
        span?.end(code)
        const { inserted, failed, batchEvents, batchBytes } = this.#tables
        const histogram = code === undefined ? inserted : failed
        histogram.record((performance.now() - begunAt) / 1000)
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
    this.#isStored = true
    this.#tables.lag.record(Math.max(0, Date.now() - this.#segment.oldestAt) / 1000)
  }

  end(): void {
    this.#span?.end(this.#isStored ? undefined : 'given_up')
  }
}
