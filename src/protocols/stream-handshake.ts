/** The handshake of `WS /v1/stream`: the key comes in a header, in the query as `api_key`, or as a subprotocol, where browsers can put it. */
import type { Server } from 'bun'
import { presentedKey } from '../auth/presented-key.ts'
import { isKeyShaped } from '../control/keys.ts'
import { refuse } from '../http/answer.ts'
import { admit, type Edge } from '../http/edge.ts'
import { requestId } from '../http/request-id.ts'
import { verify } from '../http/signed.ts'
import type { Streams } from '../http/streams.ts'
import { isRejection, reject } from '../rejection.ts'
import { EventStream, STREAM_PROTOCOL } from './stream.ts'

export const STREAM_PATH = '/v1/stream'

/** `new WebSocket(url, ['penstock', key])`: this one is what the server answers, so that the key is not repeated. */
const SUBPROTOCOL = 'penstock'

const NOTHING = new Uint8Array(0)

/** Makes a WebSocket of the request; gives an answer when it does not. */
export async function openStream(
  edge: Edge,
  streams: Streams,
  request: Request,
  server: Server<unknown>,
): Promise<Response | undefined> {
  const { headers } = request
  const id = requestId(headers.get('x-request-id'))
  const offered = (headers.get('sec-websocket-protocol') ?? '').split(',').map((name) => name.trim())
  const presented = presentedKey(headers) ?? keyInQuery(request.url) ?? offered.find(isKeyShaped)
  const peerAddress = server.requestIP(request)?.address
  const context = await admit({ edge, protocol: STREAM_PROTOCOL, request, requestId: id, peerAddress }, presented)
  if (isRejection(context)) return refuse(context, id)
  const signature = await verify(context, request, NOTHING)
  if (isRejection(signature)) return refuse(signature, id)
  const chosen = offered.includes(SUBPROTOCOL) ? SUBPROTOCOL : offered[0]
  const isOpen = server.upgrade(request, {
    data: new EventStream(context, presented ?? '', headers.get('origin'), streams),
    headers: { 'x-request-id': id, ...(chosen ? { 'sec-websocket-protocol': chosen } : {}) },
  })
  return isOpen ? undefined : refuse(reject('invalid_event', `expected a WebSocket handshake at ${STREAM_PATH}`), id)
}

function keyInQuery(url: string): string | undefined {
  const query = url.indexOf('?')
  return query < 0 ? undefined : (new URLSearchParams(url.slice(query)).get('api_key') ?? undefined)
}
