/**
 * NDJSON at `POST /v1/events`: one event a line, streamed, the door for bulk producers. Lines are taken in batches while the body still
 * arrives; a few batches may wait for their commit at one time, then the body is not read further.
 *
 * A line that is not acceptable is counted and told (the first ones), the others go on. When the log refuses a batch, the answer is its
 * error, with the number of events that had been accepted before.
 */
import { Readable } from 'node:stream'
import { setImmediate as nextLook } from 'node:timers/promises'
import { presentedKey } from '../auth/presented-key.ts'
import { discard } from '../discard.ts'
import type { EventError, EventWarning } from '../event-reading.ts'
import { answer } from '../http/answer.ts'
import { decodeUtf8, incomplete, noRoom, readBody } from '../http/body.ts'
import { decompressStream, encodingOf, tooLarge, undecodable } from '../http/decompression.ts'
import { admit, type Edge, type RequestContext, refuseVisit, type Visit } from '../http/edge.ts'
import { nothingAcceptable } from '../http/json-door.ts'
import { isSigned, verify } from '../http/signed.ts'
import { waitsTooLong } from '../http/turns.ts'
import { parseJson, parseJsonExactly } from '../json.ts'
import type { RateState } from '../limits/limits.ts'
import { ByteBuffer } from '../native/byte-buffer.ts'
import type { Receipt, Summary } from '../pipeline.ts'
import { isRejection, REJECTIONS, type Rejection, reject } from '../rejection.ts'
import type { DoorCounts } from '../telemetry/event-counts.ts'
import { receiptBody } from './receipt-body.ts'

/** Bytes of lines that are gathered and taken as one batch; one line may be longer. */
const BATCH_BYTES = 128 * 1024
/** Room for lines to begin with; it grows to what a batch needs. */
const FIRST_BYTES = 16 * 1024
/** Batches of one request that may wait for their commit. */
const BATCHES_WAITING_MAX = 4
/** Lines that are parsed at one time. Those of good events hardly fill it before `BATCH_BYTES`; broken ones may be of one byte. */
const PARSED_LINES_MAX = 2_000
/** Lines of one body that may be no JSON. */
const BROKEN_LINES_MAX = 1_000
/** Errors, and warnings, that the answer lists. */
const FINDINGS_MAX = 100

const NEWLINE = 0x0a

export async function receiveNdjson(visit: Visit): Promise<Response> {
  const { request } = visit
  const context = await admit(visit, presentedKey(request.headers))
  if (isRejection(context)) return refuseVisit(visit, context)
  const { signing } = context.key
  const isWhole = signing === 'required' || (signing === 'optional' && isSigned(request))
  const opened = isWhole ? await readSigned(visit, context) : openStream(visit)
  if (isRejection(opened)) return refuseVisit(visit, opened)
  const upload = new Upload(context)
  let refused: Rejection | undefined
  try {
    refused = await upload.read(opened.source)
  } finally {
    opened.close(refused)
  }
  if (refused !== undefined) return refuseVisit(visit, { ...refused, accepted: upload.accepted })
  const receipt = upload.receipt()
  if (receipt.accepted === 0)
    return refuseVisit(visit, receipt.rejected === 0 ? noEvents() : nothingAcceptable(receipt))
  return answer(201, visit.requestId, receiptBody(receipt), receipt.rate)
}

function noEvents(): Rejection {
  return reject('invalid_event', 'expected at least one event, one a line')
}

/** A body to be read, and what is to be done at its end. */
interface OpenBody {
  readonly source: AsyncIterable<Uint8Array>
  close(refused: Rejection | undefined): void
}

function openStream({ edge, request }: Visit): OpenBody | Rejection {
  const encoding = encodingOf(request.headers.get('content-encoding'))
  if (isRejection(encoding)) return encoding
  const lengthBytes = Number(request.headers.get('content-length'))
  if (lengthBytes > edge.limits.ndjsonBytesMax) return tooLarge(edge.limits.ndjsonBytesMax, lengthBytes)
  if (request.body === null) return noEvents()
  const source = encoding === undefined ? request.body : decompressStream(encoding, request.body)
  return { source, close: () => undefined }
}

/** A signed body cannot be used before its end was seen: it is read whole, within the limit of other bodies. */
async function readSigned({ edge, request }: Visit, context: RequestContext): Promise<OpenBody | Rejection> {
  const bytesMax = context.key.bodyBytesMax ?? edge.limits.bodyBytesMax
  const body = await readBody(request, { bytesMax, asBytes: true }, edge.inFlight)
  if (isRejection(body)) return body
  const signature = await verify(context, request, body.raw)
  if (isRejection(signature)) {
    edge.inFlight.release(body.heldBytes)
    return signature
  }
  return {
    source: Readable.from([body.content]),
    close(refused) {
      edge.inFlight.release(body.heldBytes)
      if (refused !== undefined && REJECTIONS[refused.rejection].retryable) signature?.forget()
    },
  }
}

/** One request's lines on their way into the pipeline. */
class Upload {
  accepted = 0
  private lines = 0
  private rejected = 0
  private broken = 0
  private readonly errors: EventError[] = []
  private readonly warnings: EventWarning[] = []
  private refused: Rejection | undefined
  /** What a batch has thrown: a bug, to be thrown again where somebody waits. */
  private failure: { readonly error: unknown } | undefined
  /** Bytes that are gathered and not yet in a batch; batches hold theirs until they are committed. */
  private heldBytes = 0
  private readonly waiting = new Set<Promise<void>>()
  private rate: RateState | undefined
  private readonly context: RequestContext
  /** A line is what elsewhere is a body of one event. */
  private readonly lineBytesMax: number
  private readonly edge: Edge
  private readonly counts: DoorCounts

  constructor(context: RequestContext) {
    this.context = context
    this.edge = context.edge
    this.lineBytesMax = Math.min(context.key.bodyBytesMax ?? this.edge.limits.bodyBytesMax, this.edge.inFlight.bytesMax)
    this.counts = context.edge.pipeline.counts.of(context.protocol)
  }

  /** Takes everything; gives why the rest was refused, if it was. */
  async read(source: AsyncIterable<Uint8Array>): Promise<Rejection | undefined> {
    try {
      const refused = await this.readLines(source)
      // A batch may have been refused in the meantime.
      this.refused ??= refused
    } catch (error) {
      this.refused ??= undecodable(error) ?? incomplete()
    }
    await Promise.all(this.waiting)
    this.edge.inFlight.release(this.heldBytes)
    if (this.failure !== undefined) throw this.failure.error
    return this.refused
  }

  /** Room for more of the body: where there is none, the upload's own batches may make some. */
  private async hold(bytes: number): Promise<boolean> {
    while (!this.edge.inFlight.take(bytes)) {
      if (this.waiting.size === 0) return false
      await Promise.race(this.waiting)
    }
    this.heldBytes += bytes
    return true
  }

  private async readLines(source: AsyncIterable<Uint8Array>): Promise<Rejection | undefined> {
    const { ndjsonBytesMax } = this.edge.limits
    // One buffer and not the chunks: there may be a million of one byte each.
    const gathered = new ByteBuffer(FIRST_BYTES)
    let bytes = 0
    let linesEnd = 0
    for await (const chunk of source) {
      bytes += chunk.length
      this.counts.bytes += chunk.length
      if (bytes > ndjsonBytesMax) return tooLarge(ndjsonBytesMax)
      if (!(await this.hold(chunk.length))) return noRoom()
      const newline = chunk.lastIndexOf(NEWLINE)
      if (newline >= 0) linesEnd = gathered.length + newline + 1
      gathered.append(chunk)
      discard(chunk)
      // A line that is too long is not waited for. The lines before it are taken, whatever chunks they came in.
      const isTooLong = gathered.length - linesEnd > this.lineBytesMax
      if (linesEnd < BATCH_BYTES && !isTooLong) continue
      await this.takeAll(gathered.bytes.subarray(0, linesEnd))
      if (isTooLong) this.refused ??= this.lineTooLong()
      if (this.refused !== undefined) return this.refused
      gathered.bytes.copyWithin(0, linesEnd, gathered.length)
      gathered.length -= linesEnd
      linesEnd = 0
    }
    await this.takeAll(gathered.bytes.subarray(0, gathered.length))
    return this.refused
  }

  /** Takes whole lines: after a wait much may have come at once. */
  private async takeAll(lines: Buffer): Promise<void> {
    for (let begin = 0; begin < lines.length && this.refused === undefined; ) {
      const end = batchEnd(lines, begin)
      await this.take(lines.subarray(begin, end))
      begin = end
    }
  }

  /** Starts a batch of whole lines when it is its turn; waits while too many are on their way. */
  private async take(bytes: Uint8Array): Promise<void> {
    const { scanner, turns } = this.edge
    while (this.waiting.size >= BATCHES_WAITING_MAX) await Promise.race(this.waiting)
    if (!(await turns.enter(this.context.key.tenantId, bytes.length))) {
      this.refused ??= waitsTooLong()
      return
    }
    const rows = bytes.length > this.lineBytesMax ? undefined : scanner?.read(this.context, bytes, 'lines')
    if (scanner !== undefined && rows !== undefined) {
      this.lines += scanner.lines
      this.begin(bytes.length, this.edge.pipeline.acceptScanned(this.context, rows), [])
      return
    }
    const text = decodeUtf8(bytes)
    if (text === undefined) {
      this.refused = reject('malformed_json', `the body is not valid UTF-8 behind line ${this.lines}`)
      return
    }
    const lines = text.split('\n')
    if (lines.at(-1) === '') lines.pop()
    const tooLong = lines.findIndex((line) => this.isTooLong(line))
    if (tooLong >= 0) lines.length = tooLong
    for (let end = PARSED_LINES_MAX; this.refused === undefined; end += PARSED_LINES_MAX) {
      const isLast = end >= lines.length
      this.accept(lines.slice(end - PARSED_LINES_MAX, end), isLast ? bytes.length : 0)
      if (this.broken > BROKEN_LINES_MAX) {
        await Promise.all(this.waiting) // one may be over the rate limit: then that is said
        this.refused ??= this.tooManyBroken()
      }
      if (isLast) break
      await nextLook()
    }
    if (tooLong >= 0) this.refused ??= this.lineTooLong()
  }

  /** @param indexes of the events' lines, for what is to be said about them */
  private begin(bytes: number, accepting: Promise<Receipt | Rejection>, indexes: readonly number[]): void {
    this.heldBytes -= bytes
    const batch = accepting
      .then((receipt) => {
        if (isRejection(receipt)) this.refused ??= receipt
        else this.add(receipt, indexes)
      })
      .catch((error) => {
        this.failure ??= { error }
        this.refused ??= reject('internal', 'something went wrong here, it is not your request')
      })
      .finally(() => {
        this.edge.inFlight.release(bytes)
        this.waiting.delete(batch)
      })
    this.waiting.add(batch)
  }

  private isTooLong(line: string): boolean {
    return line.length * 3 > this.lineBytesMax && Buffer.byteLength(line) > this.lineBytesMax
  }

  /** Says so of the line behind those that were taken. */
  private lineTooLong(): Rejection {
    return reject('payload_too_large', `a line may have ${this.lineBytesMax} bytes, line ${this.lines + 1} has more`)
  }

  private tooManyBroken(): Rejection {
    const details = this.errors.map(({ index, path, message }) => ({ index, path, message }))
    return reject('malformed_json', `more than ${BROKEN_LINES_MAX} lines are no JSON, the rest was not read`, {
      details,
    })
  }

  private accept(lines: readonly string[], bytes: number): void {
    const firstIndex = this.lines
    this.lines += lines.length
    const good: string[] = []
    const values: unknown[] = []
    // Indexes count lines; an empty line is none, and a broken one is told at once.
    const indexes: number[] = []
    const brokenBefore = this.broken
    for (const [offset, line] of lines.entries()) {
      if (line.length === 0 || line === '\r') continue
      const parsed = parseJson(line)
      if ('malformed' in parsed) {
        this.reject({ index: firstIndex + offset, code: 'malformed_json', path: '', message: parsed.malformed })
        this.counts.reject('malformed_json', 1)
        if (++this.broken > BROKEN_LINES_MAX) break
        continue
      }
      good.push(line)
      values.push(parsed.value)
      indexes.push(firstIndex + offset)
    }
    const refusedBefore = this.broken - brokenBefore
    if (values.length + refusedBefore > 0) {
      const parseExactly = () => good.map(parseJsonExactly)
      this.begin(bytes, this.edge.pipeline.accept(this.context, { values, refusedBefore, parseExactly }), indexes)
    } else {
      this.heldBytes -= bytes
      this.edge.inFlight.release(bytes)
    }
  }

  private add(receipt: Receipt, indexes: readonly number[]): void {
    this.accepted += receipt.accepted
    this.rate = receipt.rate
    for (const error of receipt.errors) this.reject({ ...error, index: indexes[error.index] ?? error.index })
    for (const warning of receipt.warnings) {
      if (this.warnings.length < FINDINGS_MAX)
        this.warnings.push({ ...warning, index: indexes[warning.index] ?? warning.index })
    }
  }

  private reject(error: EventError): void {
    this.rejected++
    if (this.errors.length < FINDINGS_MAX) this.errors.push(error)
  }

  receipt(): Summary {
    const { accepted, rejected, errors, warnings, rate } = this
    return { accepted, rejected, errors, warnings, rate }
  }
}

/** Where a batch ends that begins there: behind the last line that has room in it, or the first one if that has not. */
function batchEnd(lines: Buffer, begin: number): number {
  const most = begin + BATCH_BYTES
  if (most >= lines.length) return lines.length
  const last = lines.lastIndexOf(NEWLINE, most)
  const newline = last >= begin ? last : lines.indexOf(NEWLINE, most)
  return newline < 0 ? lines.length : newline + 1
}
