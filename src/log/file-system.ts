import * as fs from 'node:fs'
import { promisify } from 'node:util'

/** A file or directory as it is listed. */
export interface FileEntry {
  readonly name: string
  readonly isFile: boolean
  readonly bytes: number
  /** ms since 1970. */
  readonly modifiedAt: number
}

/** An open file. Every method throws errors that carry a `code` (`ENOSPC`, `EIO` …). */
export interface LogFile {
  /**
   * Writes at a position and returns how many bytes were written, which may be fewer than asked for. Synchronous, because
   * a write into the page cache followed by one asynchronous sync is faster than two asynchronous calls (p50 0.26 against 0.32 ms).
   */
  write(source: Uint8Array, start: number, length: number, position: number): number
  /** Reads until `target` is full or the file ends; returns the bytes read. */
  read(target: Uint8Array, position: number): Promise<number>
  /** All written data is on disk when this resolves (fdatasync). After a failure nothing written since the last sync can be relied on. */
  sync(): Promise<void>
  /** Cuts the file; the cut is on disk when this resolves. */
  truncate(length: number): Promise<void>
  size(): Promise<number>
  close(): Promise<void>
}

/** All that the log asks of a file system. Nothing a directory entry says is durable before `syncDirectory`. */
export interface FileSystem {
  /** Makes a directory and those above it; no error when it is there. */
  makeDirectory(path: string): Promise<void>
  list(path: string): Promise<FileEntry[]>
  /** `create` fails when the file is there; `update` reads and writes one that is there. */
  open(path: string, mode: 'create' | 'update' | 'read'): Promise<LogFile>
  /** Atomic; replaces what has the new name. */
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  syncDirectory(path: string): Promise<void>
}

/** The `code` of a file system's error, or `UNKNOWN`. */
export function errorCode(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  return 'UNKNOWN'
}

/** True for the errors that say that there is no room: they end by themselves when something is deleted. */
export function isNoSpace(error: unknown): boolean {
  const code = errorCode(error)
  return code === 'ENOSPC' || code === 'EDQUOT'
}

const openAsync = promisify(fs.open)
const closeAsync = promisify(fs.close)
const fsyncAsync = promisify(fs.fsync)
const fdatasyncAsync = promisify(fs.fdatasync)
const ftruncateAsync = promisify(fs.ftruncate)
const OPEN_FLAGS = { create: 'wx+', update: 'r+', read: 'r' } as const

class RealFile implements LogFile {
  readonly #descriptor: number

  constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  write(source: Uint8Array, start: number, length: number, position: number): number {
    return fs.writeSync(this.#descriptor, source, start, length, position)
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    let done = 0
    while (done < target.byteLength) {
      const count = await this.#readSome(target, done, position + done)
      if (count === 0) break
      done += count
    }
    return done
  }

  #readSome(target: Uint8Array, start: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.#descriptor, target, start, target.byteLength - start, position, (error, count) => {
        if (error) reject(error)
        else resolve(count)
      })
    })
  }

  sync(): Promise<void> {
    return fdatasyncAsync(this.#descriptor)
  }

  async truncate(length: number): Promise<void> {
    await ftruncateAsync(this.#descriptor, length)
    await fsyncAsync(this.#descriptor)
  }

  async size(): Promise<number> {
    return fs.fstatSync(this.#descriptor).size
  }

  close(): Promise<void> {
    return closeAsync(this.#descriptor)
  }
}

/** The operating system's file system. */
export const realFileSystem: FileSystem = {
  async makeDirectory(path) {
    await fs.promises.mkdir(path, { recursive: true })
  },

  async list(path) {
    const entries: FileEntry[] = []
    for (const name of await fs.promises.readdir(path)) {
      const status = fs.statSync(`${path}/${name}`, { throwIfNoEntry: false })
      if (status === undefined) continue
      entries.push({ name, isFile: status.isFile(), bytes: status.size, modifiedAt: Math.floor(status.mtimeMs) })
    }
    return entries
  },

  async open(path, mode) {
    return new RealFile(await openAsync(path, OPEN_FLAGS[mode]))
  },

  rename(from, to) {
    return fs.promises.rename(from, to)
  },

  remove(path) {
    return fs.promises.unlink(path)
  },

  async syncDirectory(path) {
    const descriptor = await openAsync(path, 'r')
    try {
      await fsyncAsync(descriptor)
    } finally {
      await closeAsync(descriptor)
    }
  },
}
