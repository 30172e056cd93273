/**
 * What stands in a log directory beside the segments, and what names the tokens:
 *
 *     log.id                 32 hexadecimal digits, random, made once
 *     <20 digits>.next       every segment number below it may have been used; an empty file whose name is the content
 *     <20 digits>.ids        keys of event ids of sealed segments, for deduplication (see `id-journal.ts`)
 *     shards.json            which shard takes which segment (see `sink/shard-pins.ts`)
 *     lock.sqlite            the lock
 *     damaged/               bytes set aside because they are no good records
 *
 * The same token for other rows would silently lose them, so a number must never come twice under one log id. It comes
 * from neither the clock nor the files that happen to be there: numbers are reserved by renaming `.next` upwards, durably,
 * before the first one is used. A rename needs no room on a full disk and cannot be torn. When either of the two files is
 * missing or unreadable, a new log id is made, under which every number is new; segments that are there keep the id in
 * their own headers. (For the same reason a copy of a log directory that is used must have its `log.id` deleted.)
 */
import { randomBytes } from 'node:crypto'
import { dirname, resolve } from 'node:path'
import type { Logger } from '../telemetry/logger.ts'
import { errorCode, type FileEntry, type FileSystem } from './file-system.ts'
import { parseIdFileName } from './id-chunk.ts'
import { LOCK_FILE } from './lock.ts'
import { padNumber, parseSegmentFileName, type SegmentState, segmentFileName } from './segment.ts'

/** A segment file, or a file of event ids, found at start. */
export interface FoundSegment {
  readonly number: number
  readonly bytes: number
  /** ms since 1970. */
  readonly modifiedAt: number
}

/** Name of the file that `sink/shard-pins.ts` keeps beside the segments. */
export const SHARDS_FILE = 'shards.json'

const LOG_ID_FILE = 'log.id'
const DAMAGED_DIRECTORY = 'damaged'
/** Others keep these here. */
const KNOWN_NAMES = new Set([DAMAGED_DIRECTORY, SHARDS_FILE])
const NEXT_NAME = /^(\d{20})\.next$/
/** Numbers reserved at once; so many are skipped by a restart, of 2^53. */
const RESERVED_NUMBERS = 65_536

/** Names, the log id and the numbers of one log directory. */
export class LogDirectory {
  readonly path: string
  /** The files found at opening, in the order of their numbers. */
  readonly found: Record<SegmentState | 'ids', FoundSegment[]> = { open: [], sealed: [], spare: [], ids: [] }
  readonly #fileSystem: FileSystem
  #logId = ''
  #next = 0
  #reservedEnd = 0
  #marker: string | undefined

  constructor(fileSystem: FileSystem, path: string) {
    this.#fileSystem = fileSystem
    this.path = path
  }

  /** 32 hexadecimal digits. */
  get logId(): string {
    return this.#logId
  }

  /** No number from this one on was ever used. */
  get nextNumber(): number {
    return this.#next
  }

  /** The directory for what is no good record. */
  get damagedPath(): string {
    return `${this.path}/${DAMAGED_DIRECTORY}`
  }

  segmentPath(number: number, state: SegmentState): string {
    return `${this.path}/${segmentFileName(number, state)}`
  }

  /** Lists the directory and reads or makes its identity. The caller holds the lock. */
  async open(logger: Logger): Promise<void> {
    await this.#fileSystem.makeDirectory(this.damagedPath)
    let hasLogId = false
    for (const entry of await this.#fileSystem.list(this.path)) {
      if (entry.name === LOG_ID_FILE) hasLogId = true
      else this.#sort(entry, logger)
    }
    for (const files of Object.values(this.found)) files.sort((a, b) => a.number - b.number)
    const logId = hasLogId ? await this.#readLogId() : undefined
    if (logId !== undefined && this.#marker !== undefined) {
      this.#logId = logId
    } else {
      if (hasLogId) logger.warn({ directory: this.path }, 'the log id or its number is unusable: a new log id is made')
      await this.#makeLogId()
    }
    this.#reservedEnd = this.#next
  }

  #sort(entry: FileEntry, logger: Logger): void {
    const { bytes, modifiedAt } = entry
    const segment = entry.isFile ? parseSegmentFileName(entry.name) : undefined
    const idFile = entry.isFile ? parseIdFileName(entry.name) : undefined
    const marker = entry.isFile ? NEXT_NAME.exec(entry.name) : null
    if (idFile !== undefined) {
      this.found.ids.push({ number: idFile, bytes, modifiedAt })
    } else if (segment !== undefined) {
      this.found[segment.state].push({ number: segment.number, bytes, modifiedAt })
      this.#next = Math.max(this.#next, segment.number + 1)
    } else if (marker !== null && Number.isSafeInteger(Number(marker[1]))) {
      if (this.#marker === undefined || entry.name > this.#marker) this.#marker = entry.name
      this.#next = Math.max(this.#next, Number(marker[1]))
    } else if (!entry.name.startsWith(LOCK_FILE) && !KNOWN_NAMES.has(entry.name)) {
      logger.warn({ directory: this.path, name: entry.name }, 'unknown file in the log directory: left alone')
    }
  }

  async #readLogId(): Promise<string | undefined> {
    const file = await this.#fileSystem.open(`${this.path}/${LOG_ID_FILE}`, 'read')
    try {
      const bytes = Buffer.alloc(40)
      const text = bytes.toString('latin1', 0, await file.read(bytes, 0))
      return /^[0-9a-f]{32}\n$/.test(text) ? text.trim() : undefined
    } finally {
      await file.close()
    }
  }

  async #makeLogId(): Promise<void> {
    const logId = randomBytes(16).toString('hex')
    if (this.#marker === undefined) {
      const marker = `${padNumber(this.#next)}.next`
      await (await this.#fileSystem.open(`${this.path}/${marker}`, 'create')).close()
      this.#marker = marker
    }
    const temporary = `${this.path}/${LOG_ID_FILE}.${logId}`
    const file = await this.#fileSystem.open(temporary, 'create')
    try {
      const bytes = Buffer.from(`${logId}\n`)
      file.write(bytes, 0, bytes.byteLength, 0)
      await file.sync()
    } finally {
      await file.close()
    }
    await this.#fileSystem.rename(temporary, `${this.path}/${LOG_ID_FILE}`)
    await this.#fileSystem.syncDirectory(this.path)
    await this.#syncParents()
    this.#logId = logId
  }

  /** A new directory, and the data directory that may be new above it, are only there after a power cut when these are synced. */
  async #syncParents(): Promise<void> {
    const parent = dirname(resolve(this.path))
    for (const path of [parent, dirname(parent)]) {
      try {
        await this.#fileSystem.syncDirectory(path)
      } catch (error) {
        // What this process may not open, it has not made.
        if (errorCode(error) !== 'EACCES' && errorCode(error) !== 'EPERM') throw error
      }
    }
  }

  /** A number never used before under this log id. Throws the file system's error when numbers cannot be reserved. */
  async takeNumber(): Promise<number> {
    if (this.#next >= this.#reservedEnd) {
      const end = this.#next + RESERVED_NUMBERS
      const marker = `${padNumber(end)}.next`
      if (this.#marker !== marker) await this.#moveMarker(marker)
      await this.#fileSystem.syncDirectory(this.path)
      this.#reservedEnd = end
    }
    const number = this.#next
    this.#next += 1
    return number
  }

  async #moveMarker(marker: string): Promise<void> {
    const path = `${this.path}/${marker}`
    try {
      await this.#fileSystem.rename(`${this.path}/${this.#marker}`, path)
    } catch (error) {
      // It can fail after it happened; then the next attempt does not find the old name.
      if (errorCode(error) !== 'ENOENT' || !(await this.exists(path))) throw error
    }
    this.#marker = marker
  }

  /** True when a file has this name. */
  async exists(path: string): Promise<boolean> {
    try {
      await (await this.#fileSystem.open(path, 'read')).close()
      return true
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return false
      throw error
    }
  }
}
