import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import { LINKS_MAX, type Trace } from '../telemetry/telemetry.ts'
import type { EncodedBlock, RecordPosition } from './event-log.ts'
import type { LogFile } from './file-system.ts'
import { IdBuffer } from './id-buffer.ts'
import type { Ring, RingRegion } from './ring.ts'
import {
  END_MARK_BYTES,
  encodeRecordHeader,
  RECORD_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentSeed,
} from './segment.ts'
import { writeAll } from './set-aside.ts'

/** A segment's blocks in the ring: there for all of its records, or not at all. */
export interface RingCopy {
  readonly records: RecordPosition[]
  /** Where each record's block begins in the ring's memory. */
  readonly places: number[]
  readonly regions: RingRegion[]
}

/** Records that are written and not yet kept. */
interface Pending {
  readonly blocks: readonly EncodedBlock[]
  readonly byteLength: number
  readonly region: RingRegion | undefined
}

/** Memory that records are built in when the ring has no room; a commit of up to this size is one write. */
const SCRATCH_BYTES = 4 * 1024 * 1024

/** Memory for records that do not go through the ring, used again from commit to commit. */
export class Scratch {
  #memory = new Uint8Array(0)

  /** Memory for at least `length` bytes. Grows with what is `wanted` up to SCRATCH_BYTES; memory for a longer block is not kept. */
  ofAtLeast(length: number, wanted: number): Uint8Array {
    if (this.#memory.byteLength >= length) return this.#memory
    const size = 2 ** Math.ceil(Math.log2(Math.max(length, Math.min(wanted, SCRATCH_BYTES), 64 * 1024)))
    const memory = new Uint8Array(size)
    if (size <= SCRATCH_BYTES) this.#memory = memory
    return memory
  }
}

/**
 * The segment that is being written. `write` puts records behind its end, `keep` moves the end over them once they are
 * synced, `drop` forgets them; then the file is cut back to the end before anything else is written.
 */
export class OpenSegment {
  readonly number: number
  readonly logId: string
  readonly file: LogFile
  /** When its first block was written: ms since 1970, and on the clock that never goes backwards. */
  firstAt = 0
  firstAtMonotonic = 0
  /** Bytes of the file that are on disk. */
  end = SEGMENT_HEADER_BYTES
  rows = 0
  recordCount = 0
  /** Keys of the event ids in its blocks. */
  readonly ids = new IdBuffer()
  /** Of the sampled commits in it. */
  readonly traces: Trace[] = []
  /** The directory entry is on disk. */
  isEntrySynced = false
  /** There may be bytes of refused blocks behind the end. */
  needsCut = false
  /** The file ends with the last record: for good. */
  isCut = false
  isRenamed = false
  areIdsKept = false
  ring: RingCopy | undefined
  readonly #seed: number
  readonly #ring: Ring
  readonly #scratch: Scratch
  #pending: Pending | undefined

  constructor(number: number, logId: string, file: LogFile, ring: Ring, scratch: Scratch) {
    this.number = number
    this.logId = logId
    this.file = file
    this.#seed = segmentSeed(logId, number)
    this.#ring = ring
    this.#scratch = scratch
    this.ring = ring.memory.byteLength > 0 ? { records: [], places: [], regions: [] } : undefined
  }

  /** Bytes that the blocks take in the file. */
  static bytesOf(blocks: readonly EncodedBlock[]): number {
    let bytes = 0
    for (const block of blocks) bytes += RECORD_HEADER_BYTES + block.byteLength
    return bytes
  }

  /** Writes the blocks behind the end: from the ring when it has room for them, else from memory of its own. */
  write(blocks: readonly EncodedBlock[], byteLength: number): void {
    assert(this.#pending === undefined && !this.needsCut)
    const region = this.ring && this.#ring.reserve(byteLength + END_MARK_BYTES)
    if (region === undefined) this.leaveRing()
    this.#pending = { blocks, byteLength, region }
    this.needsCut = true
    if (region === undefined) {
      this.#writeFromScratch(blocks, byteLength)
      return
    }
    const { memory } = this.#ring
    this.#encode(blocks, 0, blocks.length, memory, region.offset, this.end, this.ring)
    memory.fill(0, region.offset + byteLength, region.offset + region.byteLength)
    writeAll(this.file, memory, region.offset, region.byteLength, this.end)
  }

  /** The written records are on disk. */
  keep(): void {
    const pending = this.#pending
    assert(pending !== undefined)
    if (pending.region !== undefined) this.ring?.regions.push(pending.region)
    for (const block of pending.blocks) {
      this.rows += block.rows
      if (block.ids !== undefined) this.ids.append(block.ids)
      if (block.trace !== undefined && this.traces.length < LINKS_MAX) this.traces.push(block.trace)
    }
    this.recordCount += pending.blocks.length
    this.end += pending.byteLength
    this.needsCut = false
    this.#pending = undefined
  }

  /** The written records are refused: they are behind the end, and the file needs a cut. */
  drop(): void {
    const region = this.#pending?.region
    if (region !== undefined) this.#ring.cancel(region)
    if (this.ring !== undefined) {
      this.ring.records.length = this.recordCount
      this.ring.places.length = this.recordCount
    }
    this.#pending = undefined
  }

  /** Gives back what the segment has in the ring: from now on it is read from the file. */
  leaveRing(): void {
    for (const region of this.ring?.regions ?? []) this.#ring.release(region)
    this.ring = undefined
  }

  #writeFromScratch(blocks: readonly EncodedBlock[], byteLength: number): void {
    let position = this.end
    let first = 0
    while (first < blocks.length) {
      let last = first
      let length = 0
      for (let block = blocks[last]; block !== undefined; block = blocks[last]) {
        const next = length + RECORD_HEADER_BYTES + block.byteLength
        if (length > 0 && next > SCRATCH_BYTES) break
        length = next
        last += 1
      }
      const markBytes = last === blocks.length ? END_MARK_BYTES : 0
      const scratch = this.#scratch.ofAtLeast(length + markBytes, byteLength)
      this.#encode(blocks, first, last, scratch, 0, position, undefined)
      scratch.fill(0, length, length + markBytes)
      writeAll(this.file, scratch, 0, length + markBytes, position)
      position += length
      first = last
    }
  }

  #encode(
    blocks: readonly EncodedBlock[],
    first: number,
    last: number,
    target: Uint8Array,
    start: number,
    position: number,
    copy: RingCopy | undefined,
  ): void {
    let place = start
    let ordinal = this.recordCount + first
    for (let index = first; index < last; index += 1) {
      const block = blocks[index]
      assert(block !== undefined && block.rows > 0 && block.byteLength > 0)
      const { rows, byteLength } = block
      const blockPlace = place + RECORD_HEADER_BYTES
      block.writeTo(target, blockPlace)
      const checksum = crc32(target.subarray(blockPlace, blockPlace + byteLength))
      const fileOffset = position + place - start
      encodeRecordHeader(target, place, fileOffset, this.#seed, { ordinal, rows, byteLength, checksum })
      copy?.places.push(blockPlace)
      copy?.records.push({ ordinal, offset: fileOffset + RECORD_HEADER_BYTES, byteLength, rows, checksum })
      place = blockPlace + byteLength
      ordinal += 1
    }
  }
}
