/** What the front doors stand on, and the way of every request up to its protocol: id, key, scope. */
import { anonymize, NO_ADDRESS, parseAddress } from '../address.ts'
import type { Authenticated, KeyCache, KeyRefusal } from '../auth/key-cache.ts'
import { presentedKey } from '../auth/presented-key.ts'
import { type RequestFacts, SCHEMA_VERSION_CHARS_MAX } from '../draft.ts'
import type { Pipeline } from '../pipeline.ts'
import { isRejection, type Rejection, reject } from '../rejection.ts'
import type { Logger } from '../telemetry/logger.ts'
import { refuse } from './answer.ts'
import type { InFlightBytes } from './in-flight.ts'
import { requestId } from './request-id.ts'

export interface Edge {
  readonly pipeline: Pipeline
  readonly keys: KeyCache
  readonly inFlight: InFlightBytes
  readonly limits: {
    readonly batchEventsMax: number
    readonly bodyBytesMax: number
    readonly ndjsonBytesMax: number
  }
  /** Take the client's address from `X-Forwarded-For`. */
  readonly trustProxy: boolean
  /** Cut addresses to their network. */
  readonly anonymizeIp: boolean
  readonly logger: Logger
}

function longSchemaVersion(given: string): Rejection {
  return reject(
    'invalid_event',
    `X-Event-Schema-Version may have ${SCHEMA_VERSION_CHARS_MAX} characters, it has ${given.length}`,
  )
}

/** A front door: what it is called in the column `protocol`, and what it does with a request of a checked key. */
export interface Protocol {
  readonly name: string
  receive(edge: Edge, request: Request, facts: RequestFacts, requestId: string): Promise<Response>
}

/**
 * Leads a request to a protocol that takes events. Never throws.
 * @param peerAddress where the connection comes from
 */
export async function receive(
  edge: Edge,
  protocol: Protocol,
  request: Request,
  peerAddress: string | undefined,
): Promise<Response> {
  const { headers } = request
  const id = requestId(headers.get('x-request-id'))
  try {
    const found = authenticate(edge, request)
    const key = found instanceof Promise ? await found : found
    if (isRejection(key)) return refuse(key, id)
    const schemaVersion = headers.get('x-event-schema-version') ?? '1'
    if (schemaVersion.length > SCHEMA_VERSION_CHARS_MAX) return refuse(longSchemaVersion(schemaVersion), id)
    const facts: RequestFacts = {
      tenantId: key.tenantId,
      workspaceId: key.workspaceId,
      protocol: protocol.name,
      receivedAt: Date.now(),
      ip: clientAddress(edge, headers, peerAddress),
      anonymizeIp: edge.anonymizeIp,
      userAgent: headers.get('user-agent') ?? '',
      schemaVersion,
    }
    return await protocol.receive(edge, request, facts, id)
  } catch (error) {
    edge.logger.error({ err: error, requestId: id, protocol: protocol.name }, 'a request failed: this is a bug')
    return refuse(reject('internal', 'something went wrong here, it is not your request'), id)
  }
}

function authenticate(edge: Edge, request: Request): Authenticated | Rejection | Promise<Authenticated | Rejection> {
  const presented = presentedKey(request.headers)
  if (presented === undefined)
    return reject('unauthorized', 'no API key: send it as `API-Key: <key>` or `Authorization: Bearer <key>`')
  const known = edge.keys.authenticate(presented)
  return known instanceof Promise ? known.then(checkScope) : checkScope(known)
}

function checkScope(key: Authenticated | KeyRefusal): Authenticated | Rejection {
  if (key === 'unavailable') return reject('overloaded', 'the key cannot be checked at the moment')
  if (typeof key === 'string') return reject('unauthorized', KEY_MESSAGES[key])
  if (!key.scopes.includes('ingest')) return reject('forbidden', 'the key lacks the scope ingest')
  return key
}

const KEY_MESSAGES = {
  unknown: 'the API key is not known',
  revoked: 'the API key was revoked',
  expired: 'the API key has expired',
} as const

/** The client's address; behind a trusted proxy the last entry of `X-Forwarded-For`, which that proxy has written. */
function clientAddress(edge: Edge, headers: Headers, peerAddress: string | undefined): Uint8Array {
  const forwarded = edge.trustProxy ? headers.get('x-forwarded-for')?.split(',').at(-1)?.trim() : undefined
  const address = parseAddress(forwarded ?? peerAddress ?? '') ?? NO_ADDRESS
  return edge.anonymizeIp ? anonymize(address) : address
}
