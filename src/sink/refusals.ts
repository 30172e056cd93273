/**
 * What is done about segments that ClickHouse does not take: asks it which records it cannot read (`narrowing.ts`), and then, in
 * this order, each step on disk before the next: the plan of what is sent, the refused records as dead letters. The parts are
 * sent after that. A crash anywhere in between goes on from the plan.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { EventLog, RecordPosition, SealedSegment } from '../log/event-log.ts'
import type { Logger } from '../telemetry/logger.ts'
import { DeadLetters } from './dead-letters.ts'
import { controlBody, type DryRun, type DryRunBody, prepareDryRun } from './dry-run.ts'
import type { InsertTarget, StatementFailure } from './insert.ts'
import { narrow, type Reader } from './narrowing.ts'
import { partToken, planOf, type SplitPlan, SplitPlans } from './split-plans.ts'
import type { Turns } from './turns.ts'

/** One insert: the records, and their token. */
export interface Part {
  readonly token: string
  readonly records: readonly RecordPosition[]
  readonly rows: number
  readonly blockBytes: number
}

/** How a segment is sent. */
export interface Sending {
  readonly parts: readonly Part[]
  /** Undefined: as a whole under its own token. */
  readonly plan: SplitPlan | undefined
}

/** What it works with; `signal` ends the search. */
export interface RefusalsOptions {
  readonly log: EventLog
  readonly target: InsertTarget
  readonly logger: Logger
  readonly directory: string
  readonly turns: Turns
  /** Between two looks at what may pass, in milliseconds. */
  readonly pauseMs: number
  readonly signal: AbortSignal
}

/** See the head of the file. All methods throw the file system's errors. */
export class Refusals {
  readonly #options: RefusalsOptions
  readonly #deadLetters: DeadLetters
  readonly #plans: SplitPlans
  #refusedRecords = 0
  #refusedRows = 0

  constructor(options: RefusalsOptions) {
    this.#options = options
    this.#deadLetters = new DeadLetters(options.directory)
    this.#plans = new SplitPlans(options.directory)
  }

  /** `deadLetters`: files there are now. The others count since start. */
  stats(): { readonly deadLetters: number; readonly refusedRecords: number; readonly refusedRows: number } {
    return {
      deadLetters: this.#deadLetters.count(),
      refusedRecords: this.#refusedRecords,
      refusedRows: this.#refusedRows,
    }
  }

  /** Removes what earlier runs left and nobody needs. */
  tidy(): Promise<void> {
    return this.#plans.tidy()
  }

  /** As a whole, or as it was decided before a restart. */
  async sendingOf(segment: SealedSegment): Promise<Sending> {
    const found = await this.#plans.find(segment.token)
    if (found === undefined) {
      const { token, records, rows, blockBytes } = segment
      return { parts: [{ token, records, rows, blockBytes }], plan: undefined }
    }
    if (!found.isDone) await this.#keepRefused(segment, found.plan)
    return sendingBy(found.plan, segment)
  }

  /** Looks for what ClickHouse cannot read. `readable`: it can read it all. `unclear`: not known now. */
  async investigate(segment: SealedSegment): Promise<Sending | 'readable' | 'unclear'> {
    const { logger, signal } = this.#options
    const dryRun = await this.#prepare()
    if (dryRun === undefined) return 'unclear'
    const result = await narrow(segment.records, this.#reader(segment, dryRun))
    if (result === 'unclear' && !signal.aborted) {
      logger.warn({ token: segment.token }, 'not clear which events ClickHouse cannot read: all are tried again')
    }
    if (result === 'readable' || result === 'unclear') return result
    const plan = planOf(segment, result)
    await this.#plans.keep(plan)
    await this.#keepRefused(segment, plan)
    return sendingBy(plan, segment)
  }

  /** The segment is released. */
  finish(plan: SplitPlan): Promise<void> {
    return this.#plans.finish(plan)
  }

  async #prepare(): Promise<DryRun | undefined> {
    const { target, signal, turns, logger } = this.#options
    const turn = await turns.take(signal)
    if (turn === undefined) return undefined
    const dryRun = await prepareDryRun(target, signal)
    turn.settle('unclear')
    if (typeof dryRun === 'function') return dryRun
    if (!signal.aborted) logger.warn(dryRun.failure, 'the columns of the events table could not be asked for')
    return undefined
  }

  #reader(segment: SealedSegment, dryRun: DryRun): Reader {
    const { log, signal, logger } = this.#options
    return {
      read: (records) => {
        const bodyBytes = records.reduce((sum, record) => sum + record.byteLength, 0)
        return this.#run(dryRun, { body: log.read(segment, records), bodyBytes })
      },
      control: async (bytesMin) => {
        const control = controlBody(bytesMin)
        while (!signal.aborted) {
          const failure = await this.#run(dryRun, control)
          if (failure === undefined) return 'good'
          if (failure.exceptionCode === undefined) continue
          logger.warn(failure, 'ClickHouse does not even read a good block: nothing is refused')
          return 'bad'
        }
        return 'gone'
      },
      pause: () => sleep(this.#options.pauseMs, undefined, { signal }).catch(() => undefined),
    }
  }

  /** One dry run in turn. Its success says nothing about inserts; no answer means that ClickHouse is away. */
  async #run(dryRun: DryRun, body: DryRunBody): Promise<StatementFailure | undefined> {
    const { turns, signal } = this.#options
    const turn = await turns.take(signal)
    if (turn === undefined) return { exceptionCode: undefined, code: 'aborted', message: 'stopping' }
    const failure = await dryRun(body, signal)
    const isAway = failure !== undefined && failure.exceptionCode === undefined && failure.code !== 'body_failed'
    turn.settle(isAway && !signal.aborted ? 'badly' : 'unclear')
    return failure
  }

  async #keepRefused(segment: SealedSegment, plan: SplitPlan): Promise<void> {
    const { log, logger, target } = this.#options
    const { shard } = target
    for (const { ordinal, code, message } of plan.refused) {
      const record = segment.records.find((candidate) => candidate.ordinal === ordinal)
      if (record === undefined) continue
      const chunks: Uint8Array[] = []
      for await (const chunk of log.read(segment, [record])) chunks.push(chunk.slice())
      const { rows } = record
      const block = Buffer.concat(chunks)
      const name = await this.#deadLetters.keep({
        segmentToken: segment.token,
        ordinal,
        rows,
        code,
        message,
        block,
        shard,
      })
      this.#refusedRecords += 1
      this.#refusedRows += rows
      logger.error({ dead_letter: name, rows, code, reason: message }, 'ClickHouse cannot read these events: set aside')
    }
  }
}

function sendingBy(plan: SplitPlan, segment: SealedSegment): Sending {
  const parts = plan.parts.map((runs): Part => {
    const records = segment.records.filter(({ ordinal }) =>
      runs.some(([first, last]) => first <= ordinal && ordinal <= last),
    )
    return {
      token: partToken(segment.token, runs),
      records,
      rows: records.reduce((sum, record) => sum + record.rows, 0),
      blockBytes: records.reduce((sum, record) => sum + record.byteLength, 0),
    }
  })
  return { parts: parts.filter((part) => part.records.length > 0), plan }
}
