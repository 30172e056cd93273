import { crc32 } from 'node:zlib'
import type { RecordPosition } from './event-log.ts'
import type { LogFile } from './file-system.ts'
import {
  decodeRecordHeader,
  decodeSegmentHeader,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  RECORD_OFFSET_AT,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  segmentSeed,
} from './segment.ts'

/** Bytes of a file that are no good record, from `start` to `end`. */
export interface DamagedRange {
  readonly start: number
  readonly end: number
}

/** What a segment file holds. */
export interface SegmentScan {
  /** The file header; `other`: that of another segment; `damaged`; or `newer` when this version must not touch the file. */
  readonly header: SegmentHeader | 'other' | 'damaged' | 'newer'
  /** The log id the records belong to. */
  readonly logId: string
  readonly records: readonly RecordPosition[]
  readonly damaged: readonly DamagedRange[]
  /** End of the last good record; the file header's end when there is none. */
  readonly end: number
  readonly fileBytes: number
}

const WINDOW_BYTES = 1024 * 1024

/**
 * Reads a whole segment file once, in order, with bounded memory: finds its good records and what lies between them.
 * Content never makes it throw; only a file that cannot be read does.
 * @param logId the directory's log id, which counts when the file header is damaged
 */
export async function scanSegment(file: LogFile, number: number, logId: string): Promise<SegmentScan> {
  const window = new FileWindow(file, await file.size())
  const header = readHeader(await window.bytes(0, SEGMENT_HEADER_BYTES), number)
  if (header === 'newer') return { header, logId, records: [], damaged: [], end: 0, fileBytes: window.fileBytes }
  const isGood = typeof header === 'object'
  const ownLogId = isGood ? header.logId : logId
  const seed = segmentSeed(ownLogId, number)
  const records: RecordPosition[] = []
  const damaged: DamagedRange[] = []
  if (!isGood) damaged.push({ start: 0, end: Math.min(SEGMENT_HEADER_BYTES, window.fileBytes) })

  let position = SEGMENT_HEADER_BYTES
  let end = SEGMENT_HEADER_BYTES
  while (position < window.fileBytes) {
    const record = decodeRecordHeader(await window.bytes(position, RECORD_HEADER_BYTES), position, seed)
    if (record === undefined) {
      const next = await findRecord(window, position + 1, seed)
      damaged.push({ start: position, end: next })
      position = next
      continue
    }
    const offset = position + RECORD_HEADER_BYTES
    const next = Math.min(offset + record.byteLength, window.fileBytes)
    if ((await window.checksum(offset, next)) === record.checksum && next === offset + record.byteLength) {
      records.push({ ...record, offset })
      end = next
    } else {
      damaged.push({ start: position, end: next })
    }
    position = next
  }
  return { header, logId: ownLogId, records, damaged, end, fileBytes: window.fileBytes }
}

/** Of a header that names another number, the records' seeds decide whose they are. */
function readHeader(bytes: Uint8Array, number: number): SegmentScan['header'] {
  const header = decodeSegmentHeader(bytes)
  return typeof header === 'object' && header.number !== number ? 'other' : header
}

/** Position of the next good record header from `from` on, or the end of the file. */
async function findRecord(window: FileWindow, from: number, seed: number): Promise<number> {
  let position = from
  while (position + RECORD_HEADER_BYTES <= window.fileBytes) {
    const bytes = await window.rest(position, RECORD_HEADER_BYTES)
    if (bytes.byteLength < RECORD_HEADER_BYTES) break
    const found = indexOfRecord(bytes, position, seed)
    if (found >= 0) return position + found
    position += bytes.byteLength - RECORD_HEADER_BYTES + 1
  }
  return window.fileBytes
}

/**
 * Where the first good record header is among bytes that stand at `position`; -1 when none is wholly in them. Clients can store what looks
 * like the magic, in every few bytes of a file: so nothing is awaited for one, and little is done.
 */
function indexOfRecord(bytes: Buffer, position: number, seed: number): number {
  const last = bytes.byteLength - RECORD_HEADER_BYTES
  for (let at = bytes.indexOf(RECORD_MAGIC); at >= 0 && at <= last; at = bytes.indexOf(RECORD_MAGIC, at + 1)) {
    if (bytes.readUInt32LE(at + RECORD_OFFSET_AT) !== position + at) continue
    if (decodeRecordHeader(bytes.subarray(at), position + at, seed)) return at
  }
  return -1
}

/** Reads a file forwards through one buffer. What it returns is valid until the next call. */
class FileWindow {
  readonly fileBytes: number
  readonly #file: LogFile
  readonly #buffer: Buffer
  #start = 0
  #length = 0

  constructor(file: LogFile, fileBytes: number) {
    this.fileBytes = fileBytes
    this.#file = file
    this.#buffer = Buffer.alloc(Math.min(WINDOW_BYTES, fileBytes))
  }

  /** The bytes from `position` on, fewer than `length` only at the end of the file. */
  async bytes(position: number, length: number): Promise<Buffer> {
    const bytes = await this.rest(position, length)
    return bytes.subarray(0, length)
  }

  /** All loaded bytes from `position` on, at least `length` unless the file ends. */
  async rest(position: number, length: number): Promise<Buffer> {
    const wanted = Math.min(length, this.fileBytes - position)
    if (position < this.#start || position + wanted > this.#start + this.#length) {
      this.#start = position
      this.#length = 0
      this.#length = await this.#file.read(this.#buffer, position)
    }
    return this.#buffer.subarray(position - this.#start, this.#length)
  }

  /** CRC-32 of the bytes from `start` to `end`. */
  async checksum(start: number, end: number): Promise<number> {
    let checksum = 0
    let position = start
    while (position < end) {
      const bytes = (await this.rest(position, 1)).subarray(0, end - position)
      if (bytes.byteLength === 0) break
      checksum = crc32(bytes, checksum)
      position += bytes.byteLength
    }
    return checksum
  }
}
