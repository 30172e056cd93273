/**
 * What the path of an event tells about itself: a request, a commit, a flush and its inserts begin and end. `live.ts` makes metrics and
 * traces of it; tests and tools do without.
 */
import type { SpanContext } from '@opentelemetry/api'
import type { CommitOutcome } from '../log/event-log.ts'

/** The span of a sampled request or commit, to be linked to by what comes after it. */
export type Trace = SpanContext

/** Links that a span has at most: OpenTelemetry's usual limit. */
export const LINKS_MAX = 128

/** A request from its first line to its answer. */
export interface RequestTelemetry {
  /** Of its span; undefined when it is not sampled. */
  readonly trace: Trace | undefined
  /**
   * @param status of the answer, 101 for an open WebSocket
   * @param whose for its span, which knows it only now
   */
  end(status: number, whose?: Identity): void
}

/** Which request it is, and of whom, as far as that is known. */
export interface Identity {
  readonly requestId: string
  readonly key?: { readonly tenantId: string; readonly workspaceId: string } | undefined
}

/** A message of a stream. */
export interface MessageTelemetry {
  readonly trace: Trace | undefined
  /** @param refusal code, when it was refused */
  end(whose: Identity, refusal: string | undefined): void
}

/** All requests with one method to one route. */
export interface RouteTelemetry {
  /** @param headers for a span; left out: a request that is not traced */
  begin(headers?: Headers): RequestTelemetry
}

/** A commit: its write and its sync. */
export interface CommitTelemetry {
  readonly trace: Trace | undefined
  end(outcome: CommitOutcome): void
}

/** What is known of a segment when its flush begins. */
export interface FlushedSegment {
  readonly number: number
  readonly rows: number
  readonly blockBytes: number
  /** When its oldest events were acknowledged, ms since 1970. */
  readonly oldestAt: number
  /** Of the sampled commits in it. */
  readonly traces: readonly Trace[]
}

/** A segment's way into ClickHouse, until it is stored. */
export interface FlushTelemetry {
  beginInsert(batch: InsertBatch): InsertTelemetry
  /** What failed will be tried again. */
  retry(code: string): void
  /** All of it is stored. */
  stored(): void
  /** Stored or given up. */
  end(): void
}

/** What one insert holds. */
export interface InsertBatch {
  readonly rows: number
  readonly blockBytes: number
  readonly token: string
}

/** One try of an insert. */
export interface InsertTelemetry {
  /** For the header of this name (W3C Trace Context); undefined when it is not sampled. */
  readonly traceparent: string | undefined
  /** @param code of the failure; undefined: it is stored */
  end(code: string | undefined): void
}

export interface Telemetry {
  /** @param path as Elysia writes it: `/users/:userId/journey` */
  route(method: string, path: string): RouteTelemetry
  beginMessage(): MessageTelemetry
  /** @param requests spans of the sampled ones among those whose events are in it */
  beginCommit(rows: number, requests: readonly Trace[]): CommitTelemetry
  beginFlush(segment: FlushedSegment): FlushTelemetry
}

const NOOP_REQUEST: RequestTelemetry = { trace: undefined, end: () => undefined }
/** Of a message that is not traced. */
export const NOOP_MESSAGE: MessageTelemetry = { trace: undefined, end: () => undefined }
const NOOP_ROUTE: RouteTelemetry = { begin: () => NOOP_REQUEST }
const NOOP_COMMIT: CommitTelemetry = { trace: undefined, end: () => undefined }
const NOOP_INSERT: InsertTelemetry = { traceparent: undefined, end: () => undefined }
const NOOP_FLUSH: FlushTelemetry = {
  beginInsert: () => NOOP_INSERT,
  retry: () => undefined,
  stored: () => undefined,
  end: () => undefined,
}

/** Tells nobody. */
export const NOOP_TELEMETRY: Telemetry = {
  route: () => NOOP_ROUTE,
  beginMessage: () => NOOP_MESSAGE,
  beginCommit: () => NOOP_COMMIT,
  beginFlush: () => NOOP_FLUSH,
}
