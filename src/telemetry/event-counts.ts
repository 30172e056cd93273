/**
 * What became of events and requests, by front door: plain numbers, counted once a request and read when somebody asks (`/stats`, `/metrics`).
 * An OpenTelemetry counter with attributes takes 350 ns for each `add`; these take a few.
 *
 * Once a request is answered, received = accepted + rejected. Duplicates are among the accepted, events over a rate limit among the rejected.
 */
import type { Receipt } from '../pipeline.ts'
import { isRejection, REJECTIONS, type Rejection, type RejectionCode } from '../rejection.ts'
import { type CountedKey, type KeyCounts, NO_KEY_COUNTS } from './key-counts.ts'

/** A number for each reason. */
export type ByReason = Record<RejectionCode, number>

const CODES = Object.keys(REJECTIONS) as readonly RejectionCode[]

/** Since start, of one front door. */
export class DoorCounts {
  received = 0
  accepted = 0
  /** Accepted events that were stored before. */
  duplicates = 0
  /** Rejected events, by the error of the event, or by that of the request when it was refused as a whole. */
  readonly rejected = zeros()
  /** Refused requests; of a stream: messages. */
  readonly refused = zeros()
  /** Of bodies and messages, decompressed. */
  bytes = 0

  /** Events that were refused one by one before the pipeline saw them, or with a request whose events were counted. */
  reject(code: RejectionCode, events: number): void {
    this.received += events
    this.rejected[code] += events
  }
}

/** What of a request is needed to count its events. */
export interface CountedFacts {
  readonly protocol: string
  readonly key: CountedKey
}

/** See the head of this file. */
export class EventCounts {
  readonly doors = new Map<string, DoorCounts>()
  /** Times that a stream was told to slow down. */
  slowDowns = 0
  readonly keys: KeyCounts

  constructor(keys: KeyCounts = NO_KEY_COUNTS) {
    this.keys = keys
  }

  /** Of the front door that is called so in the column `protocol`. */
  of(protocol: string): DoorCounts {
    let counts = this.doors.get(protocol)
    if (counts === undefined) {
      counts = new DoorCounts()
      this.doors.set(protocol, counts)
    }
    return counts
  }

  /** Counts the events that a request brought, once it is known what became of them, and hands that on. */
  decided<Outcome extends Receipt | Rejection>(facts: CountedFacts, events: number, outcome: Outcome): Outcome {
    const counts = this.of(facts.protocol)
    if (isRejection(outcome)) {
      counts.reject(outcome.rejection, events)
      this.keys.add(facts.key, outcome.rejection === 'rate_limited' ? 'rate_limited' : 'rejected', events)
    } else {
      counts.received += events
      counts.accepted += outcome.accepted
      for (const { code } of outcome.errors) counts.rejected[code]++
      this.keys.add(facts.key, 'accepted', outcome.accepted)
      this.keys.add(facts.key, 'rejected', outcome.rejected)
    }
    return outcome
  }

  /** Of all front doors together. */
  totals() {
    const totals = { accepted: 0, duplicates: 0, rejected: 0, rateLimited: 0 }
    for (const { accepted, duplicates, rejected } of this.doors.values()) {
      totals.accepted += accepted
      totals.duplicates += duplicates
      totals.rateLimited += rejected.rate_limited
      totals.rejected += rejected.invalid_event + rejected.malformed_json + rejected.payload_too_large
    }
    return totals
  }
}

/** Who is refused before a front door is reached. */
export const NO_PROTOCOL = 'none'

/** A front door says neither of these. */
const OF_NO_DOOR: readonly RejectionCode[] = ['not_found', 'method_not_allowed', 'internal']

/** Why a front door can refuse requests, and why others are. */
export function requestReasons(protocol: string): readonly RejectionCode[] {
  return protocol === NO_PROTOCOL
    ? OF_NO_DOOR
    : CODES.filter((code) => code === 'internal' || !OF_NO_DOOR.includes(code))
}

/** Why events that could be counted are refused. */
export const EVENT_REASONS = [
  'invalid_event',
  'malformed_json',
  'payload_too_large',
  'batch_too_large',
  'rate_limited',
  'overloaded',
] as const satisfies readonly RejectionCode[]

function zeros(): ByReason {
  return Object.fromEntries(CODES.map((code) => [code, 0])) as ByReason
}
