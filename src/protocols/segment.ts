/**
 * Segment's HTTP API: `POST /v1/track`, `/v1/identify` … with one call each, and `POST /v1/batch` with many.
 *
 * The official libraries work with it as they are; tried were, with gzip where they have it and through outages,
 *
 *     @segment/analytics-node 3.1.0        new Analytics({ writeKey, host: 'http://collector:3000' })
 *     @rudderstack/rudder-sdk-node 3.0.13  new Analytics(writeKey, { dataPlaneUrl: 'http://collector:3000' })
 *
 * Both send `POST /v1/batch` with the key as the user of Basic authentication, and a `messageId` that stays the same when they try again.
 * They try again after 429 and 5xx, waiting as `Retry-After` says, and drop a batch after any other 4xx. RudderStack's tries 3 times
 * (option `retryCount`) and without the option `errorHandler` ends the process with an unhandled rejection after that; Segment's tries 10
 * times (`maxRetries`). Segment's may send up to 480 KB in a batch of 15, RudderStack's up to 20 calls: with calls of more than 12 KB, let
 * them send fewer at once (`maxEventsInBatch`, `flushAt`) or raise `SEGMENT_API_BODY_BYTES_MAX`.
 */
import type { Door, Edge, RequestContext } from '../http/edge.ts'
import { type JsonProtocol, jsonDoor } from '../http/json-door.ts'
import { tooLarge } from '../http/decompression.ts'
import type { Event } from '../event.ts'
import { expected, type Findings, type RequestFacts } from '../event-reading.ts'
import { isObject } from '../json.ts'
import type { Operation } from '../openapi/operation.ts'
import { type Rejection, reject } from '../rejection.ts'
import { receiptBody } from './receipt-body.ts'
import { type BatchFacts, readCall } from './segment-event.ts'
import { BATCH_OPERATION, callOperation } from './segment-operations.ts'
import { CALL_TYPES, type CallType } from './segment-schema.ts'
import { jsonBytes } from './segment-size.ts'

/** One call on its way to the reader. What holds for the batch comes with it: the text may be parsed twice, with other numbers. */
interface Item {
  readonly call: unknown
  readonly batch: BatchFacts
  /** Left out: the call says it. */
  readonly type?: CallType
  /** Limit on the call; undefined when the whole body is not larger. */
  readonly bytesMax: number | undefined
}

/**
 * With the batch's context copied into each call, what is stored may be larger than the body. It may be so many times the limit on bodies:
 * 15 KB of context for 50 calls, by default.
 */
const EXPANSION_MAX = 4

const ALONE: BatchFacts = { context: undefined, sentAt: undefined }

const COMMON = {
  name: 'segment',
  limits: (edge: Edge) => edge.limits.segmentApi,
  keyWanted: 'no write key: send it as the user name of Basic authentication, or as `writeKey`',
  keyIn: (body: unknown) =>
    isObject(body) && typeof body.writeKey === 'string' && body.writeKey !== '' ? body.writeKey : undefined,
  /** The libraries look at the status alone; what was refused beside accepted calls is told to people. */
  acknowledge: (receipt) => ({
    status: 200,
    body:
      receipt.rejected === 0 && receipt.warnings.length === 0
        ? '{"success":true}'
        : `{"success":true,${receiptBody(receipt).slice(1)}`,
  }),
} satisfies Omit<JsonProtocol, 'open'>

/** `POST /v1/<type>`: the body is one call, and its type is the path's, whatever it says itself. */
function callDoor(type: CallType): Door {
  return jsonDoor({
    ...COMMON,
    open(body, context, text) {
      const bytesMax = limitOf(context, text)
      const bytes = bytesMax === undefined ? 0 : jsonBytes(body)
      if (bytesMax !== undefined && bytes > bytesMax) return reject('payload_too_large', tooLong(bytesMax, bytes))
      const item: Item = { call: body, batch: ALONE, type, bytesMax: undefined }
      return { values: [item], read: readItem }
    },
  })
}

/** `POST /v1/batch` */
const BATCH_DOOR = jsonDoor({
  ...COMMON,
  open(body, context, text) {
    const calls = isObject(body) ? body.batch : undefined
    if (!isObject(body) || !Array.isArray(calls) || calls.length === 0) return noBatch(calls)
    const shared = body.context ?? undefined
    if (shared !== undefined && !isObject(shared)) return badContext(shared)
    const bodyBytesMax = context.key.bodyBytesMax ?? context.edge.limits.segmentApi.bodyBytesMax
    const expandedBytes = shared === undefined ? 0 : jsonBytes(shared) * calls.length
    if (expandedBytes > EXPANSION_MAX * bodyBytesMax) return tooLarge(EXPANSION_MAX * bodyBytesMax, expandedBytes)
    const bytesMax = limitOf(context, text)
    const batch: BatchFacts = { context: shared, sentAt: body.sentAt }
    return { values: calls.map((call): Item => ({ call, batch, bytesMax })), read: readItem }
  },
})

function readItem(value: unknown, index: number, facts: RequestFacts, findings: Findings): Event | undefined {
  const { call, batch, type = typeIn(call), bytesMax } = value as Item
  if (type === undefined) return findings.refuse(index, ...noType(call))
  if (bytesMax !== undefined) {
    const bytes = jsonBytes(call)
    if (bytes > bytesMax) return findings.refuse(index, '', tooLong(bytesMax, bytes), 'payload_too_large')
  }
  return readCall(type, call, batch, index, facts, findings)
}

/** Undefined when no call in the body can be over the limit: then none needs to be measured. */
function limitOf({ edge }: RequestContext, text: string): number | undefined {
  const { eventBytesMax } = edge.limits.segmentApi
  return text.length * 3 > eventBytesMax && Buffer.byteLength(text) > eventBytesMax ? eventBytesMax : undefined
}

function typeIn(call: unknown): CallType | undefined {
  const type = isObject(call) ? call.type : undefined
  return CALL_TYPES.find((one) => one === type)
}

function noType(call: unknown): [path: string, message: string] {
  if (!isObject(call)) return ['', expected('an object', call)]
  return ['type', expected(`one of ${CALL_TYPES.join(', ')}`, call.type)]
}

function tooLong(bytesMax: number, bytes: number): string {
  return `an event may have ${bytesMax} bytes, this one has ${bytes}`
}

function noBatch(calls: unknown): Rejection {
  const message = Array.isArray(calls) ? 'expected at least one call' : 'expected an array'
  return reject('invalid_event', 'expected {"batch": [call, …]} with at least one call', {
    details: [{ path: 'batch', message }],
  })
}

function badContext(context: unknown): Rejection {
  return reject('invalid_event', 'the context of the batch is none', {
    details: [{ path: 'context', message: expected('an object', context) }],
  })
}

/** Which paths there are, and what is behind them. */
export const SEGMENT_DOORS: readonly { readonly path: string; readonly door: Door; readonly operation: Operation }[] = [
  ...CALL_TYPES.map((type) => ({ path: `/v1/${type}`, door: callDoor(type), operation: callOperation(type) })),
  { path: '/v1/batch', door: BATCH_DOOR, operation: BATCH_OPERATION },
  { path: '/batch', door: BATCH_DOOR, operation: BATCH_OPERATION },
  { path: '/v1/import', door: BATCH_DOOR, operation: BATCH_OPERATION }, // what older libraries call it
]
