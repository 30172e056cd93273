/** Reads a request's body as text, within the limits on one body and on all bodies together. */
import { type Rejection, reject } from '../rejection.ts'
import { decompress, encodingOf, tooLarge } from './decompression.ts'
import type { InFlightBytes } from './in-flight.ts'

/** A body, and the room it takes in the limit of all bodies, to be released when the request is answered. */
export interface Body {
  readonly text: string
  readonly heldBytes: number
}

/** @param bytesMax limit on the body, before and after decompression */
export async function readBody(request: Request, bytesMax: number, inFlight: InFlightBytes): Promise<Body | Rejection> {
  const encoding = encodingOf(request.headers.get('content-encoding'))
  if (typeof encoding === 'object') return encoding
  const raw = await readBytes(request, bytesMax, inFlight)
  if ('rejection' in raw) return raw
  let { bytes, heldBytes } = raw
  if (encoding !== undefined) {
    const decompressed = decompress(encoding, bytes, bytesMax)
    const more = 'rejection' in decompressed ? 0 : Math.max(0, decompressed.length - heldBytes)
    if ('rejection' in decompressed || !inFlight.take(more)) {
      inFlight.release(heldBytes)
      return 'rejection' in decompressed ? decompressed : noRoom()
    }
    bytes = decompressed
    heldBytes += more
  }
  const text = decodeUtf8(bytes)
  if (text !== undefined) return { text, heldBytes }
  inFlight.release(heldBytes)
  return reject('malformed_json', 'the body is not valid UTF-8')
}

async function readBytes(
  request: Request,
  bytesMax: number,
  inFlight: InFlightBytes,
): Promise<{ bytes: Uint8Array; heldBytes: number } | Rejection> {
  const length = request.headers.get('content-length')
  if (length === null) return readChunks(request, bytesMax, inFlight)
  const heldBytes = Number(length)
  if (heldBytes > bytesMax) return tooLarge(bytesMax, heldBytes)
  if (!inFlight.take(heldBytes)) return noRoom()
  try {
    return { bytes: await request.bytes(), heldBytes }
  } catch {
    inFlight.release(heldBytes)
    return incomplete()
  }
}

/** A body whose length is not known before it has ended. */
async function readChunks(
  request: Request,
  bytesMax: number,
  inFlight: InFlightBytes,
): Promise<{ bytes: Uint8Array; heldBytes: number } | Rejection> {
  if (request.body === null) return { bytes: new Uint8Array(0), heldBytes: 0 }
  const chunks: Uint8Array[] = []
  let heldBytes = 0
  let refused: Rejection | undefined
  try {
    for await (const chunk of request.body) {
      if (heldBytes + chunk.length > bytesMax) refused = tooLarge(bytesMax)
      else if (!inFlight.take(chunk.length)) refused = noRoom()
      if (refused !== undefined) break
      heldBytes += chunk.length
      chunks.push(chunk)
    }
  } catch {
    refused = incomplete()
  }
  if (refused === undefined) return { bytes: Buffer.concat(chunks), heldBytes }
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

export function noRoom(): Rejection {
  return reject('overloaded', 'too many requests at once')
}

/** The client has gone or broke off: nobody will read this answer. */
export function incomplete(): Rejection {
  return reject('malformed_json', 'the body ended before it was complete')
}
