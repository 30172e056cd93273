/** The life of an event, from a checked key to durable on disk. Every protocol ends here. */
import { type Batch, EventBatch } from './batch.ts'
import { type Dedupe, unreserved } from './dedupe/dedupe.ts'
import { readDraft } from './draft.ts'
import { enrich } from './enrich.ts'
import type { Event } from './event.ts'
import { type EventError, type EventWarning, Findings, type RequestFacts } from './event-reading.ts'
import type { Limits, RateState } from './limits/limits.ts'
import { type CommitOutcome, SEGMENT_ROWS_MAX } from './log/event-log.ts'
import { BATCH_BYTES_MAX, type GroupCommit } from './log/group-commit.ts'
import { isRejection, type Rejection, reject } from './rejection.ts'
import type { ScannedRows } from './scan/scanned-rows.ts'
import { EventCounts } from './telemetry/event-counts.ts'

/** Makes the canonical event of a client's value; undefined when it is refused, `findings` says why. */
export type EventReader = (value: unknown, index: number, facts: RequestFacts, findings: Findings) => Event | undefined

/** The events of one request as a protocol parsed them. */
export interface Drafts {
  readonly values: readonly unknown[]
  /** Events of the same request that were refused before: they are counted, but take of what the key may send like the others. */
  readonly refusedBefore?: number
  /** How one is read; left out: as the canonical protocol has it. */
  readonly read?: EventReader
  /** Parses the same text again without losing the digits of integers beyond 2^53. */
  readonly parseExactly?: () => readonly unknown[]
}

/** What became of the events of one request, in numbers and words. */
export interface Summary {
  /** Events that are durable now, copies of earlier ones included. */
  readonly accepted: number
  readonly rejected: number
  readonly errors: readonly EventError[]
  readonly warnings: readonly EventWarning[]
  /** Where the key stands after it; undefined: the key has no limit. */
  readonly rate: RateState | undefined
}

export interface Receipt extends Summary {
  /** The events that are durable, in the order of the request; not those that were scanned. */
  readonly events: readonly Event[]
}

export interface PipelineOptions {
  readonly limits: Limits
  readonly dedupe: Dedupe
  readonly groupCommit: GroupCommit
  /** Left out: nothing is counted by key. */
  readonly counts?: EventCounts
}

export class Pipeline {
  private readonly limits: Limits
  private readonly dedupe: Dedupe
  private readonly groupCommit: GroupCommit
  /** Events since start, by front door and by what became of them; duplicates are among the accepted. */
  readonly counts: EventCounts

  constructor(options: PipelineOptions) {
    this.limits = options.limits
    this.dedupe = options.dedupe
    this.groupCommit = options.groupCommit
    this.counts = options.counts ?? new EventCounts()
  }

  /** Resolves when the good ones among the events are durable. */
  async accept(facts: RequestFacts, drafts: Drafts): Promise<Receipt | Rejection> {
    const { length } = drafts.values
    const asked = this.limit(facts, length + (drafts.refusedBefore ?? 0))
    const rate = asked instanceof Promise ? await asked : asked
    if (isRejection(rate)) return this.counts.decided(facts, length, rate)
    const { events, findings } = read(facts, drafts)
    for (const event of events) enrich(event)
    const refused = await this.store(facts, new EventBatch(events, findings.jsonBytesMax), rate)
    if (refused !== undefined) return this.counts.decided(facts, length, refused)
    const { errors, warnings } = findings
    const receipt = { accepted: events.length, rejected: errors.length, errors, warnings, events, rate }
    return this.counts.decided(facts, length, receipt)
  }

  /** The same for events that were scanned: all of them are good, and enriched. */
  async acceptScanned(facts: RequestFacts, rows: ScannedRows): Promise<Receipt | Rejection> {
    const { length } = rows
    try {
      const asked = this.limit(facts, length)
      const rate = asked instanceof Promise ? await asked : asked
      if (isRejection(rate)) return this.counts.decided(facts, length, rate)
      const refused = await this.store(facts, rows, rate)
      if (refused !== undefined) return this.counts.decided(facts, length, refused)
      const receipt = { accepted: length, rejected: 0, errors: [], warnings: [], events: [], rate }
      return this.counts.decided(facts, length, receipt)
    } finally {
      rows.release()
    }
  }

  /** Takes so many events from what the key may send; gives where it stands then. */
  private limit(
    facts: RequestFacts,
    events: number,
  ): RateState | undefined | Rejection | Promise<RateState | undefined | Rejection> {
    const asked = this.limits.take(facts.key, events)
    return asked instanceof Promise ? asked.then(orLimited) : orLimited(asked)
  }

  /** Makes every event durable that is not already; one that another request is committing is waited for. Gives why it cannot. */
  private async store(facts: RequestFacts, batch: Batch, rate: RateState | undefined): Promise<Rejection | undefined> {
    if (batch.length > SEGMENT_ROWS_MAX || !batch.isWithin(BATCH_BYTES_MAX))
      return reject('payload_too_large', TOO_LARGE, { rate })
    let waiting = batch
    while (waiting.length > 0) {
      const asked = waiting.hasIds ? this.dedupe.reserve(waiting) : unreserved(waiting)
      const reservation = asked instanceof Promise ? await asked : asked
      const { fresh, duplicates, pending } = reservation
      let outcome: CommitOutcome | undefined
      try {
        outcome = fresh.length === 0 ? 'durable' : await this.groupCommit.append(fresh, reservation.ids, facts.trace)
      } finally {
        const told = reservation.settle(outcome === 'durable') // also when it threw: nobody is to wait for ever
        if (told !== undefined) await told
      }
      if (outcome !== 'durable') return reject('overloaded', OUTCOME_MESSAGES[outcome], { rate })
      this.counts.of(facts.protocol).duplicates += duplicates
      if (reservation.undecided > 0) return reject('overloaded', UNDECIDED_MESSAGE, { rate })
      if (pending.length === 0) break
      await Promise.all(pending.map((copy) => copy.settled))
      waiting = waiting.pick(pending.map((copy) => copy.index))
    }
    return undefined
  }
}

/** Why a commit was refused, for people. */
export const OUTCOME_MESSAGES = {
  log_full: 'the log is full: ClickHouse takes events more slowly than they come, or is away',
  disk_full: 'the disk is full',
  io_error: 'the disk failed',
  closed: 'the collector is shutting down',
} as const
const TOO_LARGE = `the events of one request may take ${BATCH_BYTES_MAX} bytes as they are stored, these take more`
const UNDECIDED_MESSAGE = 'another collector has begun to store copies of these events and not finished'

function orLimited(rate: RateState | undefined): RateState | undefined | Rejection {
  if (rate?.taken !== false) return rate
  return reject('rate_limited', `the key may send ${rate.limit} events a minute`, { rate })
}

function read(facts: RequestFacts, drafts: Drafts): { events: Event[]; findings: Findings } {
  const found = readAll(facts, drafts.values, drafts.read)
  if (!found.findings.imprecise || drafts.parseExactly === undefined) return found
  return readAll(facts, drafts.parseExactly(), drafts.read)
}

function readAll(facts: RequestFacts, values: readonly unknown[], readOne: EventReader = readDraft) {
  const findings = new Findings()
  const events: Event[] = []
  for (let index = 0; index < values.length; index++) {
    const event = readOne(values[index], index, facts, findings)
    if (event !== undefined) events.push(event)
  }
  return { events, findings }
}
