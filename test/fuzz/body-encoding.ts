/** Bodies as they go over the wire: compressed, mislabelled, broken, or much larger than they look. */
import zlib from 'node:zlib'
import type { Draw } from './draw.ts'
import { spoilBytes } from './json-values.ts'

const CODERS: Readonly<
  Record<string, { encode(bytes: Uint8Array): Uint8Array; decode(bytes: Uint8Array): Uint8Array }>
> = {
  gzip: { encode: zlib.gzipSync, decode: zlib.gunzipSync },
  'x-gzip': { encode: zlib.gzipSync, decode: zlib.gunzipSync },
  deflate: { encode: zlib.deflateSync, decode: inflate },
  'raw deflate': { encode: zlib.deflateRawSync, decode: inflate },
  br: {
    encode: (bytes) => zlib.brotliCompressSync(bytes, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } }),
    decode: zlib.brotliDecompressSync,
  },
  zstd: { encode: zlib.zstdCompressSync, decode: zlib.zstdDecompressSync },
}

const MiB = 1024 * 1024
/** From 60 KB to 64 bytes on the wire: 64 MiB of spaces. */
const BOMBS = (['gzip', 'deflate', 'br', 'zstd'] as const).map(
  (name) => [name, CODERS[name]?.encode(Buffer.alloc(64 * MiB, 0x20)) ?? new Uint8Array()] as const,
)

export interface EncodedBody {
  readonly bytes: Uint8Array
  readonly label: string | undefined
  readonly text: string | undefined
}

/** Notes in `flaws` why it must be refused, in `oddities` why it may be. */
export function encodeBody(text: string, draw: Draw, flaws: string[], oddities: string[]): EncodedBody {
  if (draw.chance(0.001)) {
    flaws.push('bomb')
    const [label, bytes] = draw.pick(BOMBS)
    return { label, bytes, text: undefined }
  }
  let plain: Uint8Array = Buffer.from(draw.chance(0.01) ? `\ufeff${text}` : text)
  if (draw.chance(0.06)) {
    oddities.push('bytes')
    plain = spoilBytes(plain, draw)
  }
  const name = draw.chance(0.7) ? undefined : draw.pick(Object.keys(CODERS))
  let bytes = name === undefined ? plain : (CODERS[name]?.encode(plain) ?? plain)
  let label = name === 'raw deflate' ? 'deflate' : name
  if (draw.chance(0.03)) {
    oddities.push('label')
    label = draw.pick([
      'gzip',
      'br',
      'zstd',
      'deflate',
      'identity',
      'GZIP',
      'snappy',
      'gzip, gzip',
      'gzip,br',
      '',
      '*',
      '__proto__',
      'constructor',
      'x'.repeat(300),
    ])
  }
  if (name !== undefined && draw.chance(0.06)) {
    oddities.push('encoded bytes')
    bytes = spoilBytes(bytes, draw)
  }
  const decoded = decode(bytes, label)
  return { bytes, label, text: decoded === undefined ? undefined : Buffer.from(decoded).toString('utf8') }
}

function decode(bytes: Uint8Array, label: string | undefined): Uint8Array | undefined {
  const name = (label ?? '').trim().toLowerCase()
  if (name === '' || name === 'identity') return bytes
  try {
    return Object.hasOwn(CODERS, name) ? CODERS[name]?.decode(bytes) : undefined
  } catch {
    return undefined
  }
}

function inflate(bytes: Uint8Array): Uint8Array {
  return ((bytes[0] ?? 0) & 0x0f) === 8 ? zlib.inflateSync(bytes) : zlib.inflateRawSync(bytes)
}
