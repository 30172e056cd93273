/**
 * Group commit: while one block is being written and synced, arriving events gather in the open block; then it is that one's turn.
 * So load makes blocks bigger and events cheaper, and a lone request waits for one sync only.
 *
 * Commits begin at least COMMIT_INTERVAL_MS apart while blocks are small: each costs a sync here and a block there, which
 * ClickHouse reads at 160 µs plus 1.5 µs a row (measured), so under a load of single events few larger commits are cheaper.
 *
 * The open block has a limit. Requests that come when it is full wait for the next one; how many may wait is bounded by the bytes
 * of bodies that the edge holds (`IN_FLIGHT_BYTES_MAX`).
 */
import type { Batch, OpenBlocks } from '../batch.ts'
import { EventBlock } from '../native/event-block.ts'
import { NO_SCANNED_BLOCK } from '../scan/scanned-block.ts'
import type { Scanner } from '../scan/scanner.ts'
import type { Logger } from '../telemetry/logger.ts'
import { LINKS_MAX, NOOP_TELEMETRY, type Telemetry, type Trace } from '../telemetry/telemetry.ts'
import {
  type CommitOutcome,
  type EncodedBlock,
  type EventLog,
  SEGMENT_BYTES_MAX,
  SEGMENT_ROWS_MAX,
} from './event-log.ts'
import { IdBuffer } from './id-buffer.ts'

/** From the beginning of one commit to the beginning of the next … */
const COMMIT_INTERVAL_MS = 2
/** … unless so many rows wait: then a block is large enough. */
const BLOCK_ROWS_ENOUGH = 512

/** A commit goes into one segment whole: this is left of it for headers, of file, records, columns. */
const COMMIT_BYTES_MAX = SEGMENT_BYTES_MAX - 1024 * 1024

/** The largest batch that is to be appended: it finds room also beside what a usual block has gathered when it comes. */
export const BATCH_BYTES_MAX = 192 * 1024 * 1024

const NO_IDS: readonly number[] = []
const CLOSED = Promise.resolve<CommitOutcome>('closed')

export interface GroupCommitOptions {
  readonly log: EventLog
  /** Encoded bytes from which on the open block takes no further request. */
  readonly blockBytesMax: number
  /** Whose rows are to be appended too. */
  readonly scanner?: Scanner | undefined
  readonly logger: Logger
  readonly telemetry?: Telemetry
}

/** Why commits were refused. */
type Refusal = Exclude<CommitOutcome, 'durable'>

/** The blocks that are gathered, and the promise that all requests in them wait for. */
class Group {
  private readonly blocks: OpenBlocks
  private readonly scanner: Scanner | undefined
  private readonly idKeys = new IdBuffer()
  /** Takes no further request. */
  private isFull = false
  /** What the blocks take at most: measured, and what was estimated since then. */
  private bytesMax = 0
  /** Of the sampled requests in it. */
  readonly requests: Trace[] = []
  private settle: (outcome: CommitOutcome) => void = () => undefined
  outcome: Promise<CommitOutcome> = Promise.resolve('durable')

  constructor(scanner: Scanner | undefined) {
    this.scanner = scanner
    this.blocks = { events: new EventBlock(), scanned: scanner?.newBlock() ?? NO_SCANNED_BLOCK }
  }

  open(): void {
    this.scanner?.beginBlock()
    this.outcome = new Promise((resolve) => {
      this.settle = resolve
    })
  }

  get rows(): number {
    return this.blocks.events.rows + this.blocks.scanned.rows
  }

  /** What is to be written: a block or two. The ids and the trace come with the first. */
  encoded(trace: Trace | undefined): readonly EncodedBlock[] {
    const blocks = Object.values(this.blocks).filter(({ rows }) => rows > 0)
    return blocks.map((block, index) => ({
      rows: block.rows,
      byteLength: block.byteLength,
      ...(index === 0 ? { ids: this.idKeys.bytes, trace } : {}),
      writeTo: (target, offset) => block.writeTo(target, offset),
    }))
  }

  /** Whether a batch may come in. One that does not fit into what is left lets nobody before it. */
  hasRoomFor(batch: Batch): boolean {
    if (this.isFull) return false
    if (this.rows === 0 || this.fits(batch)) return true
    this.measure()
    this.isFull = !this.fits(batch)
    return !this.isFull
  }

  private fits({ length, bytesMax }: Batch): boolean {
    return this.rows + length <= SEGMENT_ROWS_MAX && this.bytesMax + bytesMax <= COMMIT_BYTES_MAX
  }

  /** Takes a look at every column: not for every single event. */
  private measure(): void {
    this.bytesMax = 0
    for (const block of [this.blocks.events, this.blocks.scanned]) if (block.rows > 0) this.bytesMax += block.byteLength
  }

  append(batch: Batch, ids: readonly number[], trace: Trace | undefined, blockBytesMax: number): void {
    this.bytesMax += batch.bytesMax
    batch.appendTo(this.blocks)
    this.idKeys.appendWords(ids)
    if (trace !== undefined && this.requests.length < LINKS_MAX) this.requests.push(trace)
    if (this.bytesMax < blockBytesMax) return
    this.measure()
    this.isFull = this.bytesMax >= blockBytesMax
  }

  /** Answers the requests, and forgets what is in the blocks. */
  close(outcome: CommitOutcome): void {
    this.settle(outcome)
    this.blocks.events.clear()
    this.blocks.scanned.clear()
    this.idKeys.clear()
    this.isFull = false
    this.bytesMax = 0
    this.requests.length = 0
  }
}

export class GroupCommit {
  private readonly log: EventLog
  private readonly blockBytesMax: number
  private readonly logger: Logger
  private readonly telemetry: Telemetry
  private gathering: Group
  private spare: Group
  private running: Promise<void> | undefined
  private closed = false
  private commitBegunAt = 0
  /** Events and commits since start, and how long commits took in all, in ms. */
  readonly totals = { events: 0, commits: 0, commitMs: 0 }
  /** Refused commits since start, by reason. */
  readonly refusals: Record<Refusal, number> = { log_full: 0, disk_full: 0, io_error: 0, closed: 0 }

  /** The last commit that was refused, at what `performance.now()`; undefined again after one that succeeded. */
  lastRefusal: { readonly outcome: Exclude<CommitOutcome, 'durable'>; readonly at: number } | undefined

  constructor(options: GroupCommitOptions) {
    this.log = options.log
    this.blockBytesMax = options.blockBytesMax
    this.logger = options.logger
    this.telemetry = options.telemetry ?? NOOP_TELEMETRY
    this.gathering = new Group(options.scanner)
    this.spare = new Group(options.scanner)
    this.gathering.open()
  }

  /**
   * Resolves when the events are durable, or with the reason why they are not; then none of them is kept.
   * @param batch within BATCH_BYTES_MAX and SEGMENT_ROWS_MAX
   * @param ids keys of those event ids that are to be found again after a start, three words each
   * @param trace of the request, when it is sampled
   */
  append(batch: Batch, ids: readonly number[] = NO_IDS, trace?: Trace): Promise<CommitOutcome> {
    if (this.closed) return CLOSED
    if (!this.gathering.hasRoomFor(batch)) return this.gathering.outcome.then(() => this.append(batch, ids, trace))
    const group = this.gathering
    const { outcome } = group
    try {
      group.append(batch, ids, trace, this.blockBytesMax)
    } catch (error) {
      // Some of its columns may have rows that others have not: nothing of the block can be kept.
      this.logger.error({ err: error, rows: group.rows }, 'events could not be encoded: this is a bug')
      this.end(group, 'io_error')
      group.open()
    }
    this.running ??= this.run()
    return outcome
  }

  private async run(): Promise<void> {
    // What else is ready in this turn of the event loop comes into the same block.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.gathering.rows > 0) {
      await this.pace()
      if (this.gathering.rows === 0) break // it failed in the meantime
      const group = this.gathering
      this.gathering = this.spare
      this.spare = group
      this.gathering.open()
      this.end(group, await this.commit(group))
    }
    this.running = undefined
  }

  /** Never rejects: the groups behind this one would wait for ever. */
  private async commit(group: Group): Promise<CommitOutcome> {
    const { rows } = group
    const begun = performance.now()
    this.commitBegunAt = begun
    let outcome: CommitOutcome = 'io_error'
    try {
      const told = this.telemetry.beginCommit(rows, group.requests)
      outcome = await this.log.commit(group.encoded(told.trace))
      told.end(outcome)
    } catch (error) {
      this.logger.error({ err: error, rows, outcome }, 'a commit failed: this is a bug')
    }
    this.totals.commitMs += performance.now() - begun
    this.totals.commits++
    if (outcome === 'durable') this.totals.events += rows
    return outcome
  }

  private end(group: Group, outcome: CommitOutcome): void {
    if (outcome !== 'durable') this.refusals[outcome]++
    this.lastRefusal = outcome === 'durable' ? undefined : { outcome, at: performance.now() }
    group.close(outcome)
  }

  private async pace(): Promise<void> {
    const waitMs = this.commitBegunAt + COMMIT_INTERVAL_MS - performance.now()
    if (waitMs > 0 && this.gathering.rows < BLOCK_ROWS_ENOUGH) await Bun.sleep(waitMs)
  }

  /** Takes nothing more; resolves when what was taken is durable. */
  async close(): Promise<void> {
    this.closed = true
    await this.running
  }
}
