/**
 * The byte format of the files `<20 digits>.ids`, version 1: the keys of the event ids of the segments, for deduplication after a start.
 * All numbers are little endian. A file is a row of chunks, one a segment, appended when the segment is sealed:
 *
 *     chunk header, 64 bytes, followed by the keys, 12 bytes each
 *      0  4  magic F5 50 49 FF
 *      4  4  format version, 1
 *      8  4  offset of this header in the file
 *     12  4  number of keys
 *     16 16  log id
 *     32  8  segment number
 *     40  8  sealed at, ms since 1970
 *     48  4  CRC-32 of the keys
 *     52  8  zero
 *     60  4  CRC-32 of bytes 0 to 59
 *
 * A chunk says all about itself and is good in one place only, so what a crash or a bad disk leaves between chunks is skipped by
 * searching for the next good header. A segment without keys has a chunk, too: it says that there is nothing to look for in its blocks.
 */
import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import { SEGMENT_ROWS_MAX } from './event-log.ts'
import { ID_BYTES } from './id-buffer.ts'
import { padNumber } from './segment.ts'

const HEADER_BYTES = 64
const FORMAT_VERSION = 1
const MAGIC = Buffer.of(0xf5, 0x50, 0x49, 0xff)
const NAME = /^(\d{20})\.ids$/

/** The keys of one segment's ids. */
export interface IdChunk {
  /** 32 hexadecimal digits. */
  readonly logId: string
  readonly segment: number
  /** ms since 1970. */
  readonly sealedAt: number
  /** 12 bytes each. */
  readonly keys: Uint8Array
}

/** The name of the file with this number. */
export function idFileName(number: number): string {
  return `${padNumber(number)}.ids`
}

/** The number in a file's name; undefined when it is another kind of file. */
export function parseIdFileName(name: string): number | undefined {
  const number = Number(NAME.exec(name)?.[1])
  return Number.isSafeInteger(number) ? number : undefined
}

/** A chunk's bytes. @param offset where it will stand in its file */
export function encodeIdChunk(chunk: IdChunk, offset: number): Uint8Array {
  const { keys } = chunk
  const count = keys.byteLength / ID_BYTES
  assert(Number.isInteger(count) && count <= SEGMENT_ROWS_MAX)
  const bytes = Buffer.alloc(HEADER_BYTES + keys.byteLength)
  MAGIC.copy(bytes)
  bytes.writeUInt32LE(FORMAT_VERSION, 4)
  bytes.writeUInt32LE(offset, 8)
  bytes.writeUInt32LE(count, 12)
  bytes.write(chunk.logId, 16, 'hex')
  bytes.writeBigUInt64LE(BigInt(chunk.segment), 32)
  bytes.writeBigInt64LE(BigInt(chunk.sealedAt), 40)
  bytes.writeUInt32LE(crc32(keys), 48)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 60)), 60)
  bytes.set(keys, HEADER_BYTES)
  return bytes
}

/** The good chunks of a file; their keys are views of it. `damagedBytes` is told what lies between and behind them. */
export function* decodeIdChunks(file: Buffer, damagedBytes: (bytes: number) => void): Generator<IdChunk> {
  let position = 0
  while (position < file.byteLength) {
    const chunk = decodeChunk(file, position)
    if (chunk === undefined) {
      const next = findChunk(file, position + 1)
      damagedBytes(next - position)
      position = next
    } else {
      yield chunk
      position += HEADER_BYTES + chunk.keys.byteLength
    }
  }
}

function decodeChunk(file: Buffer, position: number): IdChunk | undefined {
  const end = position + HEADER_BYTES
  if (end > file.byteLength || !file.subarray(position, position + 4).equals(MAGIC)) return undefined
  const header = file.subarray(position, end)
  if (header.readUInt32LE(60) !== crc32(header.subarray(0, 60)) || header.readUInt32LE(4) !== FORMAT_VERSION)
    return undefined
  const keys = file.subarray(end, end + ID_BYTES * header.readUInt32LE(12))
  const isWhole = keys.byteLength === ID_BYTES * header.readUInt32LE(12)
  if (header.readUInt32LE(8) !== position || !isWhole || crc32(keys) !== header.readUInt32LE(48)) return undefined
  return {
    logId: header.toString('hex', 16, 32),
    segment: Number(header.readBigUInt64LE(32)),
    sealedAt: Number(header.readBigInt64LE(40)),
    keys,
  }
}

/** Where the next good chunk begins, or the end of the file. */
function findChunk(file: Buffer, from: number): number {
  for (let position = file.indexOf(MAGIC, from); position >= 0; position = file.indexOf(MAGIC, position + 1)) {
    if (decodeChunk(file, position) !== undefined) return position
  }
  return file.byteLength
}
