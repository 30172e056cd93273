/**
 * The way of every protocol whose request is one JSON body: key, body, signature, parse, pipeline, answer. A protocol says where its key
 * and its events are, how one is read, and in which words it answers.
 */
import { presentedKey } from '../auth/presented-key.ts'
import { discard } from '../discard.ts'
import { parseJson, parseJsonExactly } from '../json.ts'
import type { Drafts, Receipt, Summary } from '../pipeline.ts'
import { isRejection, REJECTIONS, type Rejection, reject } from '../rejection.ts'
import { answer } from './answer.ts'
import { type Body, noRoom, readBody } from './body.ts'
import { tooLarge } from './decompression.ts'
import { admit, type Door, type Edge, type RequestContext, refuseVisit, type Visit } from './edge.ts'
import { isSigned, verify } from './signed.ts'
import { waitsTooLong } from './turns.ts'

export interface JsonProtocol {
  /** In the column `protocol`. */
  readonly name: string
  /** What a request may bring; a key's own limits go before these. */
  limits(edge: Edge): { readonly bodyBytesMax: number; readonly batchEventsMax: number }
  /**
   * The key that is in the body, when the headers have none. Its own limit on bodies can be lower than the protocol's, not higher: the
   * body was read before the key was known.
   */
  keyIn?(body: unknown): string | undefined
  /** A key that `keyIn` finds in the body goes before one in the headers. */
  readonly isBodyKeyFirst?: boolean
  /** What is said when there is no key at all, where it is not one in the headers that is wanted. */
  readonly keyWanted?: string
  /**
   * The events of the body and how one is read, or why it is none of this protocol. Called again when digits would be lost; then the
   * `read` of the first call reads the values of the second.
   * @param text that the body was parsed from
   */
  open(body: unknown, context: RequestContext, text: string): Pick<Drafts, 'values' | 'read'> | Rejection
  /** Its events have the canonical shape, so they can be scanned; then `acknowledge` is not given them. */
  readonly isScannable?: boolean
  /** The answer to a request of which at least one event was accepted. */
  acknowledge(receipt: Receipt): { readonly status: number; readonly body: string }
  /** The words of a refusal; without it the common ones. */
  readonly wordRefusal?: (rejection: Rejection) => object
}

/** A front door for the protocol. */
export function jsonDoor(protocol: JsonProtocol): Door {
  return {
    name: protocol.name,
    wordRefusal: protocol.wordRefusal,
    async receive(visit) {
      const receipt = await take(visit, protocol)
      if (isRejection(receipt)) return refuseVisit(visit, receipt, protocol.wordRefusal?.(receipt))
      const { status, body } = protocol.acknowledge(receipt)
      return answer(status, visit.requestId, body, receipt.rate)
    },
  }
}

/** Everything up to durable on disk. A key that is in the body is checked when that has come, others before. */
async function take(visit: Visit, protocol: JsonProtocol): Promise<Receipt | Rejection> {
  const { edge, request } = visit
  const presented = presentedKey(request.headers)
  const isKeyAwaited = protocol.keyIn !== undefined && (presented === undefined || protocol.isBodyKeyFirst === true)
  const admitted = isKeyAwaited ? undefined : admit(visit, presented)
  const early = admitted instanceof Promise ? await admitted : admitted
  if (isRejection(early)) return early
  const { bodyBytesMax } = protocol.limits(edge)
  const bytesMax = early?.key.bodyBytesMax ?? bodyBytesMax
  const isScanned = protocol.isScannable === true && edge.scanner !== undefined
  let room = early === undefined ? edge.unchecked : edge.inFlight
  const body = await readBody(request, { bytesMax, asBytes: isScanned || isSigned(request) }, room)
  if (isRejection(body)) return body
  edge.pipeline.counts.of(visit.protocol).bytes += body.bytes
  try {
    const isTurn = early === undefined ? edge.turns.enterUnchecked(body.heldBytes) : itsTurn(early, body.heldBytes)
    if (isTurn !== true && !(await isTurn)) return early === undefined ? noRoom() : waitsTooLong()
    // The key may be in the body.
    const parsed = early === undefined ? parse(body) : undefined
    if (isRejection(parsed)) return parsed
    const context = early ?? (await admitLate(visit, protocol, parsed?.value, presented))
    if (isRejection(context)) return context
    if (early === undefined) {
      room = edge.inFlight
      edge.unchecked.leave(body.heldBytes)
      if (!(await itsTurn(context, body.heldBytes))) return waitsTooLong()
    }
    const ownBytesMax = context.key.bodyBytesMax ?? bodyBytesMax
    if (body.heldBytes > ownBytesMax) return tooLarge(ownBytesMax, body.heldBytes)
    const verified = verify(context, request, body.raw)
    const signature = verified instanceof Promise ? await verified : verified
    if (isRejection(signature)) return signature
    const receipt = await (scan(context, protocol, body) ?? accept(context, protocol, parsed ?? parse(body)))
    if (isRejection(receipt) && REJECTIONS[receipt.rejection].retryable) signature?.forget()
    return receipt
  } finally {
    room.release(body.heldBytes)
  }
}

interface Parsed {
  readonly value: unknown
  readonly text: string
}

function parse(body: Body): Parsed | Rejection {
  const text = body.text()
  if (isRejection(text)) return text
  const parsed = parseJson(text)
  return 'malformed' in parsed ? reject('malformed_json', parsed.malformed) : { ...parsed, text }
}

function itsTurn({ edge, key }: RequestContext, bytes: number): boolean | Promise<boolean> {
  return edge.turns.enter(key.tenantId, bytes)
}

function admitLate(
  visit: Visit,
  protocol: JsonProtocol,
  body: unknown,
  presented: string | undefined,
): RequestContext | Rejection | Promise<RequestContext | Rejection> {
  const key = protocol.keyIn?.(body) ?? presented
  if (key === undefined && protocol.keyWanted !== undefined) return reject('unauthorized', protocol.keyWanted)
  return admit(visit, key)
}

/** Undefined when the body is to be parsed. */
function scan(
  context: RequestContext,
  protocol: JsonProtocol,
  { content }: Body,
): Promise<Receipt | Rejection> | undefined {
  if (protocol.isScannable !== true || content === undefined) return undefined
  const rows = context.edge.scanner?.read(context, content, 'body')
  if (rows === undefined) return undefined
  discard(content)
  const tooMany = checkLength(context, protocol, rows.length)
  if (tooMany === undefined) return context.edge.pipeline.acceptScanned(context, rows)
  rows.release()
  return Promise.resolve(tooMany)
}

async function accept(
  context: RequestContext,
  protocol: JsonProtocol,
  parsed: Parsed | Rejection,
): Promise<Receipt | Rejection> {
  if (isRejection(parsed)) return parsed
  const { value, text } = parsed
  const drafts = protocol.open(value, context, text)
  if (isRejection(drafts)) return drafts
  const tooMany = checkLength(context, protocol, drafts.values.length)
  if (tooMany !== undefined) return tooMany
  const receipt = await context.edge.pipeline.accept(context, {
    ...drafts,
    parseExactly() {
      const exact = protocol.open(parseJsonExactly(text), context, text)
      return isRejection(exact) ? [] : exact.values
    },
  })
  return isRejection(receipt) || receipt.accepted > 0 ? receipt : nothingAcceptable(receipt)
}

function checkLength(context: RequestContext, protocol: JsonProtocol, length: number): Rejection | undefined {
  const batchEventsMax = context.key.batchEventsMax ?? protocol.limits(context.edge).batchEventsMax
  if (length <= batchEventsMax) return undefined
  const message = `a batch may have ${batchEventsMax} events, this one has ${length}`
  return context.edge.pipeline.counts.decided(context, length, reject('batch_too_large', message))
}

/** What of a receipt without accepted events is told as a refusal. */
export function nothingAcceptable({ errors, rate }: Summary): Rejection {
  const details = errors.map(({ index, path, message }) => ({ index, path, message }))
  const isSize = errors.length > 0 && errors.every(({ code }) => code === 'payload_too_large')
  const code = isSize ? 'payload_too_large' : 'invalid_event'
  return reject(code, 'no event of the request was acceptable', { details, rate })
}
