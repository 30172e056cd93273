/** The life of an event, from a checked key to durable on disk. Every protocol ends here. */
import { type EventError, type EventWarning, Findings, type RequestFacts, readDraft } from './draft.ts'
import type { Event } from './event.ts'
import type { GroupCommit } from './log/group-commit.ts'
import { type Rejection, reject } from './rejection.ts'

/** The events of one request as a protocol parsed them. */
export interface Drafts {
  readonly values: readonly unknown[]
  /** Parses the same text again without losing the digits of integers beyond 2^53. */
  readonly parseExactly?: () => readonly unknown[]
}

/** What became of the events of one request. */
export interface Receipt {
  readonly accepted: number
  readonly rejected: number
  readonly errors: readonly EventError[]
  readonly warnings: readonly EventWarning[]
}

export class Pipeline {
  private readonly groupCommit: GroupCommit
  /** Events since start, by what became of them. */
  readonly totals = { accepted: 0, rejected: 0 }

  constructor(groupCommit: GroupCommit) {
    this.groupCommit = groupCommit
  }

  /** Resolves when the good ones among the events are durable. */
  async accept(facts: RequestFacts, drafts: Drafts): Promise<Receipt | Rejection> {
    const { events, findings } = validate(facts, drafts)
    this.totals.rejected += findings.errors.length
    if (events.length > 0) {
      const outcome = await this.groupCommit.append(events)
      if (outcome !== 'durable') return reject('overloaded', OUTCOME_MESSAGES[outcome])
      this.totals.accepted += events.length
    }
    const { errors, warnings } = findings
    return { accepted: events.length, rejected: errors.length, errors, warnings }
  }
}

const OUTCOME_MESSAGES = {
  log_full: 'the log is full: ClickHouse takes events more slowly than they come, or is away',
  disk_full: 'the disk is full',
  io_error: 'the disk failed',
  closed: 'the collector is shutting down',
} as const

function validate(facts: RequestFacts, drafts: Drafts): { events: Event[]; findings: Findings } {
  const checked = validateValues(facts, drafts.values)
  if (!checked.findings.imprecise || drafts.parseExactly === undefined) return checked
  return validateValues(facts, drafts.parseExactly())
}

function validateValues(facts: RequestFacts, values: readonly unknown[]) {
  const findings = new Findings()
  const events: Event[] = []
  for (let index = 0; index < values.length; index++) {
    const event = readDraft(values[index], index, facts, findings)
    if (event !== undefined) events.push(event)
  }
  return { events, findings }
}
