/**
 * The byte format of a segment file, version 2. All numbers are little endian. In version 1 the insert form was zero, too: plain.
 *
 * A file is a file header followed by records. Its name says its number and state: `<20 digits>.open` while it is
 * written, `<20 digits>.sealed` from then on, when it never changes again; `<20 digits>.spare` when it was released and waits
 * to be written over as a new segment (see `spare-files.ts`).
 *
 *     file header, 64 bytes               record header, 32 bytes, followed by the block
 *      0  8  "PENSTOCK"                    0  4  magic F5 50 52 FF (never part of UTF-8 text)
 *      8  4  format version, 2             4  4  kind: 1 = one Native block
 *     12  4  bytes of this header, 64      8  4  offset of this header in the file
 *     16 16  log id                       12  4  ordinal of the record in the segment, from 0
 *     32  8  segment number               16  4  rows
 *     40  8  created at, ms since 1970    20  4  bytes of the block
 *     48  4  insert form: 0 plain,        24  4  CRC-32 of the block
 *              1 joined                   28  4  CRC-32 of bytes 0 to 27, started with the segment's seed
 *     52  8  zero
 *     60  4  CRC-32 of bytes 0 to 59
 *
 * The seed is the CRC-32 of log id and segment number. With the seed and the offset in it, a record header is good in
 * one place of one file only: bytes of an old file or of an event that look like a record are none. So after a damaged
 * header the next record is found by searching for the next good header; and when the file header is damaged, the
 * records are still good under the number in the name and the log id of the directory.
 *
 * While a file is open, 32 zero bytes follow its last record: the end mark. Behind it may be what the file held as another
 * segment. A sealed file ends with its last record.
 *
 * The checksum is zlib's CRC-32 and not CRC-32C, because Bun has the first one in hardware speed (45 GiB/s).
 */
import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import type { InsertForm } from './event-log.ts'

/** Bytes of the header of a segment file. */
export const SEGMENT_HEADER_BYTES = 64
/** Bytes of the header of a record. */
export const RECORD_HEADER_BYTES = 32
/** Zero bytes that follow the last record of an open file: a record header that is none. */
export const END_MARK_BYTES = RECORD_HEADER_BYTES
/** The first bytes of each record header. */
export const RECORD_MAGIC = Uint8Array.of(0xf5, 0x50, 0x52, 0xff)
/** Where a record header has its own offset in the file. */
export const RECORD_OFFSET_AT = 8

const FORMAT_VERSION = 2
/** By their number in the file header. */
const INSERT_FORMS: readonly InsertForm[] = ['plain', 'joined']
const KIND_NATIVE_BLOCK = 1
const FILE_MAGIC = new TextEncoder().encode('PENSTOCK')
const RECORD_MAGIC_NUMBER = 0xff5250f5
const NAME = /^(\d{20})\.(open|sealed|spare)$/

/** What a segment file is, as its name says. */
export type SegmentState = 'open' | 'sealed' | 'spare'

/** What the name of a segment file says. */
export interface SegmentName {
  readonly number: number
  readonly state: SegmentState
}

/** The file header's fields. */
export interface SegmentHeader {
  /** 32 hexadecimal digits. */
  readonly logId: string
  readonly number: number
  /** ms since 1970. */
  readonly createdAt: number
  readonly insertForm: InsertForm
}

/** The record header's fields, besides those that only prove that it is one. */
export interface RecordHeader {
  readonly ordinal: number
  readonly rows: number
  readonly byteLength: number
  readonly checksum: number
}

/** The name of a segment's file. */
export function segmentFileName(number: number, state: SegmentState): string {
  return `${padNumber(number)}.${state}`
}

/** Reads a file's name; undefined when it is not a segment's. */
export function parseSegmentFileName(name: string): SegmentName | undefined {
  const match = NAME.exec(name)
  const number = Number(match?.[1])
  if (!Number.isSafeInteger(number)) return undefined
  return { number, state: match?.[2] as SegmentState }
}

/** A segment number as 20 digits, so that names sort as numbers do. */
export function padNumber(number: number): string {
  assert(Number.isSafeInteger(number) && number >= 0)
  return String(number).padStart(20, '0')
}

/** What the checksums of a segment's record headers start with. */
export function segmentSeed(logId: string, number: number): number {
  const bytes = Buffer.alloc(24)
  bytes.write(logId, 'hex')
  bytes.writeBigUInt64LE(BigInt(number), 16)
  return crc32(bytes)
}

/** The bytes of a file header. */
export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES)
  bytes.set(FILE_MAGIC, 0)
  bytes.writeUInt32LE(FORMAT_VERSION, 8)
  bytes.writeUInt32LE(SEGMENT_HEADER_BYTES, 12)
  bytes.write(header.logId, 16, 'hex')
  bytes.writeBigUInt64LE(BigInt(header.number), 32)
  bytes.writeBigInt64LE(BigInt(header.createdAt), 40)
  bytes.writeUInt32LE(INSERT_FORMS.indexOf(header.insertForm), 48)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 60)), 60)
  return bytes
}

/** Reads a file header; `damaged` when it is none, `newer` when it is of a format that this version does not know. */
export function decodeSegmentHeader(source: Uint8Array): SegmentHeader | 'damaged' | 'newer' {
  if (source.byteLength < SEGMENT_HEADER_BYTES) return 'damaged'
  const bytes = Buffer.from(source.buffer, source.byteOffset, SEGMENT_HEADER_BYTES)
  if (!bytes.subarray(0, 8).equals(FILE_MAGIC)) return 'damaged'
  if (crc32(bytes.subarray(0, 60)) !== bytes.readUInt32LE(60)) return 'damaged'
  const insertForm = INSERT_FORMS[bytes.readUInt32LE(48)]
  if (bytes.readUInt32LE(8) > FORMAT_VERSION || insertForm === undefined) return 'newer'
  return {
    logId: bytes.toString('hex', 16, 32),
    number: Number(bytes.readBigUInt64LE(32)),
    createdAt: Number(bytes.readBigInt64LE(40)),
    insertForm,
  }
}

/**
 * Writes the header of the record whose block already stands behind it.
 * @param start where the header goes in `target`
 * @param fileOffset where the header will be in the file
 * @param seed the segment's seed
 */
export function encodeRecordHeader(
  target: Uint8Array,
  start: number,
  fileOffset: number,
  seed: number,
  record: RecordHeader,
): void {
  const view = new DataView(target.buffer, target.byteOffset + start, RECORD_HEADER_BYTES)
  view.setUint32(0, RECORD_MAGIC_NUMBER, true)
  view.setUint32(4, KIND_NATIVE_BLOCK, true)
  view.setUint32(RECORD_OFFSET_AT, fileOffset, true)
  view.setUint32(12, record.ordinal, true)
  view.setUint32(16, record.rows, true)
  view.setUint32(20, record.byteLength, true)
  view.setUint32(24, record.checksum, true)
  view.setUint32(28, crc32(target.subarray(start, start + 28), seed), true)
}

/** Reads the record header at the start of `source`; undefined when it is not a good one of this segment at this offset. */
export function decodeRecordHeader(source: Uint8Array, fileOffset: number, seed: number): RecordHeader | undefined {
  if (source.byteLength < RECORD_HEADER_BYTES) return undefined
  const view = new DataView(source.buffer, source.byteOffset, RECORD_HEADER_BYTES)
  if (view.getUint32(0, true) !== RECORD_MAGIC_NUMBER || view.getUint32(RECORD_OFFSET_AT, true) !== fileOffset)
    return undefined
  if (crc32(source.subarray(0, 28), seed) !== view.getUint32(28, true)) return undefined
  if (view.getUint32(4, true) !== KIND_NATIVE_BLOCK) return undefined
  return {
    ordinal: view.getUint32(12, true),
    rows: view.getUint32(16, true),
    byteLength: view.getUint32(20, true),
    checksum: view.getUint32(24, true),
  }
}
