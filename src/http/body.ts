/** Reads a request's body as text, within the limits on one body and on all bodies together. */
import { ByteBuffer } from '../native/byte-buffer.ts'
import { isRejection, type Rejection, reject } from '../rejection.ts'
import { decompress, type Encoding, encodingOf, tooLarge } from './decompression.ts'
import type { InFlightBytes } from './in-flight.ts'

/** A body, and the room it takes in the limit of all bodies, to be released when the request is answered. */
export interface Body {
  /** Reads the body as text; what is wrong with it comes back as a rejection. */
  text(): string | Rejection
  /** Decompressed; left out when it was asked for as text. */
  readonly content?: Uint8Array
  /** Of the body, decompressed. */
  readonly bytes: number
  readonly heldBytes: number
  /** As it came over the wire; left out when it was asked for as text. */
  readonly raw?: Uint8Array
}

export interface BodyOptions {
  /** Limit on the body, before and after decompression. */
  readonly bytesMax: number
  /** The bytes are wanted, to be scanned or for a signature over them; text perhaps. */
  readonly asBytes: boolean
}

/** A body up to this size is read whole, which is the fastest. Of a larger one, and of one of unknown size, what has come takes room. */
const WHOLE_BYTES_MAX = 64 * 1024

const BYTE_ORDER_MARK_BYTES = 3

/**
 * What a body that is read whole takes as long as it has not come. Not all that it announces: a few hundred clients that announce much
 * and send nothing would lock all others out. So bodies on their way may hold 16 times the limit when all of them come at once.
 */
const ROOM_AHEAD_BYTES_MAX = 4 * 1024

/** Reads a body to its end; what is wrong with it comes back as a rejection. */
export function readBody(request: Request, options: BodyOptions, inFlight: InFlightBytes): Promise<Body | Rejection> {
  // A key's own limit may be beyond what all bodies together may hold: such a body would be refused as `overloaded` for ever.
  const bytesMax = Math.min(options.bytesMax, inFlight.bytesMax)
  const { headers } = request
  const encoding = headers.get('content-encoding')
  const length = headers.get('content-length')
  const lengthBytes = length === null ? Number.POSITIVE_INFINITY : Number(length)
  if (encoding === null && lengthBytes <= WHOLE_BYTES_MAX && lengthBytes <= bytesMax)
    return options.asBytes
      ? readWhole(lengthBytes, inFlight, () => request.bytes(), bodyOfBytes)
      : readWhole(lengthBytes, inFlight, () => request.text(), bodyOfText)
  return readEncoded(request, encodingOf(encoding), lengthBytes, bytesMax, inFlight)
}

/** A body that is not large, and whose length is known: read by Bun, which is the fastest. */
async function readWhole<Content>(
  lengthBytes: number,
  inFlight: InFlightBytes,
  read: () => Promise<Content>,
  bodyOf: (content: Content, lengthBytes: number) => Body | Rejection,
): Promise<Body | Rejection> {
  const aheadBytes = Math.min(lengthBytes, ROOM_AHEAD_BYTES_MAX)
  if (!inFlight.take(aheadBytes)) return noRoom()
  let body: Body | Rejection
  try {
    body = bodyOf(await read(), lengthBytes)
    if (!isRejection(body)) {
      if (inFlight.take(lengthBytes - aheadBytes)) return body
      body = noRoom()
    }
  } catch {
    body = incomplete()
  }
  inFlight.release(aheadBytes)
  return body
}

function bodyOfBytes(content: Uint8Array, heldBytes: number, raw = content): Body {
  return { text: () => decodeUtf8(content) ?? notUtf8(), content, bytes: content.length, heldBytes, raw }
}

/** Bun decodes three times as fast as a body that was read as bytes is decoded. */
function bodyOfText(text: string, lengthBytes: number): Body | Rejection {
  if (isMangled(text, lengthBytes)) return notUtf8()
  return { text: () => text, bytes: lengthBytes, heldBytes: lengthBytes }
}

/**
 * What is not UTF-8 has become U+FFFD, which the client may also have sent itself: then the text is as long as the body was, but for a byte
 * order mark, which is not part of it. (A body in which every wrong sequence is 3 bytes long is not noticed; it stays U+FFFD.)
 */
function isMangled(text: string, lengthBytes: number): boolean {
  if (!text.includes('\ufffd')) return false
  const missingBytes = lengthBytes - Buffer.byteLength(text)
  return missingBytes !== 0 && missingBytes !== BYTE_ORDER_MARK_BYTES
}

async function readEncoded(
  request: Request,
  encoding: Encoding | undefined | Rejection,
  lengthBytes: number,
  bytesMax: number,
  inFlight: InFlightBytes,
): Promise<Body | Rejection> {
  if (isRejection(encoding)) return encoding
  if (lengthBytes > bytesMax && lengthBytes !== Number.POSITIVE_INFINITY) return tooLarge(bytesMax, lengthBytes)
  const read =
    lengthBytes <= WHOLE_BYTES_MAX
      ? await readWhole(lengthBytes, inFlight, () => request.bytes(), bodyOfBytes)
      : await readChunks(request, bytesMax, inFlight)
  if (isRejection(read) || read.content === undefined || encoding === undefined) return read
  const { content: raw, heldBytes } = read
  const content = await decompress(encoding, raw, bytesMax)
  const more = isRejection(content) ? 0 : Math.max(0, content.length - heldBytes)
  if (!isRejection(content) && inFlight.take(more)) return bodyOfBytes(content, heldBytes + more, raw)
  inFlight.release(heldBytes)
  return isRejection(content) ? content : noRoom()
}

/** A body that is large, or whose length is not known before it has ended. */
async function readChunks(request: Request, bytesMax: number, inFlight: InFlightBytes): Promise<Body | Rejection> {
  if (request.body === null) return bodyOfBytes(new Uint8Array(0), 0)
  // One buffer and not the chunks: there may be a million of one byte each.
  const gathered = new ByteBuffer()
  let refused: Rejection | undefined
  try {
    for await (const chunk of request.body) {
      if (gathered.length + chunk.length > bytesMax) refused = tooLarge(bytesMax)
      else if (!inFlight.take(chunk.length)) refused = noRoom()
      if (refused !== undefined) break
      gathered.append(chunk)
    }
  } catch {
    refused = incomplete()
  }
  const heldBytes = gathered.length
  if (refused === undefined) return bodyOfBytes(gathered.bytes.subarray(0, heldBytes), heldBytes)
  inFlight.release(heldBytes)
  return refused
}

/** Undefined when the bytes are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
  // What cannot be decoded becomes U+FFFD; the client may also have sent that character itself.
  if (!text.includes('\ufffd')) return text
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

function notUtf8(): Rejection {
  return reject('malformed_json', 'the body is not valid UTF-8')
}

export function noRoom(): Rejection {
  return reject('overloaded', 'too many requests at once')
}

/** The client has gone or broke off: nobody will read this answer. */
export function incomplete(): Rejection {
  return reject('malformed_json', 'the body ended before it was complete')
}
