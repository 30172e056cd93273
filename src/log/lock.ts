import { Database } from 'bun:sqlite'

/** A directory that belongs to this process until `release` or its end. */
export interface DirectoryLock {
  release(): void
}

/** Thrown when another collector has the directory. */
export class DirectoryLockedError extends Error {
  override readonly name = 'DirectoryLockedError'
}

/** Name of the lock's file in the directory. */
export const LOCK_FILE = 'lock.sqlite'

/**
 * Takes the directory for this process, or throws DirectoryLockedError at once.
 * It is an exclusive transaction on an empty SQLite file: a file lock that the operating system drops with the process,
 * on Linux and macOS, also after kill -9. Nothing is ever written, so it works on a full disk.
 */
export function lockDirectory(directory: string): DirectoryLock {
  const database = new Database(`${directory}/${LOCK_FILE}`, { create: true })
  try {
    database.run('PRAGMA busy_timeout = 0')
    database.run('BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if (error instanceof Error && 'code' in error && String(error.code).startsWith('SQLITE_BUSY')) {
      throw new DirectoryLockedError(
        `another collector uses the log directory ${directory}: stop it, or give this one a directory of its own`,
      )
    }
    throw error
  }
  return { release: () => database.close() }
}
