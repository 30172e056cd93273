import assert from 'node:assert/strict'
import type { Logger } from '../telemetry/logger.ts'
import type { LogError } from './event-log.ts'
import { errorCode } from './file-system.ts'

/** The log's counters and its last error, shared by those who write, hand out and recover. */
export class LogAccount {
  /** Bytes of records; positions that only grow: written ≥ durable ≥ flushed. */
  written = 0
  durable = 0
  flushed = 0
  refused = 0
  /** Bytes of all segment files. */
  logBytes = 0
  tornTails = 0
  damagedRecords = 0
  damagedBytes = 0
  lastError: LogError | undefined
  readonly #logger: Logger
  readonly #now: () => number

  constructor(logger: Logger, now: () => number) {
    this.#logger = logger
    this.#now = now
  }

  addDamage(damage: { readonly damagedRecords: number; readonly damagedBytes: number }): void {
    this.damagedRecords += damage.damagedRecords
    this.damagedBytes += damage.damagedBytes
  }

  addFlushed(recordBytes: number): void {
    this.flushed += recordBytes
    this.assertOrder()
  }

  assertOrder(): void {
    assert(this.written >= this.durable && this.durable >= this.flushed)
  }

  /** Remembers an error of the file system, and logs it: the first attempts, and then ever fewer of a long failure. */
  report(operation: string, error: unknown, attempts = 1): void {
    const message = error instanceof Error ? error.message : String(error)
    this.lastError = { at: this.#now(), operation, code: errorCode(error), message }
    if (Number.isInteger(Math.log2(attempts))) {
      this.#logger.error({ err: error, operation, attempts }, 'the log failed on disk')
    }
  }
}
