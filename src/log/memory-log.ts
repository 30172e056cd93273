/**
 * The log without a disk, for DURABILITY=memory: the same segments, in the ring alone. What is not in ClickHouse when the
 * process ends is lost. A full ring refuses, because there is nowhere else to go.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { LINKS_MAX, type Trace } from '../telemetry/telemetry.ts'
import { Background } from './background.ts'
import {
  type CommitOutcome,
  type EncodedBlock,
  type EventLog,
  INSERT_FORM,
  type LogStats,
  type RecordPosition,
  SEGMENT_BYTES_MAX,
  SEGMENT_ROWS_MAX,
  type SealedSegment,
} from './event-log.ts'
import { Ring, type RingRegion } from './ring.ts'
import { type IsWanted, SealedQueue } from './sealed-queue.ts'
import { readFromRing } from './segment-read.ts'

/** What a memory log is made with. */
export interface MemoryLogOptions {
  /** A segment is sealed when its blocks are this long … */
  readonly segmentBytes: number
  /** … or its first block this old, unless segments are waiting to be taken already. */
  readonly flushIntervalMs: number
  /** All that the log can hold. */
  readonly ringBytes: number
  /** Wall clock, ms since 1970. */
  readonly now?: () => number
}

class MemorySegment {
  readonly number: number
  readonly firstAt: number
  readonly firstAtMonotonic = performance.now()
  readonly regions: RingRegion[] = []
  readonly records: RecordPosition[] = []
  readonly places: number[] = []
  readonly traces: Trace[] = []
  rows = 0
  blockBytes = 0
  sealedAt = 0
  isTaken = false

  constructor(number: number, firstAt: number) {
    this.number = number
    this.firstAt = firstAt
  }
}

/** The log in memory; see the head of the file. `durable` means no more than kept. */
export class MemoryLog implements EventLog {
  readonly #options: MemoryLogOptions
  readonly #now: () => number
  /** Made anew at every start, so that no token ever comes twice. */
  readonly #logId = randomBytes(16).toString('hex')
  readonly #ring: Ring
  readonly #background: Background
  readonly #queue = new SealedQueue<MemorySegment>()
  readonly #segments = new Map<number, MemorySegment>()
  #open: MemorySegment | undefined
  #nextNumber = 0
  #written = 0
  #flushed = 0
  #taken = 0
  #isClosed = false

  constructor(options: MemoryLogOptions) {
    assert(options.segmentBytes > 0 && options.segmentBytes <= SEGMENT_BYTES_MAX)
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#ring = new Ring(options.ringBytes)
    this.#background = new Background({
      retryMinMs: 1,
      retryMaxMs: 1,
      tick: () => this.#sealByAge(),
      onError: assert.ifError,
    })
    this.#background.start()
  }

  get id(): string {
    return this.#logId
  }

  async restoreIds(): Promise<void> {}

  async commit(blocks: readonly EncodedBlock[]): Promise<CommitOutcome> {
    if (this.#isClosed) return 'closed'
    if (blocks.length === 0) return 'durable'
    let bytes = 0
    let rows = 0
    for (const block of blocks) {
      bytes += block.byteLength
      rows += block.rows
    }
    assert(rows <= SEGMENT_ROWS_MAX && bytes <= SEGMENT_BYTES_MAX, 'commit too large')
    const open = this.#open
    if (open && (open.rows + rows > SEGMENT_ROWS_MAX || open.blockBytes + bytes > SEGMENT_BYTES_MAX)) this.#sealOpen()
    const region = this.#ring.reserve(bytes)
    if (region === undefined) return 'log_full'
    try {
      this.#write(blocks, region)
    } catch (error) {
      this.#ring.cancel(region)
      throw error
    }
    this.#append(blocks, region)
    this.#written += bytes
    if ((this.#open?.blockBytes ?? 0) >= this.#options.segmentBytes) this.#sealOpen()
    return 'durable'
  }

  #write(blocks: readonly EncodedBlock[], region: RingRegion): void {
    let place = region.offset
    for (const block of blocks) {
      block.writeTo(this.#ring.memory, place)
      place += block.byteLength
    }
  }

  #append(blocks: readonly EncodedBlock[], region: RingRegion): void {
    let segment = this.#open
    if (segment === undefined) {
      segment = new MemorySegment(this.#nextNumber, this.#now())
      this.#nextNumber += 1
      this.#open = segment
      this.#segments.set(segment.number, segment)
      this.#background.wake()
    }
    segment.regions.push(region)
    let place = region.offset
    for (const block of blocks) {
      const { byteLength, rows } = block
      const checksum = crc32(this.#ring.memory.subarray(place, place + byteLength))
      segment.places.push(place)
      segment.records.push({ ordinal: segment.records.length, offset: segment.blockBytes, byteLength, rows, checksum })
      if (block.trace !== undefined && segment.traces.length < LINKS_MAX) segment.traces.push(block.trace)
      segment.rows += rows
      segment.blockBytes += byteLength
      place += byteLength
    }
  }

  #sealOpen(): void {
    const segment = this.#open
    if (segment === undefined) return
    this.#open = undefined
    segment.sealedAt = this.#now()
    this.#queue.push(segment)
  }

  #sealByAge(): number {
    const segment = this.#open
    if (segment === undefined || (this.#queue.length > 0 && !this.#queue.hasTaker)) return Number.POSITIVE_INFINITY
    const leftMs = segment.firstAtMonotonic + this.#options.flushIntervalMs - performance.now()
    if (leftMs > 0) return leftMs
    this.#sealOpen()
    return Number.POSITIVE_INFINITY
  }

  get nextNumber(): number {
    return this.#nextNumber
  }

  async takeSealed(isWanted?: IsWanted): Promise<SealedSegment | undefined> {
    const segment = await this.#queue.take(isWanted)
    if (segment === undefined) return undefined
    segment.isTaken = true
    this.#taken += 1
    this.#background.wake()
    const { number, rows, blockBytes, sealedAt, firstAt: oldestAt, traces, records } = segment
    const token = `${this.#logId}/${number}`
    return { number, token, insertForm: INSERT_FORM, rows, blockBytes, sealedAt, oldestAt, traces, records }
  }

  async *read(
    segment: SealedSegment,
    records: readonly RecordPosition[] = segment.records,
  ): AsyncGenerator<Uint8Array> {
    const known = this.#segments.get(segment.number)
    assert(known?.isTaken, 'only taken segments are read')
    yield* readFromRing(this.#ring.memory, records, (record) => {
      const place = known.places[record.ordinal]
      assert(place !== undefined, 'a record of another segment')
      return place
    })
  }

  async release(segment: SealedSegment): Promise<void> {
    const known = this.#segments.get(segment.number)
    assert(known?.isTaken, 'only taken segments are released')
    this.#segments.delete(known.number)
    this.#taken -= 1
    this.#flushed += known.blockBytes
    assert(this.#written >= this.#flushed)
    for (const region of known.regions) this.#ring.release(region)
  }

  stats(): LogStats {
    const oldest = this.#segments.values().next().value
    return {
      writtenBytes: this.#written,
      durableBytes: this.#written,
      flushedBytes: this.#flushed,
      refusedBytes: 0,
      ringBytes: this.#ring.memory.byteLength,
      ringUsedBytes: this.#ring.usedBytes,
      logBytes: this.#ring.usedBytes,
      logBytesMax: this.#ring.memory.byteLength,
      segmentsWaiting: this.#queue.length,
      segmentsTaken: this.#taken,
      retrying: 0,
      oldestUnflushedAt: oldest?.firstAt,
      lastError: undefined,
      damagedRecords: 0,
      damagedBytes: 0,
      tornTails: 0,
      idBytes: 0,
      idFailures: 0,
    }
  }

  async seal(): Promise<void> {
    this.#sealOpen()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#sealOpen()
    this.#queue.close()
    await this.#background.stop()
  }

  async dispose(): Promise<void> {
    await this.close()
  }
}
