/**
 * The event ids of the segments that are sealed, in the files `<20 digits>.ids`: they outlive the segments, so that a copy of an event is
 * recognised after a start, too. Each seal appends a chunk (see `id-chunk.ts`) and syncs it, before the segment's new name is durable.
 *
 * A file is closed when it has an eighth of the ids or of the time that are to be kept, and after any failure; it is never opened again
 * for writing. It is deleted when all of it is older than the window, or when younger files have `idsMax` ids.
 *
 * The events do not depend on it: when a chunk cannot be written the seal goes on without it, and a start reads the ids of that segment
 * out of its blocks, as long as it is there.
 */
import { errorCode, type LogFile } from './file-system.ts'
import { ID_BYTES } from './id-buffer.ts'
import { decodeIdChunks, encodeIdChunk, idFileName } from './id-chunk.ts'
import type { LogAccount } from './log-account.ts'
import type { RecoveryContext } from './recovery.ts'
import { writeAll } from './set-aside.ts'

/** How much of the past is kept. */
export interface IdRetention {
  readonly windowMs: number
  readonly idsMax: number
}

/** What a journal works with. */
export interface IdJournalOptions extends IdRetention {
  readonly context: RecoveryContext
  readonly account: LogAccount
  /** Wall clock, ms since 1970. */
  readonly now: () => number
}

interface IdFile {
  readonly path: string
  ids: number
  bytes: number
  /** When the first and the last chunk came, on the clock of `performance.now`. */
  readonly startedAt: number
  lastAt: number
}

/** A file closes at this size, at the latest. */
const FILE_BYTES_MAX = 16 * 1024 * 1024
/** Longer files are none of ours: a chunk more than the maximum has at most 12 MB. */
const READ_BYTES_MAX = 2 * FILE_BYTES_MAX
const FILES_IN_WINDOW = 8

/** See the head of the file. */
export class IdJournal {
  readonly #options: IdJournalOptions
  /** The oldest first. */
  #files: IdFile[] = []
  #open: { readonly file: IdFile; readonly handle: LogFile } | undefined
  #nextNumber: number | undefined
  /** Segments whose ids could not be written, or not be read at the start. */
  failures = 0

  constructor(options: IdJournalOptions) {
    this.#options = options
  }

  /** Bytes of all files. */
  get bytes(): number {
    let bytes = 0
    for (const file of this.#files) bytes += file.bytes
    return bytes
  }

  /**
   * Reads the files that the directory had at its opening. Their content never makes it fail, nor that one cannot be read.
   * @param take gets the keys that are young enough, the oldest first
   * @returns the segments whose keys are kept, of those that are there
   */
  async load(take: (keys: Uint8Array) => void): Promise<ReadonlySet<number>> {
    const { directory, logger } = this.#options.context
    const { open, sealed } = directory.found
    const present = new Set([...open, ...sealed].map(({ number }) => number))
    const kept = new Set<number>()
    for (const { number, bytes, modifiedAt } of directory.found.ids) {
      const path = `${directory.path}/${idFileName(number)}`
      let ids = 0
      let newest = 0
      let damagedBytes = 0
      const segments: number[] = []
      const content = await this.#read(path, bytes)
      for (const chunk of decodeIdChunks(content, (count) => (damagedBytes += count))) {
        newest = Math.max(newest, chunk.sealedAt)
        ids += chunk.keys.byteLength / ID_BYTES
        // Keys of another log id were made with another secret.
        if (chunk.logId !== directory.logId) continue
        if (present.has(chunk.segment)) segments.push(chunk.segment)
        if (this.#age(chunk.sealedAt) <= this.#options.windowMs) take(chunk.keys)
      }
      if (damagedBytes > 0) logger.error({ path, bytes: damagedBytes }, 'damaged bytes in a file of event ids: skipped')
      if (segments.length > 0 && (await this.#writeAgain(path, content)))
        for (const segment of segments) kept.add(segment)
      const lastAt = performance.now() - this.#age(newest === 0 ? modifiedAt : newest)
      this.#files.push({ path, ids, bytes, startedAt: lastAt, lastAt })
    }
    await this.#prune()
    return kept
  }

  /**
   * Keeps the keys of a segment; false when that failed. The name of a new file is durable after the next sync of the directory.
   * One call at a time.
   * @param sealedAt ms since 1970
   */
  async write(segment: number, keys: Uint8Array, sealedAt: number): Promise<boolean> {
    let isWritten = false
    try {
      await this.#append(segment, keys, sealedAt)
      isWritten = true
    } catch (error) {
      if (errorCode(error) === 'UNKNOWN') throw error
      this.fail('keep ids', error)
      await this.#giveUp()
    }
    await this.#prune()
    return isWritten
  }

  /** Reports and counts what may make copies of events unknown after a later start. */
  fail(operation: string, error: unknown): void {
    this.failures += 1
    this.#options.account.report(operation, error, this.failures)
  }

  async close(): Promise<void> {
    const open = this.#open
    this.#open = undefined
    try {
      await open?.handle.close()
    } catch (error) {
      this.#options.account.report('close', error)
    }
  }

  async #append(segment: number, keys: Uint8Array, sealedAt: number): Promise<void> {
    if (this.#open !== undefined && this.#isFull(this.#open.file)) await this.close()
    this.#open ??= await this.#create()
    const { file, handle } = this.#open
    const { logId } = this.#options.context.directory
    const chunk = encodeIdChunk({ logId, segment, sealedAt, keys }, file.bytes)
    writeAll(handle, chunk, 0, chunk.byteLength, file.bytes)
    // That there are no keys may be lost: then the blocks are read to find none.
    if (keys.byteLength > 0) await handle.sync()
    file.bytes += chunk.byteLength
    file.ids += keys.byteLength / ID_BYTES
    file.lastAt = performance.now()
  }

  #isFull(file: IdFile): boolean {
    const { idsMax, windowMs } = this.#options
    const isLarge = file.bytes >= FILE_BYTES_MAX || file.ids >= idsMax / FILES_IN_WINDOW
    return isLarge || performance.now() - file.startedAt >= windowMs / FILES_IN_WINDOW
  }

  async #create(): Promise<{ file: IdFile; handle: LogFile }> {
    const { fileSystem, directory } = this.#options.context
    this.#nextNumber ??= (directory.found.ids.at(-1)?.number ?? -1) + 1
    const path = `${directory.path}/${idFileName(this.#nextNumber++)}`
    const handle = await fileSystem.open(path, 'create')
    const now = performance.now()
    const file = { path, ids: 0, bytes: 0, startedAt: now, lastAt: now }
    this.#files.push(file)
    return { file, handle }
  }

  /** After a failure the file is not written any more; what is behind its good chunks is cut off, if that works. */
  async #giveUp(): Promise<void> {
    try {
      await this.#open?.handle.truncate(this.#open.file.bytes)
    } catch (error) {
      this.#options.account.report('cut', error)
    }
    await this.close()
  }

  /** Deletes the files that nobody needs any more. */
  async #prune(): Promise<void> {
    const { idsMax, windowMs } = this.#options
    const kept: IdFile[] = []
    let ids = 0
    for (const file of this.#files.toReversed()) {
      const isNeeded = file === this.#open?.file || (ids < idsMax && performance.now() - file.lastAt <= windowMs)
      if (isNeeded || !(await this.#remove(file.path))) kept.push(file)
      ids += file.ids
    }
    this.#files = kept.reverse()
  }

  async #remove(path: string): Promise<boolean> {
    try {
      await this.#options.context.fileSystem.remove(path)
      return true
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return true
      this.#options.account.report('delete', error)
      return false
    }
  }

  async #read(path: string, bytes: number): Promise<Buffer> {
    try {
      const file = await this.#options.context.fileSystem.open(path, 'read')
      try {
        const memory = Buffer.allocUnsafeSlow(Math.min(bytes, READ_BYTES_MAX))
        return memory.subarray(0, await file.read(memory, 0))
      } finally {
        await file.close()
      }
    } catch (error) {
      this.fail('read ids', error)
      return Buffer.alloc(0)
    }
  }

  /**
   * The process before may have ended between the write and its sync: then the disk does not have what was read here. Nor does a sync bring it
   * there, if one has failed before: it says so once, and takes the pages for written. So the same bytes are written once more.
   */
  async #writeAgain(path: string, content: Uint8Array): Promise<boolean> {
    try {
      const file = await this.#options.context.fileSystem.open(path, 'update')
      try {
        writeAll(file, content, 0, content.byteLength, 0)
        await file.sync()
        return true
      } finally {
        await file.close()
      }
    } catch (error) {
      this.fail('keep ids', error)
      return false
    }
  }

  /** Since a time of the wall clock, in ms; a clock that was set back makes it 0. */
  #age(at: number): number {
    return Math.max(0, this.#options.now() - at)
  }
}
