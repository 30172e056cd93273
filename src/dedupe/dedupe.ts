/** Deduplication by event id: which of the events of a request are new, and which were stored before. */
import type { Event } from '../event.ts'

/** What is to be done with the events of one request. */
export interface Reservation {
  /** To be appended: first copies, and events without an id of the client's. */
  readonly fresh: readonly Event[]
  /** Compact keys of the fresh events that have ids, 12 bytes each, for the log. */
  readonly ids: Uint8Array
  /** Copies of events that are durable. */
  readonly duplicates: number
  /** Copies of events that another request is committing: wait until that is settled, then reserve them again. */
  readonly pending: readonly PendingCopy[]
  /** To be called with the outcome of the commit, before the request is answered: durable ids are seen, others forgotten. */
  settle(durable: boolean): void
}

export interface PendingCopy {
  readonly event: Event
  /** Resolves when the other request's commit is settled. */
  readonly settled: Promise<void>
}

export interface Dedupe {
  /** Decides for every event with an id of the client's whether it is new. Synchronous when no other process is asked. */
  reserve(events: readonly Event[]): Reservation | Promise<Reservation>
}

const NO_IDS = new Uint8Array(0)

/** Every event is new. */
export const NO_DEDUPE: Dedupe = {
  reserve: (events) => ({ fresh: events, ids: NO_IDS, duplicates: 0, pending: [], settle: () => undefined }),
}
