/**
 * The log between the edge and ClickHouse: commits make blocks durable, sealed segments are what the flusher inserts.
 * `write-ahead-log.ts` keeps it on disk, `memory-log.ts` in memory only.
 */

import type { Trace } from '../telemetry/telemetry.ts'
import type { IdRestorer } from './id-recovery.ts'
import type { IsWanted } from './sealed-queue.ts'

/** Something that can write itself as one Native block into memory that the log owns. */
export interface EncodedBlock {
  /** Rows in the block, at least 1. */
  readonly rows: number
  /** Exactly the bytes that `writeTo` writes, at least 1. */
  readonly byteLength: number
  /** Keys of the clients' event ids in it, 12 bytes each; to be asked for once, when the block is durable. */
  readonly ids?: Uint8Array
  /** Of the sampled commit that it is written in, to be asked for once, when the block is durable. */
  readonly trace?: Trace | undefined
  /** Writes the block to `target` from `offset` on. The memory is the log's: do not keep it. */
  writeTo(target: Uint8Array, offset: number): void
}

/**
 * What became of a commit. Only `durable` keeps the blocks; every other outcome keeps none of them.
 * `log_full`: the limit on bytes is reached (or, in memory, the ring is full). `disk_full`: the file system has no room.
 * `io_error`: the file system failed. `closed`: the log takes nothing any more. All but `closed` may work at the next call.
 */
export type CommitOutcome = 'durable' | 'log_full' | 'disk_full' | 'io_error' | 'closed'

/** Where one block stands in its segment. */
export interface RecordPosition {
  /** Position of the record in its segment as it was written, from 0: the same after restarts, also beside a damaged record. */
  readonly ordinal: number
  /** Offset of the block's first byte in the segment, in bytes. */
  readonly offset: number
  /** Bytes of the block, without the record header. */
  readonly byteLength: number
  /** Rows of the block. */
  readonly rows: number
  /** CRC-32 of the block's bytes. */
  readonly checksum: number
}

/**
 * How the blocks of a segment are inserted: as they are, or small ones joined, by the rule of `sink/insert-body.ts`. It is part of the segment,
 * because ClickHouse knows a batch again only in the same blocks.
 */
export type InsertForm = 'plain' | 'joined'

/** That of segments that are made now. */
export const INSERT_FORM: InsertForm = 'joined'

/** A batch that never changes: the unit of insert, of retry and of deduplication. */
export interface SealedSegment {
  /** Grows from segment to segment, also over restarts; never used twice. */
  readonly number: number
  /** `<log id>/<number>`, the insert deduplication token. */
  readonly token: string
  readonly insertForm: InsertForm
  /** Rows of all records, less than SEGMENT_ROWS_MAX or equal. */
  readonly rows: number
  /** Bytes of all blocks, without the log's own headers. */
  readonly blockBytes: number
  /** Time of the seal in ms since 1970; for a segment found at start the time of its last write. */
  readonly sealedAt: number
  /** When its first block became durable, ms since 1970; for a segment found at start the time of its last write. */
  readonly oldestAt: number
  /** Of the sampled commits in it; none for a segment found at start. */
  readonly traces: readonly Trace[]
  /** The good records, in the order they were written. */
  readonly records: readonly RecordPosition[]
}

/** The last thing that went wrong on disk; it stays after the log has recovered. */
export interface LogError {
  /** ms since 1970. */
  readonly at: number
  /** What was being done, for example `sync` or `seal`. */
  readonly operation: string
  /** The file system's code, for example `EIO`. */
  readonly code: string
  readonly message: string
}

/** State of the log for health and metrics. Byte counts of positions include record headers. */
export interface LogStats {
  /** Bytes written by commits or found at start; only grows. written ≥ durable ≥ flushed. */
  readonly writtenBytes: number
  /** Bytes known to be on disk; only grows. */
  readonly durableBytes: number
  /** Bytes released because they are in ClickHouse; only grows. */
  readonly flushedBytes: number
  /** Bytes written but refused, because they could not be made durable; only grows. */
  readonly refusedBytes: number
  readonly ringBytes: number
  readonly ringUsedBytes: number
  /** Bytes of all segment files, and their limit (in memory: of the ring). */
  readonly logBytes: number
  readonly logBytesMax: number
  /** Sealed segments that nobody has taken. */
  readonly segmentsWaiting: number
  /** Segments taken and not released. */
  readonly segmentsTaken: number
  /** Jobs on files (seal, delete) that have failed at least once and are tried again. */
  readonly retrying: number
  /** When the oldest events that are not in ClickHouse arrived, ms since 1970; undefined when there are none. */
  readonly oldestUnflushedAt: number | undefined
  readonly lastError: LogError | undefined
  /** Damaged places set aside since start, and their bytes. */
  readonly damagedRecords: number
  readonly damagedBytes: number
  /** Unfinished writes at the end of files, cut at start. */
  readonly tornTails: number
  /** Bytes of the files that hold event ids for deduplication, beside `logBytes`. */
  readonly idBytes: number
  /** Segments sealed without their ids, because those could not be written. */
  readonly idFailures: number
}

/** Makes blocks durable and hands them out again as sealed segments. */
export interface EventLog {
  /** 32 hexadecimal digits: random, and kept with the log. */
  readonly id: string
  /** Before the first commit: brings back the keys of the event ids of before. */
  restoreIds(restorer: IdRestorer): Promise<void>
  /**
   * Writes each block as one record behind the open segment, syncs, resolves. Not durable: nothing of it is kept.
   * One call at a time, and at most SEGMENT_ROWS_MAX rows and SEGMENT_BYTES_MAX bytes in one call (asserted).
   */
  commit(blocks: readonly EncodedBlock[]): Promise<CommitOutcome>
  /** Every segment of this number or a higher one is yet to be made. */
  readonly nextNumber: number
  /**
   * The oldest sealed segment not yet taken, of those whose number is wanted; waits for one. undefined: the log is closed and there
   * is none left to take.
   */
  takeSealed(isWanted?: IsWanted): Promise<SealedSegment | undefined>
  /**
   * The block bytes (record headers left out) of a taken segment, or of some of its `records`, in order. The same bytes at
   * every call; where they are cut into chunks may differ. A chunk holds only until the next one is asked for.
   * Throws when the file cannot be read or its bytes are not those of the first read; then the insert must be given up.
   */
  read(segment: SealedSegment, records?: readonly RecordPosition[]): AsyncIterable<Uint8Array>
  /** The segment is in ClickHouse (or its refused blocks are dead letters): delete its file, give back its place in the ring. */
  release(segment: SealedSegment): Promise<void>
  stats(): LogStats
  /** Seals what is open, so that the flusher gets it at once. When that fails it is tried again in the background. */
  seal(): Promise<void>
  /** The pending commit finishes, what is open is sealed. Taking, reading and releasing go on; what stays is there at the next start. */
  close(): Promise<void>
  /** After close, when nobody reads any more: lets go of the directory. The end of the process, however it comes, does the same. */
  dispose(): Promise<void>
}

/** Rows in one segment at most, so that one insert is one part: ClickHouse's min_insert_block_size_rows is 1,048,449. */
export const SEGMENT_ROWS_MAX = 1_000_000

/** Bytes of one segment file at most, so that one insert is one part: ClickHouse's min_insert_block_size_bytes is 256 MiB. */
export const SEGMENT_BYTES_MAX = 256 * 1024 * 1024
