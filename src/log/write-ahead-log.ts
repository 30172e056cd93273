/**
 * The log on disk. `commit` appends to the open segment and syncs; the background loop seals segments by age and size,
 * deletes released ones and repeats what failed; `takeSealed` hands out what is sealed, durably, under its final name.
 *
 * Failures never crash it, lose or double what was acknowledged:
 * - no room: the file is cut back to its durable end, the commit is refused, the next one tries again.
 * - a failed write or sync: the kernel may have dropped the pages, so the file is not written any more. It is cut to its
 *   durable end and sealed, in the background until it works, and the next commit begins a new segment.
 *
 * Two things remain possible, both after more than one failure. When a file could not be cut and the process ends before
 * a later try works, refused blocks may come back as events. When a released file could not be deleted before the end,
 * it is inserted again at the next start: under the same token, which ClickHouse remembers for its deduplication window.
 */
import assert from 'node:assert/strict'
import { Background } from './background.ts'
import {
  type CommitOutcome,
  type EncodedBlock,
  type EventLog,
  type LogError,
  type LogStats,
  type RecordPosition,
  type SealedSegment,
  SEGMENT_BYTES_MAX,
  SEGMENT_ROWS_MAX,
} from './event-log.ts'
import { errorCode, type FileSystem, isNoSpace, realFileSystem } from './file-system.ts'
import { type DirectoryLock, lockDirectory } from './lock.ts'
import { type FoundSegment, LogDirectory } from './log-directory.ts'
import { OpenSegment, type RingCopy, Scratch } from './open-segment.ts'
import { recoverOpenFile } from './recovery.ts'
import { Ring } from './ring.ts'
import { SealedQueue } from './sealed-queue.ts'
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES } from './segment.ts'
import { readFromFile, readFromRing } from './segment-read.ts'
import { scanSegment } from './segment-scan.ts'
import { verifySegment } from './segment-verify.ts'
import { moveAside, writeAll } from './set-aside.ts'
import type { Logger } from '../telemetry/logger.ts'

/** What a write-ahead log is opened with. */
export interface WriteAheadLogOptions {
  /** The log's directory; made when it is not there. One process at a time. */
  readonly directory: string
  /** A segment is sealed when its file is this long … */
  readonly segmentBytes: number
  /** … or its first block this old, unless segments are waiting to be taken already. */
  readonly flushIntervalMs: number
  /** Memory for the newest end of the log; 0 = always read from files. */
  readonly ringBytes: number
  /** Bytes of all segment files at most. */
  readonly logBytesMax: number
  readonly logger: Logger
  readonly fileSystem?: FileSystem
  readonly lock?: (directory: string) => DirectoryLock
  /** Wall clock, ms since 1970; only shown, never relied on. */
  readonly now?: () => number
  /** Waits between attempts on a failing disk, ms. */
  readonly retryMinMs?: number
  readonly retryMaxMs?: number
}

/** A segment on disk that is written no more. */
interface Segment {
  readonly number: number
  readonly fileBytes: number
  readonly firstAt: number
  readonly sealedAt: number
  state: 'waiting' | 'taken'
  ring: RingCopy | undefined
  /** What was handed out, when it came from the ring or was verified. */
  token: string
  /** Bytes in it are damaged and could not be copied: instead of being deleted the file is kept in `damaged/`. */
  isKept: boolean
}

/** The log on disk; see the head of the file. */
export class WriteAheadLog implements EventLog {
  readonly #options: WriteAheadLogOptions
  readonly #fileSystem: FileSystem
  readonly #now: () => number
  readonly #logger: Logger
  readonly #directory: LogDirectory
  readonly #ring: Ring
  readonly #scratch = new Scratch()
  readonly #background: Background
  readonly #queue = new SealedQueue<Segment>()
  /** Closed segments that are not released, by number, and the open ones, in the order of their creation. */
  readonly #segments = new Map<number, Segment | OpenSegment>()
  #lock: DirectoryLock | undefined
  #open: OpenSegment | undefined
  #isCommitting = false
  #isClosed = false
  #isSealWanted = false
  #afterCommit: (() => void)[] = []
  #lastSeal: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #written = 0
  #durable = 0
  #flushed = 0
  #refused = 0
  #logBytes = 0
  #taken = 0
  #tornTails = 0
  #damagedRecords = 0
  #damagedBytes = 0
  #lastError: LogError | undefined

  private constructor(options: WriteAheadLogOptions) {
    this.#options = options
    this.#fileSystem = options.fileSystem ?? realFileSystem
    this.#now = options.now ?? Date.now
    this.#logger = options.logger
    this.#directory = new LogDirectory(this.#fileSystem, options.directory)
    this.#ring = new Ring(options.ringBytes)
    this.#background = new Background({
      retryMinMs: options.retryMinMs ?? 50,
      retryMaxMs: options.retryMaxMs ?? 5_000,
      tick: () => this.#sealByAge(),
      onError: (error, attempts) => this.#report('background', error, attempts),
    })
  }

  /**
   * Takes the directory, recovers what a crash left, and is ready for commits. What is in the files never makes it fail.
   * Throws DirectoryLockedError when another process has the directory, and the file system's error when it cannot be used.
   */
  static async open(options: WriteAheadLogOptions): Promise<WriteAheadLog> {
    assert(options.segmentBytes > 0 && options.segmentBytes <= SEGMENT_BYTES_MAX)
    const log = new WriteAheadLog(options)
    await log.#fileSystem.makeDirectory(options.directory)
    log.#lock = (options.lock ?? lockDirectory)(options.directory)
    try {
      log.#background.start()
      await log.#directory.open(options.logger)
      await log.#recover()
    } catch (error) {
      await log.dispose()
      throw error
    }
    return log
  }

  async #recover(): Promise<void> {
    const { open, sealed } = this.#directory.found
    for (const found of sealed) this.#addFound(found)
    await Promise.all(open.map((found) => this.#recoverOpen(found)))
    if (open.length + sealed.length > 0) {
      this.#logger.info({ segments: this.#segments.size, bytes: this.#logBytes }, 'the log holds events from before')
    }
  }

  async #recoverOpen(found: FoundSegment): Promise<void> {
    const context = { fileSystem: this.#fileSystem, directory: this.#directory, logger: this.#logger }
    await this.#background.add(async () => {
      const recovered = await recoverOpenFile(context, found)
      this.#tornTails += recovered.tornTails
      this.#damagedRecords += recovered.damagedRecords
      this.#damagedBytes += recovered.damagedBytes
      if (recovered.outcome === 'sealed') this.#addFound({ ...found, bytes: recovered.bytes })
    })
  }

  #addFound(found: FoundSegment): void {
    const { number, bytes, modifiedAt } = found
    const positions = Math.max(0, bytes - SEGMENT_HEADER_BYTES)
    this.#written += positions
    this.#durable += positions
    this.#logBytes += bytes
    this.#addWaiting({
      number,
      fileBytes: bytes,
      firstAt: modifiedAt,
      sealedAt: modifiedAt,
      state: 'waiting',
      ring: undefined,
      token: '',
      isKept: false,
    })
  }

  #addWaiting(segment: Segment): void {
    this.#segments.set(segment.number, segment)
    this.#queue.push(segment)
  }

  async commit(blocks: readonly EncodedBlock[]): Promise<CommitOutcome> {
    assert(!this.#isCommitting, 'one commit at a time')
    if (this.#isClosed) return 'closed'
    this.#isCommitting = true
    try {
      return await this.#commit(blocks)
    } finally {
      this.#isCommitting = false
      const open = this.#open
      if (open !== undefined && (this.#isSealWanted || open.end >= this.#options.segmentBytes)) {
        this.#lastSeal = this.#sealOpen()
      }
      this.#isSealWanted = false
      if (this.#afterCommit.length > 0) for (const resolve of this.#afterCommit.splice(0)) resolve()
    }
  }

  async #commit(blocks: readonly EncodedBlock[]): Promise<CommitOutcome> {
    if (blocks.length === 0) return 'durable'
    const byteLength = OpenSegment.bytesOf(blocks)
    let rows = 0
    for (const block of blocks) rows += block.rows
    assert(rows <= SEGMENT_ROWS_MAX && byteLength <= SEGMENT_BYTES_MAX - SEGMENT_HEADER_BYTES, 'commit too large')

    let segment = this.#open
    if (segment && (segment.rows + rows > SEGMENT_ROWS_MAX || segment.end + byteLength > SEGMENT_BYTES_MAX)) {
      void this.#sealOpen()
      segment = undefined
    }
    const added = byteLength + (segment === undefined ? SEGMENT_HEADER_BYTES : 0)
    if (this.#logBytes + added > this.#options.logBytesMax) return 'log_full'
    try {
      segment ??= await this.#create()
    } catch (error) {
      this.#report('create', error, 1)
      return isNoSpace(error) ? 'disk_full' : 'io_error'
    }

    try {
      segment.write(blocks, byteLength)
    } catch (error) {
      return await this.#refuse(segment, 'write', error)
    }
    this.#written += byteLength
    try {
      if (segment.isEntrySynced) await segment.file.sync()
      else await this.#syncWithEntry(segment)
    } catch (error) {
      this.#refused += byteLength
      return await this.#refuse(segment, 'sync', error)
    }
    segment.keep()
    this.#logBytes += byteLength
    this.#durable += byteLength
    assert(this.#written >= this.#durable && this.#durable >= this.#flushed)
    if (segment.recordCount === blocks.length) this.#begin(segment)
    return 'durable'
  }

  /** The first blocks of a segment are durable: its age counts from here. */
  #begin(segment: OpenSegment): void {
    segment.firstAt = this.#now()
    segment.firstAtMonotonic = performance.now()
    this.#segments.set(segment.number, segment)
    this.#background.wake()
  }

  async #create(): Promise<OpenSegment> {
    const number = await this.#directory.takeNumber()
    const path = this.#directory.segmentPath(number, 'open')
    const file = await this.#fileSystem.open(path, 'create')
    const segment = new OpenSegment(number, this.#directory.logId, file, this.#ring, this.#scratch)
    this.#logBytes += SEGMENT_HEADER_BYTES
    try {
      const header = encodeSegmentHeader({ logId: segment.logId, number, createdAt: this.#now() })
      writeAll(file, header, 0, header.byteLength, 0)
    } catch (error) {
      void this.#discard(segment)
      throw error
    }
    this.#open = segment
    return segment
  }

  async #syncWithEntry(segment: OpenSegment): Promise<void> {
    const synced = await Promise.allSettled([segment.file.sync(), this.#fileSystem.syncDirectory(this.#directory.path)])
    for (const result of synced) if (result.status === 'rejected') throw result.reason
    segment.isEntrySynced = true
  }

  /** Nothing of the commit stays: the file is cut to its durable end, and is written on only after a plain lack of room. */
  async #refuse(segment: OpenSegment, operation: string, error: unknown): Promise<CommitOutcome> {
    segment.drop()
    this.#report(operation, error, 1)
    let isUsable = false
    if (operation === 'write' && isNoSpace(error)) {
      try {
        await segment.file.truncate(segment.end)
        segment.needsCut = false
        isUsable = true
      } catch (cutError) {
        this.#report('cut', cutError, 1)
      }
    }
    if (!isUsable) await this.#sealOpen()
    if (errorCode(error) === 'UNKNOWN') throw error
    return isNoSpace(error) ? 'disk_full' : 'io_error'
  }

  /** Closes the open segment; resolves after the first attempt to seal it. */
  async #sealOpen(): Promise<void> {
    const segment = this.#open
    this.#open = undefined
    if (segment === undefined) return
    if (segment.recordCount === 0) await this.#discard(segment)
    else await this.#background.add(() => this.#seal(segment))
  }

  async #seal(segment: OpenSegment): Promise<void> {
    const { number, file } = segment
    const path = this.#directory.segmentPath(number, 'open')
    const sealedPath = this.#directory.segmentPath(number, 'sealed')
    if (segment.needsCut) await file.truncate(segment.end)
    segment.needsCut = false
    if (!segment.isRenamed) {
      try {
        await this.#fileSystem.rename(path, sealedPath)
      } catch (error) {
        // A rename can fail after it happened; then the next attempt does not find the old name.
        if (errorCode(error) !== 'ENOENT' || !(await this.#directory.exists(sealedPath))) throw error
      }
      segment.isRenamed = true
    }
    await this.#fileSystem.syncDirectory(this.#directory.path)
    const ring = segment.ring
    this.#addWaiting({
      number,
      fileBytes: segment.end,
      firstAt: segment.firstAt,
      sealedAt: this.#now(),
      state: 'waiting',
      ring,
      token: `${segment.logId}/${number}`,
      isKept: false,
    })
    await this.#closeFile(segment)
  }

  /** Removes a segment that never held anything. */
  async #discard(segment: OpenSegment): Promise<void> {
    segment.leaveRing()
    await this.#background.add(async () => {
      // A removal may be undone by a crash, so refused blocks are cut away first.
      if (segment.needsCut) await segment.file.truncate(segment.end)
      segment.needsCut = false
      await this.#remove(segment.number, 'open')
      this.#logBytes -= SEGMENT_HEADER_BYTES
      await this.#closeFile(segment)
    })
  }

  async #closeFile(segment: OpenSegment): Promise<void> {
    try {
      await segment.file.close()
    } catch (error) {
      this.#report('close', error, 1)
    }
  }

  async #remove(number: number, state: 'open' | 'sealed'): Promise<void> {
    try {
      await this.#fileSystem.remove(this.#directory.segmentPath(number, state))
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error
    }
  }

  /**
   * Seals the open segment when it is old enough. While a sealed segment waits to be taken the flusher is behind, and
   * sealing by age would only make more and smaller inserts and files: then the open segment grows up to its size.
   */
  #sealByAge(): number {
    const segment = this.#open
    if (segment === undefined || segment.recordCount === 0 || this.#queue.length > 0) return Number.POSITIVE_INFINITY
    const leftMs = segment.firstAtMonotonic + this.#options.flushIntervalMs - performance.now()
    if (leftMs > 0) return leftMs
    if (this.#isCommitting) this.#isSealWanted = true
    else void this.#sealOpen()
    return Number.POSITIVE_INFINITY
  }

  async takeSealed(): Promise<SealedSegment | undefined> {
    for (let segment = await this.#queue.take(); segment !== undefined; segment = await this.#queue.take()) {
      segment.state = 'taken'
      this.#taken += 1
      this.#background.wake()
      const records = segment.ring?.records ?? (await this.#verify(segment))
      if (records === undefined) continue
      let rows = 0
      let blockBytes = 0
      for (const record of records) {
        rows += record.rows
        blockBytes += record.byteLength
      }
      return { number: segment.number, token: segment.token, rows, blockBytes, sealedAt: segment.sealedAt, records }
    }
    return undefined
  }

  /** The good records of a file; undefined when there is nothing to hand out, or not yet. */
  async #verify(segment: Segment): Promise<readonly RecordPosition[] | undefined> {
    const context = { fileSystem: this.#fileSystem, directory: this.#directory, logger: this.#logger }
    try {
      const verified = await verifySegment(context, segment.number)
      this.#damagedRecords += verified.damagedRecords
      this.#damagedBytes += verified.damagedBytes
      segment.isKept = verified.isKept
      segment.token = verified.token
      if (verified.outcome === 'good') return verified.records
      this.#forget(segment)
    } catch (error) {
      this.#report('read', error, 1)
      this.#taken -= 1
      segment.state = 'waiting'
      // It takes its turn again once it can be read; those behind it go first.
      void this.#background.add(async () => {
        const file = await this.#fileSystem.open(this.#directory.segmentPath(segment.number, 'sealed'), 'read')
        try {
          await scanSegment(file, segment.number, this.#directory.logId)
        } finally {
          await file.close()
        }
        this.#queue.push(segment)
      })
    }
    return undefined
  }

  async *read(
    segment: SealedSegment,
    records: readonly RecordPosition[] = segment.records,
  ): AsyncGenerator<Uint8Array> {
    const known = this.#segments.get(segment.number)
    assert(
      known !== undefined && !(known instanceof OpenSegment) && known.state === 'taken',
      'only taken segments are read',
    )
    const ring = known.ring
    if (ring !== undefined) {
      yield* readFromRing(this.#ring.memory, records, (record) => {
        const place = ring.places[record.ordinal]
        assert(place !== undefined, 'a record of another segment')
        return place
      })
      return
    }
    const file = await this.#fileSystem.open(this.#directory.segmentPath(segment.number, 'sealed'), 'read')
    try {
      yield* readFromFile(file, records)
    } finally {
      await file.close()
    }
  }

  async release(segment: SealedSegment): Promise<void> {
    const known = this.#segments.get(segment.number)
    assert(
      known !== undefined && !(known instanceof OpenSegment) && known.state === 'taken',
      'only taken segments are released',
    )
    this.#segments.delete(known.number)
    this.#taken -= 1
    this.#flushed += Math.max(0, known.fileBytes - SEGMENT_HEADER_BYTES)
    assert(this.#durable >= this.#flushed)
    for (const region of known.ring?.regions ?? []) this.#ring.release(region)
    await this.#background.add(async () => {
      if (known.isKept) await moveAside(this.#fileSystem, this.#directory, known.number, 'sealed')
      else await this.#remove(known.number, 'sealed')
      this.#logBytes -= known.fileBytes
    })
  }

  /** A segment of which nothing can be handed out is not the log's any more. */
  #forget(segment: Segment): void {
    this.#segments.delete(segment.number)
    this.#taken -= 1
    this.#flushed += Math.max(0, segment.fileBytes - SEGMENT_HEADER_BYTES)
    this.#logBytes -= segment.fileBytes
  }

  stats(): LogStats {
    const oldest = this.#segments.values().next().value
    return {
      writtenBytes: this.#written,
      durableBytes: this.#durable,
      flushedBytes: this.#flushed,
      refusedBytes: this.#refused,
      ringBytes: this.#ring.memory.byteLength,
      ringUsedBytes: this.#ring.usedBytes,
      logBytes: this.#logBytes,
      logBytesMax: this.#options.logBytesMax,
      segmentsWaiting: this.#queue.length,
      segmentsTaken: this.#taken,
      retrying: this.#background.retrying,
      oldestUnflushedAt: oldest?.firstAt,
      lastError: this.#lastError,
      damagedRecords: this.#damagedRecords,
      damagedBytes: this.#damagedBytes,
      tornTails: this.#tornTails,
    }
  }

  async seal(): Promise<void> {
    if (!this.#isCommitting) return await this.#sealOpen()
    this.#isSealWanted = true
    await new Promise<void>((resolve) => this.#afterCommit.push(resolve))
    await this.#lastSeal
  }

  close(): Promise<void> {
    this.#isClosed = true
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.seal()
    await this.#background.stop()
    this.#queue.close()
  }

  async dispose(): Promise<void> {
    await this.close()
    await this.#background.stop()
    for (const segment of this.#segments.values()) if (segment instanceof OpenSegment) await this.#closeFile(segment)
    this.#lock?.release()
    this.#lock = undefined
  }

  #report(operation: string, error: unknown, attempts: number): void {
    const message = error instanceof Error ? error.message : String(error)
    this.#lastError = { at: this.#now(), operation, code: errorCode(error), message }
    // The first attempts and then ever fewer of a long failure.
    if (Number.isInteger(Math.log2(attempts)))
      this.#logger.error({ err: error, operation, attempts }, 'the log failed on disk')
  }
}
