/**
 * Group commit: while one block is being written and synced, arriving events gather in the open block; then it is that one's turn.
 * So load makes blocks bigger and events cheaper, and a lone request waits for one sync only.
 *
 * The open block has a limit. Requests that come when it is full wait for the next one; how many may wait is bounded by the bytes
 * of bodies that the edge holds (`IN_FLIGHT_BYTES_MAX`).
 */
import { EventBlock } from '../native/event-block.ts'
import type { Event } from '../event.ts'
import type { CommitOutcome, EventLog } from './event-log.ts'

export interface GroupCommitOptions {
  readonly log: EventLog
  /** Encoded bytes from which on the open block takes no further request. */
  readonly blockBytesMax: number
}

/** A block and the promise that all requests in it wait for. */
class Group {
  readonly block = new EventBlock()
  private settle: (outcome: CommitOutcome) => void = () => undefined
  outcome: Promise<CommitOutcome> = Promise.resolve('durable')

  open(): void {
    this.outcome = new Promise((resolve) => {
      this.settle = resolve
    })
  }

  close(outcome: CommitOutcome): void {
    this.block.clear()
    this.settle(outcome)
  }
}

export class GroupCommit {
  private readonly log: EventLog
  private readonly blockBytesMax: number
  private gathering = new Group()
  private spare = new Group()
  private running: Promise<void> | undefined
  private closed = false
  /** Events and commits since start, and how long commits took in all, in ms. */
  readonly totals = { events: 0, commits: 0, commitMs: 0 }

  /** The last commit that was refused, at what `performance.now()`; undefined again after one that succeeded. */
  lastRefusal: { readonly outcome: CommitOutcome; readonly at: number } | undefined

  constructor(options: GroupCommitOptions) {
    this.log = options.log
    this.blockBytesMax = options.blockBytesMax
    this.gathering.open()
  }

  /** Resolves when the events are durable, or with the reason why they are not; then none of them is kept. */
  async append(events: readonly Event[]): Promise<CommitOutcome> {
    while (!this.closed && this.gathering.block.byteLength >= this.blockBytesMax) await this.gathering.outcome
    if (this.closed) return 'closed'
    const { block, outcome } = this.gathering
    for (const event of events) block.append(event)
    this.running ??= this.run()
    return outcome
  }

  private async run(): Promise<void> {
    // What else is ready in this turn of the event loop comes into the same block.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.gathering.block.rows > 0) {
      const group = this.gathering
      this.gathering = this.spare
      this.spare = group
      this.gathering.open()
      const { rows } = group.block
      const begun = performance.now()
      const outcome = await this.log.commit([group.block])
      this.totals.commitMs += performance.now() - begun
      this.totals.commits++
      if (outcome === 'durable') this.totals.events += rows
      this.lastRefusal = outcome === 'durable' ? undefined : { outcome, at: performance.now() }
      group.close(outcome)
    }
    this.running = undefined
  }

  /** Takes nothing more; resolves when what was taken is durable. */
  async close(): Promise<void> {
    this.closed = true
    await this.running
  }
}
