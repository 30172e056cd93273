/**
 * Brings sealed segments from the log into ClickHouse, each as one insert under its own token, for ever until it is stored.
 *
 *     take a sealed segment ─ insert ─┬─ stored ─ release it
 *                                     └─ failed ─ wait ─ insert again: same bytes, token, settings
 *
 * The one way out of that: records that ClickHouse cannot read become dead letters, and the others are stored without them. Which
 * these are is never told by the error of an insert, but found out in dry runs: `narrowing.ts` has the rule.
 *
 * - At most `inFlightMax` requests at once; while ClickHouse is away one alone, see `turns.ts`.
 * - A segment that has failed STUCK_FAILURES times gives its place to the next, so that what is behind it flows on, and is
 *   tried again beside the others. When every segment fails there are at most STUCK_SEGMENTS_MAX such, and the log waits.
 */
import assert from 'node:assert/strict'
import type { EventLog, SealedSegment } from '../log/event-log.ts'
import type { IsWanted } from '../log/sealed-queue.ts'
import type { Logger } from '../telemetry/logger.ts'
import { type FlushTelemetry, NOOP_TELEMETRY, type Telemetry } from '../telemetry/telemetry.ts'
import type { FlushError, FlusherStats } from './flusher-stats.ts'
import { type InsertTarget, insertNative, type StatementFailure } from './insert.ts'
import { insertBody } from './insert-body.ts'
import { type Part, Refusals, type Sending } from './refusals.ts'
import { asFailure, isItsOwn, isWorthAsking } from './retry-rules.ts'
import { Turns } from './turns.ts'

/** What a flusher is made from. */
export interface FlusherOptions {
  readonly log: EventLog
  /** Takes segments of these numbers only; the others are for other flushers. Default: all. */
  readonly isWanted?: IsWanted
  readonly target: InsertTarget
  readonly logger: Logger
  readonly telemetry?: Telemetry
  /** Directory of the dead letters, made when it is needed. */
  readonly deadLettersDirectory: string
  /** Requests to ClickHouse at once. Default 2. */
  readonly inFlightMax?: number
  /** Longest wait after a first failure, and after many. Default 100 and 10,000. */
  readonly retryMinMs?: number
  readonly retryMaxMs?: number
}

interface Held {
  readonly segment: SealedSegment
  readonly told: FlushTelemetry
  /** Undefined until it is known whether it was split before a restart. */
  sending: Sending | undefined
  /** Parts of it that are stored. */
  partsStored: number
  failures: number
  isStuck: boolean
  /** The last failure says nothing about ClickHouse as a whole, so this segment waits by itself. */
  isOwnTrouble: boolean
}

const IN_FLIGHT_MAX = 2
const RETRY_MIN_MS = 100
const RETRY_MAX_MS = 10_000
const STUCK_FAILURES = 5
const STUCK_AT_ONCE_MAX = 4
const STUCK_SEGMENTS_MAX = 16
const ABORTED: StatementFailure = { exceptionCode: undefined, code: 'aborted', message: 'stopping' }

/** Takes segments from the log until it is closed and empty, or `stop`; see the head of the file. */
export class Flusher {
  readonly #options: FlusherOptions
  readonly #telemetry: Telemetry
  readonly #turns: Turns
  readonly #refusals: Refusals
  readonly #retryMinMs: number
  readonly #retryMaxMs: number
  readonly #inFlightMax: number
  readonly #stopping = new AbortController()
  readonly #held = new Map<Held, Promise<void>>()
  #running: Promise<void> | undefined
  #wakeTaker: (() => void) | undefined
  /** From when on one more may be taken although many are stuck; performance.now(). */
  #oneMoreAt = 0
  #insertedSegments = 0
  #insertedRows = 0
  #insertedBytes = 0
  #retries = 0
  #lastError: FlushError | undefined
  #lastSuccessAt: number | undefined

  constructor(options: FlusherOptions) {
    this.#options = options
    this.#telemetry = options.telemetry ?? NOOP_TELEMETRY
    this.#inFlightMax = options.inFlightMax ?? IN_FLIGHT_MAX
    this.#retryMinMs = options.retryMinMs ?? RETRY_MIN_MS
    this.#retryMaxMs = options.retryMaxMs ?? RETRY_MAX_MS
    this.#turns = new Turns({
      turnsMax: this.#inFlightMax,
      retryMinMs: this.#retryMinMs,
      retryMaxMs: this.#retryMaxMs,
    })
    const { log, target, logger, deadLettersDirectory: directory } = options
    const { signal } = this.#stopping
    const pauseMs = this.#retryMaxMs
    this.#refusals = new Refusals({ log, target, logger, directory, turns: this.#turns, pauseMs, signal })
  }

  /** Begins to take segments; returns at once. */
  start(): void {
    assert(this.#running === undefined, 'started once')
    void asFailure(() => this.#refusals.tidy().then(() => undefined))
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
      ...this.#refusals.stats(),
      lastError: this.#lastError,
      lastSuccessAt: this.#lastSuccessAt,
    }
  }

  async #takeAll(): Promise<void> {
    const { signal } = this.#stopping
    const stopped = new Promise<undefined>((resolve) => {
      const stop = () => {
        resolve(undefined)
        this.#wakeTaker?.()
      }
      signal.addEventListener('abort', stop, { once: true })
    })
    for (;;) {
      await this.#roomForOne()
      if (signal.aborted) break
      const segment = await Promise.race([this.#options.log.takeSealed(this.#options.isWanted), stopped])
      if (segment === undefined) break
      const held: Held = {
        segment,
        told: this.#telemetry.beginFlush(segment),
        sending: undefined,
        partsStored: 0,
        failures: 0,
        isStuck: false,
        isOwnTrouble: false,
      }
      const stored = this.#store(held).finally(() => {
        this.#held.delete(held)
        held.told.end()
        this.#wakeTaker?.()
      })
      this.#held.set(held, stored)
    }
    await Promise.all(this.#held.values())
  }

  async #roomForOne(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const stuck = this.#stuckCount()
      const hasRoom = this.#held.size - stuck < this.#inFlightMax && stuck < STUCK_SEGMENTS_MAX
      const waitMs = stuck < STUCK_AT_ONCE_MAX ? 0 : this.#oneMoreAt - performance.now()
      if (hasRoom && waitMs <= 0) {
        this.#oneMoreAt = performance.now() + this.#retryMaxMs
        return
      }
      await new Promise<void>((resolve) => {
        const timer = hasRoom ? setTimeout(resolve, waitMs) : undefined
        this.#wakeTaker = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  #stuckCount(): number {
    let count = 0
    for (const held of this.#held.keys()) if (held.isStuck) count += 1
    return count
  }

  async #store(held: Held): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      held.isOwnTrouble = true
      const failure = await asFailure(() => this.#advance(held))
      if (failure === undefined || signal.aborted) return
      this.#noteFailure(held, failure)
      if (isAsWhole(held) && isWorthAsking(held.failures, failure) && (await this.#investigate(held))) continue
      await this.#turns.pause(this.#waitMs(held), signal)
      this.#retries += 1
      held.told.retry(failure.code)
    }
  }

  /** Sends what is left of a segment and releases it; returns what kept it from that. */
  async #advance(held: Held): Promise<StatementFailure | undefined> {
    const { segment } = held
    held.sending ??= await this.#refusals.sendingOf(segment)
    const { parts, plan } = held.sending
    for (const part of parts.slice(held.partsStored)) {
      const failure = await this.#insert(held, part)
      if (failure !== undefined) return failure
      held.partsStored += 1
    }
    held.told.stored()
    await this.#options.log.release(segment)
    this.#insertedSegments += 1
    this.#oneMoreAt = 0
    if (plan !== undefined) await asFailure(() => this.#refusals.finish(plan).then(() => undefined))
    return undefined
  }

  /** Asks ClickHouse what of a segment it can read. True when it goes on in another way from here. */
  async #investigate(held: Held): Promise<boolean> {
    this.#markStuck(held)
    let found: Sending | 'readable' | 'unclear' = 'unclear'
    const failure = await asFailure(async () => {
      found = await this.#refusals.investigate(held.segment)
      return undefined
    })
    if (failure !== undefined) this.#noteFailure(held, failure)
    if (typeof found === 'string') return false
    held.sending = found
    held.failures = 0
    return true
  }

  /** One try; undefined when the part is stored. */
  async #insert(held: Held, part: Part): Promise<StatementFailure | undefined> {
    const { log, target } = this.#options
    const { signal } = this.#stopping
    const body = await insertBody(log, held.segment, part.records)
    const turn = await this.#turns.take(signal)
    if (turn === undefined) return ABORTED
    const told = held.told.beginInsert(part)
    const result = await insertNative(target, {
      body: body.chunks,
      bodyBytes: body.bytes,
      token: part.token,
      traceparent: told.traceparent,
      signal,
    })
    told.end(result.outcome === 'failed' ? result.failure.code : undefined)
    if (result.outcome === 'failed') {
      held.isOwnTrouble = isItsOwn(held.isStuck, result.failure)
      turn.settle(signal.aborted || held.isOwnTrouble ? 'unclear' : 'badly')
      return result.failure
    }
    turn.settle('well')
    body.release()
    this.#insertedRows += part.rows
    this.#insertedBytes += part.blockBytes
    this.#lastSuccessAt = Date.now()
    return undefined
  }

  #noteFailure(held: Held, failure: StatementFailure): void {
    held.failures += 1
    this.#lastError = { code: failure.code, message: failure.message, at: Date.now() }
    if (held.failures >= STUCK_FAILURES && (held.isOwnTrouble || failure.exceptionCode !== undefined))
      this.#markStuck(held)
    // The first failures and then ever fewer of a long outage.
    if (!Number.isInteger(Math.log2(held.failures))) return
    const { token, rows } = held.segment
    const { code, message } = failure
    this.#options.logger.error({ token, rows, code, failures: held.failures, reason: message }, 'an insert failed')
  }

  #markStuck(held: Held): void {
    held.isStuck = true
    this.#wakeTaker?.()
  }

  /** Segments of their own trouble wait longer the more there are, so that ClickHouse is not asked more often for many than for one. */
  #waitMs(held: Held): number {
    if (!held.isOwnTrouble) return 0
    return Math.min(this.#retryMaxMs, this.#retryMinMs * 2 ** held.failures) * Math.max(1, this.#stuckCount())
  }
}

/** Not split: its records may be looked at one by one. */
function isAsWhole(held: Held): boolean {
  return held.sending !== undefined && held.sending.plan === undefined
}
