/** `Content-Encoding` of request bodies: gzip, deflate (with or without zlib's header), br, zstd. */
import { pipeline, Readable } from 'node:stream'
import zlib from 'node:zlib'
import { type Rejection, reject } from '../rejection.ts'

const ENCODINGS = {
  gzip: { whole: zlib.gunzipSync, stream: () => zlib.createGunzip() },
  'x-gzip': { whole: zlib.gunzipSync, stream: () => zlib.createGunzip() },
  deflate: { whole: inflateSync, stream: createInflate },
  br: { whole: zlib.brotliDecompressSync, stream: () => zlib.createBrotliDecompress() },
  zstd: { whole: zlib.zstdDecompressSync, stream: () => zlib.createZstdDecompress() },
} as const

export type Encoding = keyof typeof ENCODINGS

/** The encoding a header names; undefined for none. Several at once are not taken. */
export function encodingOf(header: string | null): Encoding | undefined | Rejection {
  if (header === null) return undefined
  const name = header.trim().toLowerCase()
  if (name === '' || name === 'identity') return undefined
  if (Object.hasOwn(ENCODINGS, name)) return name as Encoding
  return reject(
    'unsupported_encoding',
    `Content-Encoding ${JSON.stringify(header.slice(0, 80))} is not one of gzip, deflate, br, zstd`,
  )
}

/** Decompresses a whole body, stopping as soon as it is larger than `bytesMax`. */
export function decompress(encoding: Encoding, body: Uint8Array, bytesMax: number): Uint8Array | Rejection {
  try {
    return ENCODINGS[encoding].whole(body, { maxOutputLength: bytesMax })
  } catch (error) {
    if (isTooLarge(error)) return tooLarge(bytesMax)
    return reject(
      'malformed_json',
      `the body is not valid ${encoding}: ${error instanceof Error ? error.message : error}`,
    )
  }
}

/** Decompresses a body while it arrives. It does not limit its output: its reader does. */
export async function* decompressStream(
  encoding: Encoding,
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  const chunks = body[Symbol.asyncIterator]()
  const first = await chunks.next()
  if (first.done) return
  async function* whole() {
    yield first.value as Uint8Array
    yield* { [Symbol.asyncIterator]: () => chunks }
  }
  // An error of the body is thrown to the reader; when the reader ends early, the body is let go.
  yield* pipeline(Readable.from(whole()), ENCODINGS[encoding].stream(first.value), () => undefined)
}

export function tooLarge(bytesMax: number, atLeast?: number): Rejection {
  const got = atLeast === undefined ? 'more' : `${atLeast}`
  return reject('payload_too_large', `the body may have ${bytesMax} bytes after decompression, it has ${got}`)
}

/** RFC 9110 says zlib's format; some clients send raw deflate. The first byte of zlib's format names its method, 8. */
function hasZlibHeader(body: Uint8Array): boolean {
  return ((body[0] ?? 0) & 0x0f) === 8
}

function inflateSync(body: Uint8Array, options: { maxOutputLength: number }): Uint8Array {
  return hasZlibHeader(body) ? zlib.inflateSync(body, options) : zlib.inflateRawSync(body, options)
}

function createInflate(firstChunk: Uint8Array) {
  return hasZlibHeader(firstChunk) ? zlib.createInflate() : zlib.createInflateRaw()
}

function isTooLarge(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
}
