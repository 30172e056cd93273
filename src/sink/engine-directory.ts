/**
 * The directory of a ClickHouse that does not run: whether that is so, and what has to be done in it before the next start.
 *
 * ClickHouse holds an exclusive flock(2) on the file `status` in its directory for as long as it lives. The kernel drops it when the
 * last thread of the process is gone, however it ended: nothing writes any more. The process id in that file proves nothing; it stays
 * there when the process has ended, may belong to another one by now, and is that of another container.
 */
import { dlopen, FFIType } from 'bun:ffi'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { errorCode } from '../log/file-system.ts'
import type { Logger } from '../telemetry/logger.ts'
import { type DeduplicationRepair, repairDeduplicationLogs } from './deduplication-repair.ts'

/** Where flock(2) is: macOS, Linux with glibc, Linux with musl. */
const C_LIBRARIES = {
  darwin: ['libSystem.B.dylib'],
  linux: ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1'],
}

/** Of flock(2), the same on Linux and macOS. */
const LOCK_EX = 2
const LOCK_NB = 4

/**
 * Does the work while no ClickHouse lives on the directory, nor can start on it. Undefined when one lives there: nothing is done.
 * Throws the file system's error.
 */
export async function whileNoEngineLives<Result extends object>(
  directory: string,
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  const descriptor = openStatus(directory)
  if (descriptor === undefined) return await work()
  try {
    return tryLock(descriptor) ? await work() : undefined
  } finally {
    closeSync(descriptor)
  }
}

/**
 * Mends what the end of the last engine may have left, and logs what it was. False when that engine, or another one, still
 * lives: then it has to be asked again later. Throws the file system's error.
 */
export async function prepareDirectory(directory: string, logger: Logger): Promise<boolean> {
  const repair = await whileNoEngineLives(directory, () => repairDeduplicationLogs([directory]))
  if (repair === undefined) return false
  logRepair(repair, logger)
  return true
}

function logRepair({ dropped, cut, unreadable }: DeduplicationRepair, logger: Logger): void {
  if (dropped.length > 0) {
    logger.warn(
      { records: dropped.length, parts: dropped.map(({ table, part }) => join(table, part)) },
      'ClickHouse was killed when it had noted a batch and not yet stored it: the notes are dropped, the batch will be stored',
    )
  }
  if (cut.length > 0) {
    logger.warn(
      { files: cut },
      'ClickHouse was killed in the middle of a line of a deduplication log: the line is cut off',
    )
  }
  if (unreadable.length > 0) {
    logger.warn(
      { files: unreadable },
      'a deduplication log has lines that are no records: a batch sent again may be doubled',
    )
  }
}

/** Never made here: ClickHouse may run as another user, who could not write it. Without the file there is no ClickHouse. */
function openStatus(directory: string): number | undefined {
  try {
    return openSync(join(directory, 'status'), 'r')
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The lock ends when the file is closed. */
function tryLock(descriptor: number): boolean {
  const library = openCLibrary()
  try {
    return library.symbols.flock(descriptor, LOCK_EX | LOCK_NB) === 0
  } finally {
    library.close()
  }
}

function openCLibrary() {
  const names = process.platform === 'darwin' ? C_LIBRARIES.darwin : C_LIBRARIES.linux
  for (const name of names) {
    try {
      return dlopen(name, { flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 } })
    } catch {} // not this one
  }
  throw new Error(`there is no C library here with flock(2): none of ${names.join(', ')}`)
}
