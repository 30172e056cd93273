/** What the front doors stand on, and what all of them do with a request: id, key, origin, scope. */
import { anonymize } from '../address.ts'
import type { Authenticated, KeyCache, KeyRefusal } from '../auth/key-cache.ts'
import { mayUse } from '../auth/origins.ts'
import type { Replays } from '../auth/replays.ts'
import { clientAddress, type ProxyTrust } from '../client-address.ts'
import type { Scope } from '../control/grants.ts'
import { SCHEMA_VERSION_CHARS_MAX } from '../draft.ts'
import type { RequestFacts } from '../event-reading.ts'
import type { Journeys } from '../journeys.ts'
import type { Pipeline } from '../pipeline.ts'
import { isRejection, REJECTIONS, type Rejection, reject } from '../rejection.ts'
import type { Scanner } from '../scan/scanner.ts'
import { logFields } from '../telemetry/log-fields.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { RouteTelemetry, Telemetry, Trace } from '../telemetry/telemetry.ts'
import { refuse } from './answer.ts'
import type { Brake } from './brake.ts'
import { allowOrigin } from './cors.ts'
import type { InFlightBytes } from './in-flight.ts'
import { requestId } from './request-id.ts'
import type { Turns } from './turns.ts'

export interface Edge {
  readonly pipeline: Pipeline
  /** Undefined: all events are parsed. */
  readonly scanner: Scanner | undefined
  readonly keys: KeyCache
  readonly replays: Replays
  readonly inFlight: InFlightBytes
  /** The part of it that bodies may hold whose key is not known yet: whoever has none cannot keep all others out. */
  readonly unchecked: InFlightBytes
  readonly turns: Turns
  readonly journeys: Journeys
  /** For clients that do not keep to their rate limit. */
  readonly brake: Brake
  readonly limits: {
    readonly batchEventsMax: number
    readonly bodyBytesMax: number
    readonly ndjsonBytesMax: number
    readonly eventsApiBatchMax: number
    readonly segmentApi: {
      readonly batchEventsMax: number
      readonly bodyBytesMax: number
      readonly eventBytesMax: number
    }
  }
  /** Whose word for the client's address is taken. */
  readonly trustProxy: ProxyTrust
  /** Cut addresses to their network. */
  readonly anonymizeIp: boolean
  /** The log is nearly full: who can wait should. */
  isLogFilling(): boolean
  readonly logger: Logger
  readonly telemetry: Telemetry
}

/** A request at a front door. */
export interface Visit {
  readonly edge: Edge
  /** What the front door is called in the column `protocol`. */
  readonly protocol: string
  readonly request: Request
  readonly requestId: string
  /** Of the page that sent it, if one did. */
  readonly origin: string | null
  /** Where the connection comes from. */
  readonly peerAddress: string | undefined
  /** Of its span; undefined when it is not sampled. */
  readonly trace: Trace | undefined
  /** Known as soon as it is checked; for the log. */
  key?: Authenticated
}

/** A front door: what it is called in the column `protocol`, and what it does with a request. */
export interface Door {
  readonly name: string
  receive(visit: Visit): Promise<Response>
  /** The words of a refusal, where they are not the common ones. */
  readonly wordRefusal?: ((rejection: Rejection) => object) | undefined
}

/** A request whose key is good. */
export interface RequestContext extends RequestFacts {
  readonly edge: Edge
  readonly requestId: string
}

/** Leads a request to its front door. Never throws. */
export async function receive(
  edge: Edge,
  door: Door,
  route: RouteTelemetry,
  request: Request,
  peerAddress: string | undefined,
): Promise<Response> {
  const { headers } = request
  const told = route.begin(headers)
  const { trace } = told
  const id = requestId(headers)
  const origin = headers.get('origin')
  const visit: Visit = { edge, protocol: door.name, request, requestId: id, origin, peerAddress, trace }
  let response: Response
  try {
    response = await door.receive(visit)
  } catch (error) {
    edge.logger.error({ err: error, ...logFields(visit) }, 'a request failed: this is a bug')
    const rejection = reject('internal', 'something went wrong here, it is not your request')
    response = refuseVisit(visit, rejection, door.wordRefusal?.(rejection))
  }
  if (response.status === REJECTIONS.rate_limited.status) await edge.brake.hold()
  if (origin !== null) allowOrigin(response.headers, origin)
  told.end(response.status, visit)
  return response
}

/** Counts a refusal and says it; `body`: in a protocol's own words. */
export function refuseVisit({ edge, protocol, requestId }: Visit, rejection: Rejection, body?: object): Response {
  edge.pipeline.counts.of(protocol).refused[rejection.rejection]++
  return refuse(rejection, requestId, {}, body)
}

/** Checks the key that a request presents, and whether it may do this from here; at once when the key is known. */
export function admit(
  visit: Visit,
  presented: string | undefined,
  scope: Scope = 'ingest',
): RequestContext | Rejection | Promise<RequestContext | Rejection> {
  if (presented === undefined)
    return reject('unauthorized', 'no API key: send it as `API-Key: <key>` or `Authorization: Bearer <key>`')
  const found = visit.edge.keys.authenticate(presented)
  return found instanceof Promise
    ? found.then((known) => contextOf(visit, known, scope))
    : contextOf(visit, found, scope)
}

function contextOf(visit: Visit, found: Authenticated | KeyRefusal, scope: Scope): RequestContext | Rejection {
  const { edge, request } = visit
  const { headers } = request
  const key = checkKey(found, visit.origin, scope)
  if (isRejection(key)) return key
  visit.key = key
  const schemaVersion = headers.get('x-event-schema-version') || '1'
  if (schemaVersion.length > SCHEMA_VERSION_CHARS_MAX) return longSchemaVersion(schemaVersion)
  return {
    edge,
    requestId: visit.requestId,
    key,
    protocol: visit.protocol,
    receivedAt: Date.now(),
    ip: addressOf(edge, headers, visit.peerAddress),
    anonymizeIp: edge.anonymizeIp,
    userAgent: headers.get('user-agent') ?? '',
    schemaVersion,
    trace: visit.trace,
  }
}

/** Whether a key may do this from a page of this origin (null: not from a page). */
export function checkKey(
  key: Authenticated | KeyRefusal,
  origin: string | null,
  scope: Scope,
): Authenticated | Rejection {
  if (key === 'unavailable') return reject('overloaded', 'the key cannot be checked at the moment')
  if (typeof key === 'string') return reject('unauthorized', KEY_MESSAGES[key])
  if (!key.scopes.includes(scope)) return reject('forbidden', `the key lacks the scope ${scope}`)
  if (origin !== null && !mayUse(key, origin)) return reject('forbidden', `the key is not for pages of ${origin}`)
  return key
}

const KEY_MESSAGES = {
  unknown: 'the API key is not known',
  revoked: 'the API key was revoked',
  expired: 'the API key has expired',
} as const

function longSchemaVersion(given: string): Rejection {
  return reject(
    'invalid_event',
    `X-Event-Schema-Version may have ${SCHEMA_VERSION_CHARS_MAX} characters, it has ${given.length}`,
  )
}

function addressOf(edge: Edge, headers: Headers, peerAddress: string | undefined): Uint8Array {
  const forwardedFor = edge.trustProxy === false ? null : headers.get('x-forwarded-for')
  const address = clientAddress(edge.trustProxy, peerAddress, forwardedFor)
  return edge.anonymizeIp ? anonymize(address) : address
}
