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
 * or a power cut undoes its deletion, it is inserted again at the next start: under the same token, which ClickHouse
 * remembers for its deduplication window.
 */
import assert from 'node:assert/strict'
import type { Logger } from '../telemetry/logger.ts'
import { Background } from './background.ts'
import {
  type CommitOutcome,
  type EncodedBlock,
  type EventLog,
  type LogStats,
  type RecordPosition,
  SEGMENT_BYTES_MAX,
  type SealedSegment,
} from './event-log.ts'
import { type FileSystem, realFileSystem } from './file-system.ts'
import { IdJournal, type IdRetention } from './id-journal.ts'
import { type IdRestorer, restoreIds } from './id-recovery.ts'
import { type DirectoryLock, lockDirectory } from './lock.ts'
import { LogAccount } from './log-account.ts'
import { type FoundSegment, LogDirectory } from './log-directory.ts'
import { type RecoveryContext, recoverOpenFile } from './recovery.ts'
import { Ring } from './ring.ts'
import type { IsWanted } from './sealed-queue.ts'
import { SealedSegments } from './sealed-segments.ts'
import { SEGMENT_HEADER_BYTES } from './segment.ts'
import { SegmentWriter } from './segment-writer.ts'
import { SpareFiles, type SpareOptions } from './spare-files.ts'

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
  /** How long the keys of event ids are kept for `restoreIds`; left out: not at all. */
  readonly ids?: IdRetention
  /** Files of released segments that are written over; see `spare-files.ts`. */
  readonly spares?: SpareOptions
  readonly logger: Logger
  readonly fileSystem?: FileSystem
  readonly lock?: (directory: string) => DirectoryLock
  /** Wall clock, ms since 1970; only shown, never relied on. */
  readonly now?: () => number
  /** Waits between attempts on a failing disk, ms. */
  readonly retryMinMs?: number
  readonly retryMaxMs?: number
}

/** The log on disk; see the head of the file. */
export class WriteAheadLog implements EventLog {
  readonly #options: WriteAheadLogOptions
  readonly #context: RecoveryContext
  readonly #account: LogAccount
  readonly #ring: Ring
  readonly #background: Background
  readonly #spares: SpareFiles
  readonly #sealed: SealedSegments
  readonly #writer: SegmentWriter
  readonly #ids: IdJournal | undefined
  #lock: DirectoryLock | undefined
  #closing: Promise<void> | undefined

  private constructor(options: WriteAheadLogOptions) {
    const fileSystem = options.fileSystem ?? realFileSystem
    const now = options.now ?? Date.now
    const directory = new LogDirectory(fileSystem, options.directory)
    const account = new LogAccount(options.logger, now)
    const ring = new Ring(options.ringBytes)
    const background = new Background({
      retryMinMs: options.retryMinMs ?? 50,
      retryMaxMs: options.retryMaxMs ?? 5_000,
      tick: () => Math.min(this.#sealByAge(), this.#spares.expire()),
      onError: (error, attempts) => account.report('background', error, attempts),
    })
    this.#options = options
    this.#context = { fileSystem, directory, logger: options.logger }
    this.#account = account
    this.#ring = ring
    this.#background = background
    this.#spares = new SpareFiles(fileSystem, directory, background, options.spares)
    this.#sealed = new SealedSegments(this.#context, account, ring, background, this.#spares)
    const { segmentBytes, logBytesMax } = options
    this.#ids = options.ids && new IdJournal({ ...options.ids, context: this.#context, account, now })
    const onSealed = this.#sealed.add.bind(this.#sealed)
    this.#writer = new SegmentWriter({
      ...{ fileSystem, directory, account, ring, background, spares: this.#spares },
      ...{ now, segmentBytes, logBytesMax, onSealed, ids: this.#ids },
    })
  }

  /**
   * Takes the directory, recovers what a crash left, and is ready for commits. What is in the files never makes it fail.
   * Throws DirectoryLockedError when another process has the directory, and the file system's error when it cannot be used.
   */
  static async open(options: WriteAheadLogOptions): Promise<WriteAheadLog> {
    assert(options.segmentBytes > 0 && options.segmentBytes <= SEGMENT_BYTES_MAX)
    const log = new WriteAheadLog(options)
    await log.#context.fileSystem.makeDirectory(options.directory)
    log.#lock = (options.lock ?? lockDirectory)(options.directory)
    try {
      log.#background.start()
      await log.#context.directory.open(options.logger)
      await log.#recover()
    } catch (error) {
      await log.dispose()
      throw error
    }
    return log
  }

  get id(): string {
    return this.#context.directory.logId
  }

  async restoreIds(restorer: IdRestorer): Promise<void> {
    const { ids, now = Date.now } = this.#options
    if (this.#ids === undefined || ids === undefined) return
    await restoreIds(this.#context, this.#ids, restorer, { ...ids, now: now() })
  }

  async #recover(): Promise<void> {
    const { open, sealed, spare } = this.#context.directory.found
    for (const { number } of spare) this.#spares.remove(number)
    await this.#background.add(async () => {
      // The process before may have ended between a rename and its sync.
      await this.#context.fileSystem.syncDirectory(this.#options.directory)
      for (const found of sealed) this.#addFound(found)
    })
    await Promise.all(open.map((found) => this.#background.add(() => this.#recoverOpen(found))))
    if (open.length + sealed.length === 0) return
    this.#options.logger.info(
      { segments: this.#sealed.waiting, bytes: this.#account.logBytes },
      'the log holds events from before',
    )
  }

  async #recoverOpen(found: FoundSegment): Promise<void> {
    const recovered = await recoverOpenFile(this.#context, found)
    this.#account.tornTails += recovered.tornTails
    this.#account.addDamage(recovered)
    const wasSealed = this.#context.directory.found.sealed.some(({ number }) => number === found.number)
    if (recovered.outcome === 'sealed' && !wasSealed) this.#addFound({ ...found, bytes: recovered.bytes })
  }

  #addFound({ number, bytes, modifiedAt }: FoundSegment): void {
    const recordBytes = Math.max(0, bytes - SEGMENT_HEADER_BYTES)
    this.#account.written += recordBytes
    this.#account.durable += recordBytes
    this.#account.logBytes += bytes
    this.#sealed.add({
      number,
      fileBytes: bytes,
      firstAt: modifiedAt,
      sealedAt: modifiedAt,
      traces: [],
      inRing: undefined,
    })
  }

  /**
   * Seals the open segment when it is old enough. While a sealed segment waits to be taken the flusher is behind, and
   * sealing by age would only make more and smaller inserts and files: then the open segment grows up to its size. Of several
   * flushers, one for each shard, one may have nothing to do while another is behind: then sealing goes on.
   */
  #sealByAge(): number {
    const since = this.#writer.openSince
    if (since === undefined || (this.#sealed.waiting > 0 && !this.#sealed.isAwaited)) return Number.POSITIVE_INFINITY
    const leftMs = since + this.#options.flushIntervalMs - performance.now()
    if (leftMs > 0) return leftMs
    void this.#writer.seal()
    return Number.POSITIVE_INFINITY
  }

  commit(blocks: readonly EncodedBlock[]): Promise<CommitOutcome> {
    return this.#closing === undefined ? this.#writer.commit(blocks) : Promise.resolve('closed')
  }

  get nextNumber(): number {
    return this.#context.directory.nextNumber
  }

  takeSealed(isWanted?: IsWanted): Promise<SealedSegment | undefined> {
    return this.#sealed.take(isWanted)
  }

  read(segment: SealedSegment, records: readonly RecordPosition[] = segment.records): AsyncIterable<Uint8Array> {
    return this.#sealed.read(segment.number, records)
  }

  release(segment: SealedSegment): Promise<void> {
    return this.#sealed.release(segment.number)
  }

  seal(): Promise<void> {
    return this.#writer.seal()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#writer.seal()
    this.#spares.close()
    await this.#background.stop()
    this.#sealed.close()
  }

  async dispose(): Promise<void> {
    await this.close()
    await this.#background.stop()
    await this.#writer.dispose()
    await this.#ids?.close()
    this.#lock?.release()
    this.#lock = undefined
  }

  stats(): LogStats {
    const account = this.#account
    const oldest = [this.#sealed.oldestAt, this.#writer.oldestAt].filter((at) => at !== undefined)
    return {
      writtenBytes: account.written,
      durableBytes: account.durable,
      flushedBytes: account.flushed,
      refusedBytes: account.refused,
      ringBytes: this.#ring.memory.byteLength,
      ringUsedBytes: this.#ring.usedBytes,
      logBytes: account.logBytes,
      logBytesMax: this.#options.logBytesMax,
      segmentsWaiting: this.#sealed.waiting,
      segmentsTaken: this.#sealed.taken,
      retrying: this.#background.retrying,
      oldestUnflushedAt: oldest.length > 0 ? Math.min(...oldest) : undefined,
      lastError: account.lastError,
      damagedRecords: account.damagedRecords,
      damagedBytes: account.damagedBytes,
      tornTails: account.tornTails,
      idBytes: this.#ids?.bytes ?? 0,
      idFailures: this.#ids?.failures ?? 0,
    }
  }
}
