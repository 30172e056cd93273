/** The protocols that take JSON, each as a row: what all of them promise is tested with every row (see `refusals.test.ts`). */
import { makeDraft } from './event-drafts.ts'

/** A request body before it is written, and the headers that belong to it. */
export interface ProtocolRequest {
  readonly body: unknown
  readonly headers: Readonly<Record<string, string>>
}

export interface Protocol {
  /** In test names. */
  readonly name: string
  readonly path: string
  /** In the column `protocol`. */
  readonly column: string
  /** Status of success. */
  readonly status: number
  /** Events in one request, as `LIMITS` has it; undefined: the protocol has one event a request. */
  readonly batchEventsMax: number | undefined
  /** As `LIMITS` has it. */
  readonly bodyBytesMax: number
  /** The column in which the marker of `event` is. */
  readonly markerColumn: string
  /** An event of the protocol's; its `properties` become the column of that name. */
  event(marker: string, properties?: object): object
  /** A request with these events; without a key when that is undefined. */
  request(key: string | undefined, events: readonly object[]): ProtocolRequest
  /** The code of a refusal (undefined: the protocol does not tell it) and its words. */
  readRefusal(body: unknown): { readonly code: string | undefined; readonly message: string }
}

/** The limits for which the rows are written: small, so that tests are quick. */
export const LIMITS = {
  BATCH_EVENTS_MAX: '10',
  EVENTS_API_BATCH_MAX: '12',
  BODY_BYTES_MAX: '64KiB',
  SEGMENT_API_BATCH_MAX: '8',
  SEGMENT_API_BODY_BYTES_MAX: '48KiB',
} as const

const KiB = 1024
const withKey = (key: string | undefined) => (key === undefined ? {} : { 'api-key': key })

/** The shape of errors that most protocols share. */
function readError(body: unknown): { readonly code: string; readonly message: string } {
  const { error } = body as { error: { code: string; message: string; details?: { path: string; message: string }[] } }
  const details = (error.details ?? []).map(({ path, message }) => `${path}: ${message}`)
  return { code: error.code, message: [error.message, ...details].join(' ') }
}

const CANONICAL: Protocol = {
  name: 'POST /v1/events',
  path: '/v1/events',
  column: 'v1/events',
  status: 201,
  batchEventsMax: 10,
  bodyBytesMax: 64 * KiB,
  markerColumn: 'session_id',
  event: (marker, properties = {}) => makeDraft({ session_id: marker, properties }),
  request: (key, events) => ({ body: { events }, headers: withKey(key) }),
  readRefusal: readError,
}

const EVENTS_API: Protocol = {
  name: 'POST /events',
  path: '/events',
  column: 'events',
  status: 202,
  batchEventsMax: 12,
  bodyBytesMax: 64 * KiB,
  markerColumn: 'session_id',
  event: (marker, payload = {}) => ({ userId: 'user', sessionId: marker, type: 'search', payload }),
  request: (key, events) => ({ body: events.length === 1 ? events[0] : events, headers: withKey(key) }),
  readRefusal: readError,
}

const TRACK: Protocol = {
  name: 'POST /api/track',
  path: '/api/track',
  column: 'api/track',
  status: 200,
  batchEventsMax: 10,
  bodyBytesMax: 64 * KiB,
  markerColumn: 'session_id',
  event: (sessionId, data = {}) => ({
    sessionId,
    event: { type: 'time', timestamp: Date.now(), eventId: crypto.randomUUID(), data },
  }),
  request: (siteId, events) => ({ body: siteId === undefined ? events : { siteId, events }, headers: {} }),
  readRefusal(body) {
    const { success, error } = body as { success: unknown; error: string }
    return { code: success === false ? undefined : 'success should be false', message: error }
  },
}

const SEGMENT_BATCH: Protocol = {
  name: 'POST /v1/batch',
  path: '/v1/batch',
  column: 'segment',
  status: 200,
  batchEventsMax: 8,
  bodyBytesMax: 48 * KiB,
  markerColumn: 'anonymous_id',
  event: (anonymousId, properties = {}) => ({ type: 'track', event: 'Tested', anonymousId, properties }),
  request: (writeKey, batch) => ({ body: { writeKey, batch }, headers: {} }),
  readRefusal: readError,
}

const SEGMENT_TRACK: Protocol = {
  ...SEGMENT_BATCH,
  name: 'POST /v1/track',
  path: '/v1/track',
  batchEventsMax: undefined,
  request: (key, [call]) => ({
    body: call,
    headers: key === undefined ? {} : { authorization: `Basic ${btoa(`${key}:`)}` },
  }),
}

export const PROTOCOLS: readonly Protocol[] = [CANONICAL, EVENTS_API, TRACK, SEGMENT_BATCH, SEGMENT_TRACK]
