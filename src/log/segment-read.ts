import { crc32 } from 'node:zlib'
import type { RecordPosition } from './event-log.ts'
import type { LogFile } from './file-system.ts'

/** Blocks shorter than this are gathered from the ring into one chunk: many tiny chunks cost a request more than a copy. */
const VIEW_BYTES_MIN = 32 * 1024
const GATHER_BYTES = 256 * 1024
/** A file is read in chunks of this size, all in the same memory: a new one each would be a hundred megabytes of garbage a second. */
const CHUNK_BYTES = 1024 * 1024

/** Thrown when bytes in a file are not those that were verified when the segment was taken. */
export class SegmentChangedError extends Error {
  override readonly name = 'SegmentChangedError'
  readonly code = 'SEGMENT_CHANGED'
}

/**
 * Blocks out of the ring: views of its memory for the long ones, copies for the short ones. A chunk holds until the next is asked for.
 * @param placeOf where a record's block begins in `memory`
 */
export function* readFromRing(
  memory: Uint8Array,
  records: readonly RecordPosition[],
  placeOf: (record: RecordPosition) => number,
): Generator<Uint8Array> {
  let gathered: Uint8Array | undefined
  let length = 0
  for (const record of records) {
    const place = placeOf(record)
    const block = memory.subarray(place, place + record.byteLength)
    const isLong = block.byteLength >= VIEW_BYTES_MIN
    if (gathered !== undefined && length > 0 && (isLong || length + block.byteLength > GATHER_BYTES)) {
      yield gathered.subarray(0, length)
      length = 0
    }
    if (isLong) {
      yield block
      continue
    }
    gathered ??= new Uint8Array(GATHER_BYTES)
    gathered.set(block, length)
    length += block.byteLength
  }
  if (gathered !== undefined && length > 0) yield gathered.subarray(0, length)
}

/** Blocks out of a file, in chunks of bounded size; a chunk holds until the next is asked for. Throws SegmentChangedError when a block's checksum is wrong. */
export async function* readFromFile(file: LogFile, records: readonly RecordPosition[]): AsyncGenerator<Uint8Array> {
  const memory = new Uint8Array(CHUNK_BYTES)
  let first = 0
  while (first < records.length) {
    const begin = records[first]
    if (begin === undefined) break
    let last = first
    let end = begin.offset + begin.byteLength
    for (let next = records[last + 1]; next !== undefined; next = records[last + 1]) {
      if (next.offset < end || next.offset + next.byteLength - begin.offset > CHUNK_BYTES) break
      end = next.offset + next.byteLength
      last += 1
    }
    if (last === first) yield* readLongBlock(file, begin, memory)
    else yield await readShortBlocks(file, records.slice(first, last + 1), end, memory)
    first = last + 1
  }
}

/** Reads neighbouring records with one read, and moves their blocks together over the headers between them. */
async function readShortBlocks(
  file: LogFile,
  records: readonly RecordPosition[],
  end: number,
  memory: Uint8Array,
): Promise<Uint8Array> {
  const start = records[0]?.offset ?? 0
  const chunk = memory.subarray(0, end - start)
  const count = await file.read(chunk, start)
  let length = 0
  for (const record of records) {
    const from = record.offset - start
    const block = chunk.subarray(from, Math.min(from + record.byteLength, count))
    if (crc32(block) !== record.checksum) throw changed(record)
    chunk.copyWithin(length, from, from + record.byteLength)
    length += record.byteLength
  }
  return chunk.subarray(0, length)
}

async function* readLongBlock(file: LogFile, record: RecordPosition, memory: Uint8Array): AsyncGenerator<Uint8Array> {
  let checksum = 0
  let done = 0
  while (done < record.byteLength) {
    const chunk = memory.subarray(0, Math.min(CHUNK_BYTES, record.byteLength - done))
    const count = await file.read(chunk, record.offset + done)
    checksum = crc32(chunk, checksum)
    done += chunk.byteLength
    // The checksum of the whole is known at the last chunk: that one is held back when it is wrong, so the insert cannot end well.
    if (count < chunk.byteLength || (done === record.byteLength && checksum !== record.checksum)) throw changed(record)
    yield chunk
  }
}

function changed(record: RecordPosition): SegmentChangedError {
  return new SegmentChangedError(`record ${record.ordinal} at ${record.offset} is not what it was when it was verified`)
}
