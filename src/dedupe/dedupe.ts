/** Deduplication by event id: which of the events of a request are new, and which were stored before. */
import type { Batch } from '../batch.ts'

/** What is to be done with the events of one request. */
export interface Reservation {
  /** To be appended: first copies, and events without an id of the client's. */
  readonly fresh: Batch
  /** Keys of the fresh events that have ids, for the log: three words each, 32 bits with a sign. */
  readonly ids: readonly number[]
  /** Copies of events that are durable. */
  readonly duplicates: number
  /** Copies of events that another request of this process is committing: wait until that is settled, then reserve them again. */
  readonly pending: readonly PendingCopy[]
  /** Copies of events that another collector has begun to commit and not finished in time: the client is to try again later. */
  readonly undecided: number
  /**
   * To be called with the outcome of the commit, before the request is answered and before a pending copy is waited for:
   * durable ids are seen, others forgotten. A promise when other collectors have to be told; it never rejects.
   */
  settle(durable: boolean): Promise<void> | undefined
}

/** See `Reservation.pending`. */
export interface PendingCopy {
  /** Its position in the batch that was to be reserved. */
  readonly index: number
  /** Resolves when the other request's commit is settled. */
  readonly settled: Promise<void>
}

/** What deduplication has to say of itself. Counters only grow. */
export interface DedupeStats {
  /** Ids that are remembered. */
  readonly ids: number
  /** Memory that they take. */
  readonly bytes: number
  /** Copies found. */
  readonly duplicates: number
  /** How far back every id is remembered, in ms: less than the window when more ids came than DEDUPE_IDS_MAX. */
  readonly coveredMs: number
  /** Of deduplication across collectors. */
  readonly shared?: SharedDedupeStats
}

/** Deduplication across collectors. */
export interface SharedDedupeStats {
  /** Copies that another collector had. */
  readonly duplicates: number
  /** Events that were taken without asking the others, because Redis was away. */
  readonly unasked: number
  /** Copies that were put off because another collector had not finished them. */
  readonly undecided: number
  /** Ids that are durable and of which the others have yet to be told, and those of which they will not be. */
  readonly untold: number
  readonly neverTold: number
}

/** Decides which events are new. */
export interface Dedupe {
  /** Decides for every event with an id of the client's whether it is new. Synchronous when no other process is asked. */
  reserve(batch: Batch): Reservation | Promise<Reservation>
  stats(): DedupeStats
  close(): Promise<void>
}

const NO_IDS: readonly number[] = []
const NO_COPIES: readonly PendingCopy[] = []

/** All of these are to be appended: they have no ids, or nobody looks at them. */
export function unreserved(batch: Batch): Reservation {
  return { fresh: batch, ids: NO_IDS, duplicates: 0, pending: NO_COPIES, undecided: 0, settle: () => undefined }
}

/** Every event is new. */
export const NO_DEDUPE: Dedupe = {
  reserve: unreserved,
  stats: () => ({ ids: 0, bytes: 0, duplicates: 0, coveredMs: 0 }),
  close: () => Promise.resolve(),
}
