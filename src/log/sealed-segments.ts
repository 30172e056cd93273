import assert from 'node:assert/strict'
import type { Trace } from '../telemetry/telemetry.ts'
import type { Background } from './background.ts'
import type { InsertForm, RecordPosition, SealedSegment } from './event-log.ts'
import { errorCode, type FileSystem } from './file-system.ts'
import type { LogAccount } from './log-account.ts'
import type { LogDirectory } from './log-directory.ts'
import type { RingCopy } from './open-segment.ts'
import type { RecoveryContext } from './recovery.ts'
import type { Ring } from './ring.ts'
import { type IsWanted, SealedQueue } from './sealed-queue.ts'
import { SEGMENT_HEADER_BYTES } from './segment.ts'
import { readFromFile, readFromRing } from './segment-read.ts'
import { scanSegment } from './segment-scan.ts'
import { type VerifiedSegment, verifySegment } from './segment-verify.ts'
import { moveAside } from './set-aside.ts'
import { removeIfThere, type SpareFiles } from './spare-files.ts'

/** A sealed segment file, as it comes from the writer or was found at start. */
export interface SealedFile {
  readonly number: number
  readonly fileBytes: number
  /** When its first block was written, ms since 1970. */
  readonly firstAt: number
  readonly sealedAt: number
  /** Of the sampled commits in it. */
  readonly traces: readonly Trace[]
  /** Its blocks and token, when all of them are in the ring; else they come from the file, when it is taken. */
  readonly inRing: { readonly copy: RingCopy; readonly token: string; readonly insertForm: InsertForm } | undefined
}

interface Segment extends SealedFile {
  isTaken: boolean
  /** An attempt to let go of the file was made. */
  isLeft: boolean
  /** Bytes in it are damaged and could not be copied: instead of being deleted the file is moved to `damaged/`. */
  isKept: boolean
}

/**
 * Segments from their seal to their release. Of those that are not in the ring only the size is in memory, so that a long
 * backlog costs little: their records are found, and their checksums verified, when they are taken.
 */
export class SealedSegments {
  readonly #context: RecoveryContext
  readonly #fileSystem: FileSystem
  readonly #directory: LogDirectory
  readonly #account: LogAccount
  readonly #ring: Ring
  readonly #background: Background
  readonly #spares: SpareFiles
  readonly #queue = new SealedQueue<Segment>()
  readonly #segments = new Map<number, Segment>()
  #taken = 0

  constructor(context: RecoveryContext, account: LogAccount, ring: Ring, background: Background, spares: SpareFiles) {
    this.#context = context
    this.#fileSystem = context.fileSystem
    this.#directory = context.directory
    this.#account = account
    this.#ring = ring
    this.#background = background
    this.#spares = spares
  }

  /** Segments that nobody has taken. */
  get waiting(): number {
    return this.#queue.length
  }

  /** The flusher, or one of several, has nothing to do. */
  get isAwaited(): boolean {
    return this.#queue.hasTaker
  }

  /** Segments taken and not released. */
  get taken(): number {
    return this.#taken
  }

  /** When the first block of the oldest segment was written, ms since 1970. */
  get oldestAt(): number | undefined {
    return this.#segments.values().next().value?.firstAt
  }

  /** A segment whose seal is durable. */
  add(file: SealedFile): void {
    const segment = { ...file, isTaken: false, isLeft: false, isKept: false }
    this.#segments.set(segment.number, segment)
    this.#queue.push(segment)
  }

  /** Ends the waiting of those who wait for a segment. */
  close(): void {
    this.#queue.close()
  }

  async take(isWanted?: IsWanted): Promise<SealedSegment | undefined> {
    for (;;) {
      const segment = await this.#queue.take(isWanted)
      if (segment === undefined) return undefined
      segment.isTaken = true
      this.#taken += 1
      // What is open may be old enough to be sealed, now that fewer wait.
      this.#background.wake()
      const { inRing } = segment
      if (inRing !== undefined) return describe(segment, { ...inRing, records: inRing.copy.records })
      const verified = await this.#verify(segment)
      if (verified !== undefined) return describe(segment, verified)
    }
  }

  /** The good records of a file; undefined when there is nothing to hand out, or not yet. */
  async #verify(segment: Segment): Promise<VerifiedSegment | undefined> {
    try {
      const verified = await verifySegment(this.#context, segment.number)
      this.#account.addDamage(verified)
      segment.isKept = verified.isKept
      if (verified.outcome === 'good') return verified
      // Nothing of it can be handed out: it is not the log's any more.
      this.#forget(segment)
      this.#account.logBytes -= segment.fileBytes
    } catch (error) {
      this.#account.report('read', error)
      this.#taken -= 1
      segment.isTaken = false
      // It takes its turn again once it can be read; those behind it go first.
      void this.#background.add(async () => {
        await this.#tryReading(segment)
        this.#queue.push(segment)
      })
    }
    return undefined
  }

  async #tryReading(segment: Segment): Promise<void> {
    const path = this.#directory.segmentPath(segment.number, 'sealed')
    // Setting it aside can fail after it happened; who takes it next is told that it is gone.
    if (!(await this.#directory.exists(path))) return
    const file = await this.#fileSystem.open(path, 'read')
    try {
      await scanSegment(file, segment.number, this.#directory.logId)
    } finally {
      await file.close()
    }
  }

  async *read(number: number, records: readonly RecordPosition[]): AsyncGenerator<Uint8Array> {
    const { inRing } = this.#takenSegment(number)
    if (inRing !== undefined) {
      yield* readFromRing(this.#ring.memory, records, (record) => {
        const place = inRing.copy.places[record.ordinal]
        assert(place !== undefined, 'a record of another segment')
        return place
      })
      return
    }
    const file = await this.#fileSystem.open(this.#directory.segmentPath(number, 'sealed'), 'read')
    try {
      yield* readFromFile(file, records)
    } finally {
      await file.close()
    }
  }

  /** Resolves after the first attempt to let go of the file; the background repeats it until it works. */
  async release(number: number): Promise<void> {
    const segment = this.#takenSegment(number)
    this.#forget(segment)
    for (const region of segment.inRing?.copy.regions ?? []) this.#ring.release(region)
    await this.#background.add(async () => {
      await this.#leave(segment)
      this.#account.logBytes -= segment.fileBytes
    })
  }

  /** The file is not needed any more: it is written over as another one, or deleted. */
  async #leave(segment: Segment): Promise<void> {
    const { number, isKept, isLeft } = segment
    segment.isLeft = true
    if (isKept) {
      try {
        await moveAside(this.#fileSystem, this.#directory, number, 'sealed')
      } catch (error) {
        if (errorCode(error) !== 'ENOENT') throw error
      }
    } else if (!isLeft && this.#spares.wants(segment.fileBytes)) {
      await this.#spares.keep(number)
    } else {
      await removeIfThere(this.#fileSystem, this.#directory.segmentPath(number, 'sealed'))
      // The attempt before may have failed when it had a new name.
      if (isLeft) await removeIfThere(this.#fileSystem, this.#directory.segmentPath(number, 'spare'))
    }
  }

  #takenSegment(number: number): Segment {
    const segment = this.#segments.get(number)
    assert(segment?.isTaken, 'only taken segments are read and released')
    return segment
  }

  #forget(segment: Segment): void {
    this.#segments.delete(segment.number)
    this.#taken -= 1
    this.#account.addFlushed(Math.max(0, segment.fileBytes - SEGMENT_HEADER_BYTES))
  }
}

function describe(
  file: SealedFile,
  { token, insertForm, records }: Pick<VerifiedSegment, 'token' | 'insertForm' | 'records'>,
): SealedSegment {
  const { number, sealedAt, firstAt: oldestAt, traces } = file
  let rows = 0
  let blockBytes = 0
  for (const record of records) {
    rows += record.rows
    blockBytes += record.byteLength
  }
  return { number, token, insertForm, rows, blockBytes, sealedAt, oldestAt, traces, records }
}
