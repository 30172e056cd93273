/**
 * `Content-Encoding` of request bodies: gzip, deflate (with or without zlib's header), br, zstd.
 *
 * A decoder holds a window of what it gave, as large as the body says. One of Brotli's gives nothing before its window is full: with
 * the largest, 14 bytes took it 16 MiB and 40 ms, whatever the limit on its output. So windows are limited, to what encoders use unless they are
 * told otherwise, and Brotli decodes whole bodies beside the event loop: of 4 MiB it still takes 10 ms.
 */
import { pipeline, Readable } from 'node:stream'
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { type Rejection, reject } from '../rejection.ts'

/** RFC 9659: what a decoder of this content encoding has to take, and need not exceed. */
const ZSTD_WINDOW = { params: { [zlib.constants.ZSTD_d_windowLogMax]: 23 } } as const
/** In the first four bits of a Brotli body whose window is larger than 4 MiB (RFC 7932, section 9.1: WBITS 23 and 24). */
const LARGE_BROTLI_WINDOWS: readonly number[] = [0b1101, 0b1111]

const ZSTD_WINDOW_TOO_LARGE = 'ZSTD_error_frameParameter_windowTooLarge'
const BROTLI_WINDOW_TOO_LARGE = 'ERR_BROTLI_WINDOW_TOO_LARGE'

const ENCODINGS = {
  gzip: { whole: zlib.gunzipSync, stream: () => zlib.createGunzip() },
  'x-gzip': { whole: zlib.gunzipSync, stream: () => zlib.createGunzip() },
  deflate: { whole: inflateSync, stream: createInflate },
  br: { whole: promisify(zlib.brotliDecompress), stream: () => zlib.createBrotliDecompress() },
  zstd: { whole: zstdDecompressSync, stream: () => zlib.createZstdDecompress(ZSTD_WINDOW) },
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
export async function decompress(
  encoding: Encoding,
  body: Uint8Array,
  bytesMax: number,
): Promise<Uint8Array | Rejection> {
  if (encoding === 'br' && hasLargeBrotliWindow(body)) return windowTooLarge()
  try {
    return await ENCODINGS[encoding].whole(body, { maxOutputLength: bytesMax })
  } catch (error) {
    if (hasCode(error, 'ERR_BUFFER_TOO_LARGE')) return tooLarge(bytesMax)
    if (hasCode(error, ZSTD_WINDOW_TOO_LARGE)) return windowTooLarge()
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
  if (encoding === 'br' && hasLargeBrotliWindow(first.value)) {
    await chunks.return?.()
    throw Object.assign(new Error('the window is too large'), { code: BROTLI_WINDOW_TOO_LARGE })
  }
  async function* whole() {
    yield first.value as Uint8Array
    yield* { [Symbol.asyncIterator]: () => chunks }
  }
  // An error of the body is thrown to the reader; when the reader ends early, the body is let go.
  yield* pipeline(Readable.from(whole()), ENCODINGS[encoding].stream(first.value), () => undefined)
}

/** What is said of a body that could not be decompressed while it arrived; undefined when the error is another one. */
export function undecodable(error: unknown): Rejection | undefined {
  if (hasCode(error, ZSTD_WINDOW_TOO_LARGE) || hasCode(error, BROTLI_WINDOW_TOO_LARGE)) return windowTooLarge()
  if (!(error instanceof Error) || !('code' in error) || !/^(Z_|ZSTD_|ERR_)/.test(String(error.code))) return undefined
  return reject('malformed_json', `the body is not what Content-Encoding says: ${error.message}`)
}

function windowTooLarge(): Rejection {
  return reject('unsupported_encoding', 'the body was compressed with a window of more than 4 MiB (br) or 8 MiB (zstd)')
}

/** What is said of a body beyond a limit. */
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

function zstdDecompressSync(body: Uint8Array, options: { maxOutputLength: number }): Uint8Array {
  return zlib.zstdDecompressSync(body, { ...options, ...ZSTD_WINDOW })
}

function hasLargeBrotliWindow(body: Uint8Array): boolean {
  return body[0] !== undefined && LARGE_BROTLI_WINDOWS.includes(body[0] & 0x0f)
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
