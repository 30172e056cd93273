/**
 * `WS /v1/stream`: events over a WebSocket, acknowledged when they are durable.
 *
 *     client → [event, …]  or  {"events": [event, …], "seq": 7}
 *     server → {"type": "ack", "seq": 7, "accepted": 2, "rejected": 0, "errors"?, "warnings"?}
 *     server → {"type": "error", "seq": 7, "error": {"code", "message", "details"?, "request_id"}, "retry_after_ms"?}
 *     server → {"type": "slow_down", "retry_after_ms": 1000}
 *
 * `slow_down` says that the socket is not read further until its backlog, or that of the log, has fallen: nothing that was sent is lost.
 * A message that was answered by an error with `retry_after_ms`, or not at all because the connection broke, is to be sent again; events
 * with an `event_id` are stored once. The key is checked with every message; one that is no good any more closes the socket (1008).
 */
import type { ServerWebSocket } from 'bun'
import type { Authenticated } from '../auth/key-cache.ts'
import { expected } from '../event-reading.ts'
import { errorBody } from '../http/answer.ts'
import { decodeUtf8 } from '../http/body.ts'
import { tooLarge } from '../http/decompression.ts'
import { checkKey, type RequestContext } from '../http/edge.ts'
import { nothingAcceptable } from '../http/json-door.ts'
import type { Stream, Streams } from '../http/streams.ts'
import { waitsTooLong } from '../http/turns.ts'
import { isObject, parseJson, parseJsonExactly } from '../json.ts'
import type { Receipt } from '../pipeline.ts'
import { isRejection, REJECTIONS, type Rejection, type RejectionCode, reject } from '../rejection.ts'
import { ScannedRows } from '../scan/scanned-rows.ts'
import type { DoorCounts } from '../telemetry/event-counts.ts'
import { logFields } from '../telemetry/log-fields.ts'
import type { Trace } from '../telemetry/telemetry.ts'
import { eventsOf } from './events.ts'
import { receiptBody } from './receipt-body.ts'

export const STREAM_PROTOCOL = 'v1/stream'

/** What of one socket may wait for its commit, in bytes and messages; then it is not read further until half of it is done. */
const WAITING_BYTES_MAX = 1024 * 1024
const WAITING_MESSAGES_MAX = 256
/** Answers that a client has not read, in bytes; then it is not read further either. */
const UNREAD_BYTES_MAX = 64 * 1024
/** When what is in the way is not the socket's own, it is looked at again after this time. */
const RETRY_AFTER_MS = 1000

const CLOSE_GOING_AWAY = 1001
const CLOSE_POLICY_VIOLATION = 1008

/** `seq` of a message, as JSON; empty: it has none. */
type Sequence = string
const NO_SEQUENCE = ''
const SEQUENCE_CHARS_MAX = 256
const SEQUENCE_WANTED = `a whole number up to 2^53, or a text of up to ${SEQUENCE_CHARS_MAX} characters`

/** One socket; it is what Bun calls the handlers of. */
export class EventStream implements Stream {
  private readonly context: RequestContext
  private readonly presented: string
  private readonly origin: string | null
  private readonly streams: Streams
  private readonly counts: DoorCounts
  private socket: ServerWebSocket<unknown> | undefined
  private waitingBytes = 0
  private waitingMessages = 0
  private isAlive = true
  /** Of a socket that was paused at the last beat, with nothing under way: answers that the client has not read. */
  private unreadBytes = 0
  private isEnding = false
  private recheck: ReturnType<typeof setTimeout> | undefined
  private readonly ended = Promise.withResolvers<void>()

  /**
   * @param presented the key's text, to be checked again with every message
   * @param origin of the page that opened it, if one did
   */
  constructor(context: RequestContext, presented: string, origin: string | null, streams: Streams) {
    this.context = context
    this.presented = presented
    this.origin = origin
    this.streams = streams
    this.counts = context.edge.pipeline.counts.of(STREAM_PROTOCOL)
  }

  get tenantId(): string {
    return this.context.key.tenantId
  }

  get isPaused(): boolean {
    return this.socket?.isPaused ?? false
  }

  open(socket: ServerWebSocket<unknown>): void {
    this.socket = socket
    this.streams.add(this)
  }

  message(_socket: ServerWebSocket<unknown>, message: string | Buffer): void {
    this.isAlive = true
    const text = typeof message === 'string' ? message : decodeUtf8(message)
    void this.take(text, text === undefined ? 0 : Buffer.byteLength(text))
  }

  drain(): void {
    this.balance()
  }

  pong(): void {
    this.isAlive = true
  }

  close(): void {
    clearTimeout(this.recheck)
    this.socket = undefined
    this.streams.delete(this)
    this.ended.resolve()
  }

  beat(): boolean {
    // The pong of a socket that is not read cannot come. Nor can the news that the client is gone, when it left answers unread: so it
    // has to read some of them between two calls.
    const unreadBytes = this.isPaused && this.waitingMessages === 0 ? (this.socket?.getBufferedAmount() ?? 0) : 0
    const isReading = unreadBytes === 0 || this.unreadBytes === 0 || unreadBytes < this.unreadBytes
    this.unreadBytes = unreadBytes
    const isAlive = this.isAlive || (this.isPaused && isReading)
    this.isAlive = false
    this.socket?.ping()
    return isAlive
  }

  terminate(): void {
    this.socket?.terminate()
  }

  end(): Promise<void> {
    this.isEnding = true
    this.socket?.pause()
    this.closeWhenAnswered()
    return this.ended.promise
  }

  private closeWhenAnswered(): void {
    if (this.isEnding && this.waitingMessages === 0)
      this.socket?.close(CLOSE_GOING_AWAY, 'the collector is shutting down')
  }

  /** Answers one message. Never rejects. */
  private async take(text: string | undefined, bytes: number): Promise<void> {
    const { inFlight, brake, logger, telemetry } = this.context.edge
    const told = telemetry.beginMessage()
    let refused: RejectionCode | undefined
    const isHeld = inFlight.take(bytes)
    this.waitingBytes += bytes
    this.waitingMessages++
    this.counts.bytes += bytes
    this.balance()
    try {
      refused = await this.answer(text, bytes, isHeld, told.trace)
    } catch (error) {
      logger.error(
        { err: error, ...logFields({ ...this.context, trace: told.trace }) },
        'a message failed: this is a bug',
      )
      refused = this.refuse(NO_SEQUENCE, reject('internal', 'something went wrong here, it is not your message'))
    }
    told.end(this.context, refused)
    if (isHeld) inFlight.release(bytes)
    if (refused === 'rate_limited') await brake.hold() // who does not keep to the limit is read more slowly
    this.waitingBytes -= bytes
    this.waitingMessages--
    this.balance()
    this.closeWhenAnswered()
  }

  /** Gives why the message was refused, if it was. */
  private async answer(
    text: string | undefined,
    bytes: number,
    isHeld: boolean,
    trace: Trace | undefined,
  ): Promise<RejectionCode | undefined> {
    if (text === undefined) return this.refuse(NO_SEQUENCE, reject('malformed_json', 'the message is not valid UTF-8'))
    const arrived = { ...this.context, receivedAt: Date.now(), trace }
    const key = await this.admit(bytes, isHeld)
    if (isRejection(key)) return this.refuse(sequenceIn(text, arrived), key)
    const facts = { ...arrived, key }
    const message = read(text, facts)
    try {
      if (isRejection(message)) return this.refuse(NO_SEQUENCE, message)
      const receipt = await accept(facts, message)
      if (isRejection(receipt)) return this.refuse(message.seq, receipt)
      if (receipt.accepted === 0) return this.refuse(message.seq, nothingAcceptable(receipt))
      const sequence = message.seq === NO_SEQUENCE ? '' : `"seq":${message.seq},`
      this.send(`{"type":"ack",${sequence}${receiptBody(receipt).slice(1)}`)
      return undefined
    } finally {
      if (!isRejection(message)) message.rows?.release()
    }
  }

  /** The message's key, when it is its turn. Nothing of a message is read before: what comes of it takes more room than its text. */
  private async admit(bytes: number, isHeld: boolean): Promise<Authenticated | Rejection> {
    const { edge } = this.context
    const found = edge.keys.authenticate(this.presented)
    const key = checkKey(found instanceof Promise ? await found : found, this.origin, 'ingest')
    if (isRejection(key)) return key
    const bytesMax = key.bodyBytesMax ?? edge.limits.bodyBytesMax
    if (bytes > bytesMax) return tooLarge(bytesMax, bytes)
    if (!isHeld) return reject('overloaded', 'too many messages at once')
    return (await edge.turns.enter(key.tenantId, bytes)) ? key : waitsTooLong()
  }

  private refuse(seq: Sequence, rejection: Rejection): RejectionCode {
    const { rejection: code, rate } = rejection
    this.counts.refused[code]++
    const retryAfterMs = rate?.taken === false ? rate.retryAfterSeconds * 1000 : RETRY_AFTER_MS
    const told = seq === NO_SEQUENCE ? {} : { seq: JSON.parse(seq) }
    const body = { type: 'error', ...told, ...errorBody(rejection, this.context.requestId) }
    this.send(JSON.stringify(REJECTIONS[code].retryable ? { ...body, retry_after_ms: retryAfterMs } : body))
    if (code === 'unauthorized' || code === 'forbidden') this.socket?.close(CLOSE_POLICY_VIOLATION, rejection.message)
    return code
  }

  private send(text: string): void {
    this.socket?.send(text)
  }

  /** Stops reading when too much waits, and goes on when half of it is done. */
  private balance(): void {
    const { socket, waitingBytes, waitingMessages, isEnding } = this
    if (socket === undefined || isEnding) return
    const isLogFilling = this.context.edge.isLogFilling()
    const unreadBytes = socket.getBufferedAmount()
    const load = Math.max(
      waitingBytes / WAITING_BYTES_MAX,
      waitingMessages / WAITING_MESSAGES_MAX,
      unreadBytes / UNREAD_BYTES_MAX,
    )
    if (!socket.isPaused && (load > 1 || isLogFilling)) {
      socket.pause()
      this.context.edge.pipeline.counts.slowDowns++
      this.send(`{"type":"slow_down","retry_after_ms":${RETRY_AFTER_MS}}`)
    } else if (socket.isPaused && load < 0.5 && !isLogFilling) socket.resume()
    clearTimeout(this.recheck)
    if (socket.isPaused) this.recheck = setTimeout(() => this.balance(), RETRY_AFTER_MS)
  }
}

/** A message that was read: `rows` when it was scanned, else what it was parsed to. */
interface Message {
  readonly seq: Sequence
  readonly rows?: ScannedRows
  readonly parsed?: { readonly value: unknown; readonly text: string }
}

function read(text: string, facts: RequestContext): Message | Rejection {
  return scan(text, facts) ?? parse(text)
}

/** Of a message that is refused unread. */
function sequenceIn(text: string, facts: RequestContext): Sequence {
  const message = read(text, facts)
  if (isRejection(message)) return NO_SEQUENCE
  message.rows?.release()
  return message.seq
}

/** Undefined when the message is to be parsed. */
function scan(text: string, facts: RequestContext): Message | undefined {
  const { scanner } = facts.edge
  const rows = scanner?.read(facts, text, 'message')
  return scanner === undefined || rows === undefined ? undefined : { seq: scanner.sequence, rows }
}

function parse(text: string): Message | Rejection {
  const parsed = parseJson(text)
  if ('malformed' in parsed) return reject('malformed_json', parsed.malformed)
  const seq = sequenceOf(parsed.value)
  return isRejection(seq) ? seq : { seq, parsed: { ...parsed, text } }
}

function accept(facts: RequestContext, { rows, parsed }: Message): Promise<Receipt | Rejection> | Rejection {
  const { pipeline } = facts.edge
  const values = rows ?? valuesOf(parsed?.value)
  if (isRejection(values)) return values
  const batchEventsMax = facts.key.batchEventsMax ?? facts.edge.limits.batchEventsMax
  if (values.length > batchEventsMax) {
    const message = `a message may have ${batchEventsMax} events, this one has ${values.length}`
    return pipeline.counts.decided(facts, values.length, reject('batch_too_large', message))
  }
  if (values instanceof ScannedRows) return pipeline.acceptScanned(facts, values)
  const parseExactly = () => {
    const exact = valuesOf(parseJsonExactly(parsed?.text ?? ''))
    return isRejection(exact) ? [] : exact
  }
  return pipeline.accept(facts, { values, parseExactly })
}

/** Refused when it could not be told as it was sent: a client would wait for an answer with another one. */
function sequenceOf(value: unknown): Sequence | Rejection {
  const seq = isObject(value) ? (value.seq ?? undefined) : undefined
  if (seq === undefined) return NO_SEQUENCE
  const isTaken = Number.isSafeInteger(seq) || (typeof seq === 'string' && seq.length <= SEQUENCE_CHARS_MAX)
  return isTaken ? JSON.stringify(seq) : reject('invalid_event', `seq: ${expected(SEQUENCE_WANTED, seq)}`)
}

function valuesOf(value: unknown): readonly unknown[] | Rejection {
  const values = Array.isArray(value) ? value : eventsOf(value)
  if (values !== undefined && values.length > 0) return values
  return reject('invalid_event', 'expected [event, …] or {"events": [event, …], "seq"?} with at least one event')
}
