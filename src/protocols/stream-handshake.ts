/** The handshake of `WS /v1/stream`: the key comes in a header, in the query as `api_key`, or as a subprotocol, where browsers can put it. */
import type { Server } from 'bun'
import { presentedKey } from '../auth/presented-key.ts'
import { isKeyShaped } from '../control/keys.ts'
import { admit, type Edge, refuseVisit, type Visit } from '../http/edge.ts'
import { requestId } from '../http/request-id.ts'
import { verify } from '../http/signed.ts'
import type { Streams } from '../http/streams.ts'
import type { Operation } from '../openapi/operation.ts'
import { isRejection, reject } from '../rejection.ts'
import type { RouteTelemetry } from '../telemetry/telemetry.ts'
import { EventStream, STREAM_PROTOCOL } from './stream.ts'

export const STREAM_PATH = '/v1/stream'

/** `new WebSocket(url, ['penstock', key])`: this one is what the server answers, so that the key is not repeated. */
const SUBPROTOCOL = 'penstock'

export const STREAM_OPERATION: Operation = {
  summary: 'Send events over a WebSocket',
  description: `Messages are \`[event, …]\` or \`{"events": [event, …], "seq": 7}\`, events as at \`POST /v1/events\`. Each is answered when its events are
on disk: \`{"type": "ack", "seq": 7, "accepted": 2, "rejected": 0, "errors"?, "warnings"?}\`, or \`{"type": "error", "seq": 7, "error": {…}, "retry_after_ms"?}\`.
\`{"type": "slow_down", "retry_after_ms": 1000}\` says that the socket is not read until its backlog has fallen. The server pings every 30 s.
The key may also be a subprotocol: \`new WebSocket(url, ['penstock', key])\`. A message over the limit of a body closes the socket with 1009,
a key that is no good any more with 1008, the end of the collector with 1001: connect again and send what was not acknowledged again.`,
  tag: 'Events',
  key: 'header or query',
  success: { status: 101, description: 'The socket is open.' },
  refusals: ['invalid_event', 'unauthorized', 'forbidden', 'overloaded'],
}

const SWITCHING_PROTOCOLS = 101

const NOTHING = new Uint8Array(0)

/** Makes a WebSocket of the request; gives an answer when it does not. */
export async function openStream(
  edge: Edge,
  streams: Streams,
  route: RouteTelemetry,
  request: Request,
  server: Server<unknown>,
): Promise<Response | undefined> {
  const { headers } = request
  const told = route.begin(headers)
  const visit: Visit = {
    edge,
    protocol: STREAM_PROTOCOL,
    request,
    requestId: requestId(headers),
    origin: headers.get('origin'),
    peerAddress: server.requestIP(request)?.address,
    trace: told.trace,
  }
  const response = await shakeHands(visit, streams, server)
  told.end(response?.status ?? SWITCHING_PROTOCOLS, visit)
  return response
}

async function shakeHands(visit: Visit, streams: Streams, server: Server<unknown>): Promise<Response | undefined> {
  const { request, requestId: id, origin } = visit
  const { headers } = request
  const offered = (headers.get('sec-websocket-protocol') ?? '').split(',').map((name) => name.trim())
  const presented = presentedKey(headers) ?? keyInQuery(request.url) ?? offered.find(isKeyShaped)
  const context = await admit(visit, presented)
  if (isRejection(context)) return refuseVisit(visit, context)
  const signature = await verify(context, request, NOTHING)
  if (isRejection(signature)) return refuseVisit(visit, signature)
  const refused = streams.refusal(context.key.tenantId)
  if (refused !== undefined) {
    signature?.forget()
    return refuseVisit(visit, refused)
  }
  const chosen = offered.includes(SUBPROTOCOL) ? SUBPROTOCOL : offered[0]
  const isOpen = server.upgrade(request, {
    data: new EventStream(context, presented ?? '', origin, streams),
    headers: { 'x-request-id': id, ...(chosen ? { 'sec-websocket-protocol': chosen } : {}) },
  })
  if (isOpen) return undefined
  return refuseVisit(visit, reject('invalid_event', `expected a WebSocket handshake at ${STREAM_PATH}`))
}

function keyInQuery(url: string): string | undefined {
  const query = url.indexOf('?')
  return query < 0 ? undefined : (new URLSearchParams(url.slice(query)).get('api_key') ?? undefined)
}
