/**
 * Brings sealed segments from the log into ClickHouse, each as one insert under its own token, for ever until it is stored.
 *
 *     take a sealed segment ─ insert ─┬─ stored ─ release it
 *                                     └─ failed ─ wait ─ insert again: same bytes, token, settings
 *
 * - At most `inFlightMax` requests at once; while ClickHouse is away one alone, see `turns.ts`.
 * - A segment that has failed STUCK_FAILURES times gives its place to the next, so that what is behind it flows on, and is
 *   tried again beside the others. When every segment fails there are at most STUCK_SEGMENTS_MAX such, and the log waits.
 */
import assert from 'node:assert/strict'
import type { EventLog, SealedSegment } from '../log/event-log.ts'
import type { Logger } from '../telemetry/logger.ts'
import { type InsertTarget, insertNative, type StatementFailure } from './insert.ts'
import { Turns } from './turns.ts'

/** What a flusher is made from. */
export interface FlusherOptions {
  readonly log: EventLog
  readonly target: InsertTarget
  readonly logger: Logger
  /** Directory of the dead letters, made when it is needed. */
  readonly deadLettersDirectory: string
  /** Requests to ClickHouse at once. Default 2. */
  readonly inFlightMax?: number
  /** Longest wait after a first failure, and after many. Default 100 and 10,000. */
  readonly retryMinMs?: number
  readonly retryMaxMs?: number
}

/** The last failure; it stays after things are well again. */
export interface FlushError {
  /** See StatementFailure. */
  readonly code: string
  readonly message: string
  /** ms since 1970. */
  readonly at: number
}

/** State of the flusher for health and metrics. */
export interface FlusherStats {
  /** Requests on their way to ClickHouse. */
  readonly inFlight: number
  /** Segments that are taken from the log and not yet stored. */
  readonly segmentsHeld: number
  /** Of these, the ones that failed again and again, or hold what ClickHouse cannot read. */
  readonly segmentsStuck: number
  /** Since start; these only grow. */
  readonly insertedSegments: number
  readonly insertedRows: number
  readonly insertedBytes: number
  readonly retries: number
  /** Failures in a row of ClickHouse as a whole; 0 = it works. */
  readonly failuresInRow: number
  readonly lastError: FlushError | undefined
  /** ms since 1970. */
  readonly lastSuccessAt: number | undefined
}

interface Held {
  readonly segment: SealedSegment
  failures: number
  isStuck: boolean
}

const IN_FLIGHT_MAX = 2
const RETRY_MIN_MS = 100
const RETRY_MAX_MS = 10_000
const STUCK_FAILURES = 5
const STUCK_SEGMENTS_MAX = 4

/** Takes segments from the log until it is closed and empty, or `stop`; see the head of the file. */
export class Flusher {
  readonly #options: FlusherOptions
  readonly #turns: Turns
  readonly #retryMinMs: number
  readonly #retryMaxMs: number
  readonly #inFlightMax: number
  readonly #stopping = new AbortController()
  readonly #held = new Map<Held, Promise<void>>()
  #running: Promise<void> | undefined
  #wakeTaker: (() => void) | undefined
  #insertedSegments = 0
  #insertedRows = 0
  #insertedBytes = 0
  #retries = 0
  #lastError: FlushError | undefined
  #lastSuccessAt: number | undefined

  constructor(options: FlusherOptions) {
    this.#options = options
    this.#inFlightMax = options.inFlightMax ?? IN_FLIGHT_MAX
    this.#retryMinMs = options.retryMinMs ?? RETRY_MIN_MS
    this.#retryMaxMs = options.retryMaxMs ?? RETRY_MAX_MS
    this.#turns = new Turns({
      turnsMax: this.#inFlightMax,
      retryMinMs: this.#retryMinMs,
      retryMaxMs: this.#retryMaxMs,
    })
  }

  /** Begins to take segments; returns at once. */
  start(): void {
    assert(this.#running === undefined, 'started once')
    this.#running = this.#takeAll()
  }

  /**
   * Goes on until the log is empty or the deadline has come, then gives up what is on its way: it stays in the log. Close the log
   * first, so that it hands out what it has and then ends. Resolves when nothing is sent or read any more.
   */
  async stop(deadlineMs: number): Promise<void> {
    this.#turns.hurry()
    const deadline = setTimeout(() => this.#stopping.abort(), deadlineMs)
    await this.#running
    clearTimeout(deadline)
    this.#stopping.abort()
  }

  stats(): FlusherStats {
    return {
      inFlight: this.#turns.taken,
      segmentsHeld: this.#held.size,
      segmentsStuck: this.#stuckCount(),
      insertedSegments: this.#insertedSegments,
      insertedRows: this.#insertedRows,
      insertedBytes: this.#insertedBytes,
      retries: this.#retries,
      failuresInRow: this.#turns.failures,
      lastError: this.#lastError,
      lastSuccessAt: this.#lastSuccessAt,
    }
  }

  async #takeAll(): Promise<void> {
    const { signal } = this.#stopping
    const stopped = new Promise<undefined>((resolve) => {
      signal.addEventListener('abort', () => resolve(undefined), { once: true })
    })
    for (;;) {
      await this.#roomForOne()
      if (signal.aborted) break
      const segment = await Promise.race([this.#options.log.takeSealed(), stopped])
      if (segment === undefined) break
      const held: Held = { segment, failures: 0, isStuck: false }
      const stored = this.#store(held).finally(() => {
        this.#held.delete(held)
        this.#wakeTaker?.()
      })
      this.#held.set(held, stored)
    }
    await Promise.all(this.#held.values())
  }

  async #roomForOne(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const stuck = this.#stuckCount()
      const flowing = this.#held.size - stuck
      if (flowing < this.#inFlightMax && stuck <= STUCK_SEGMENTS_MAX) return
      await new Promise<void>((resolve) => {
        this.#wakeTaker = resolve
        this.#stopping.signal.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }

  #stuckCount(): number {
    let count = 0
    for (const held of this.#held.keys()) if (held.isStuck) count += 1
    return count
  }

  async #store(held: Held): Promise<void> {
    const { log } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted) {
      const failure = await this.#insert(held)
      if (signal.aborted && failure !== undefined) return
      if (failure === undefined) {
        await log.release(held.segment)
        return
      }
      this.#noteFailure(held, failure)
      await this.#turns.pause(this.#waitMs(held), signal)
      this.#retries += 1
    }
  }

  /** One try; undefined when the segment is stored. */
  async #insert(held: Held): Promise<StatementFailure | undefined> {
    const { log, target } = this.#options
    const { signal } = this.#stopping
    const { segment } = held
    const turn = await this.#turns.take(signal)
    if (turn === undefined) return { exceptionCode: undefined, code: 'aborted', message: 'stopping' }
    const result = await insertNative(target, {
      body: log.read(segment),
      bodyBytes: segment.blockBytes,
      token: segment.token,
      signal,
    })
    if (result.outcome === 'failed') {
      const isItsOwn = held.isStuck && result.failure.exceptionCode !== undefined
      turn.settle(isItsOwn || signal.aborted ? 'unclear' : 'badly')
      return result.failure
    }
    turn.settle('well')
    this.#insertedSegments += 1
    this.#insertedRows += segment.rows
    this.#insertedBytes += segment.blockBytes
    this.#lastSuccessAt = Date.now()
    return undefined
  }

  #noteFailure(held: Held, failure: StatementFailure): void {
    held.failures += 1
    this.#lastError = { code: failure.code, message: failure.message, at: Date.now() }
    if (held.failures >= STUCK_FAILURES && failure.exceptionCode !== undefined && !held.isStuck) {
      held.isStuck = true
      this.#wakeTaker?.()
    }
    // The first failures and then ever fewer of a long outage.
    if (!Number.isInteger(Math.log2(held.failures))) return
    const { token, rows } = held.segment
    const { code, message } = failure
    this.#options.logger.error({ token, rows, code, failures: held.failures, reason: message }, 'an insert failed')
  }

  /** Segments of their own trouble wait longer the more there are, so that ClickHouse is not asked more often for many than for one. */
  #waitMs(held: Held): number {
    if (!held.isStuck) return 0
    return Math.min(this.#retryMaxMs, this.#retryMinMs * 2 ** held.failures) * this.#stuckCount()
  }
}
