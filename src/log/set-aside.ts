import type { FileSystem, LogFile } from './file-system.ts'
import type { LogDirectory } from './log-directory.ts'
import { padNumber } from './segment.ts'
import type { DamagedRange } from './segment-scan.ts'

const CHUNK_BYTES = 1024 * 1024

/** True when the range holds nothing but zeros: what a file system leaves where a write never arrived. */
export async function isAllZero(file: LogFile, range: DamagedRange): Promise<boolean> {
  for await (const chunk of chunksOf(file, range)) {
    for (const byte of chunk) if (byte !== 0) return false
  }
  return true
}

/**
 * Copies a damaged range of a segment file to `damaged/<number>-<start>-<end>`, where an operator can look at it.
 * A second time it writes the same bytes to the same name. Throws the file system's error.
 */
export async function copyAside(
  fileSystem: FileSystem,
  directory: LogDirectory,
  file: LogFile,
  number: number,
  range: DamagedRange,
): Promise<void> {
  const path = `${directory.damagedPath}/${padNumber(number)}-${range.start}-${range.end}`
  const copy = await fileSystem.open(path, (await directory.exists(path)) ? 'update' : 'create')
  try {
    let position = 0
    for await (const chunk of chunksOf(file, range)) {
      writeAll(copy, chunk, 0, chunk.byteLength, position)
      position += chunk.byteLength
    }
    await copy.sync()
  } finally {
    await copy.close()
  }
  await fileSystem.syncDirectory(directory.damagedPath)
}

/** Moves a whole segment file to `damaged/`; needs no room on the disk. */
export async function moveAside(
  fileSystem: FileSystem,
  directory: LogDirectory,
  number: number,
  state: 'open' | 'sealed',
): Promise<void> {
  await fileSystem.rename(
    directory.segmentPath(number, state),
    `${directory.damagedPath}/${padNumber(number)}.${state}.${Date.now()}`,
  )
  await fileSystem.syncDirectory(directory.damagedPath)
  await fileSystem.syncDirectory(directory.path)
}

/** Writes the first `end` bytes of a file over themselves, so that the next sync surely brings them to disk. */
export async function rewriteInPlace(file: LogFile, end: number): Promise<void> {
  let position = 0
  for await (const chunk of chunksOf(file, { start: 0, end })) {
    writeAll(file, chunk, 0, chunk.byteLength, position)
    position += chunk.byteLength
  }
}

/** Writes all bytes, going on after short writes. Throws the file system's error, also for a write that does not advance. */
export function writeAll(file: LogFile, source: Uint8Array, start: number, length: number, position: number): void {
  let done = 0
  while (done < length) {
    const count = file.write(source, start + done, length - done, position + done)
    if (count <= 0) throw Object.assign(new Error('the file system wrote nothing'), { code: 'ENOSPC' })
    done += count
  }
}

async function* chunksOf(file: LogFile, range: DamagedRange): AsyncGenerator<Uint8Array> {
  let position = range.start
  while (position < range.end) {
    const chunk = new Uint8Array(Math.min(CHUNK_BYTES, range.end - position))
    const count = await file.read(chunk, position)
    if (count === 0) return
    yield chunk.subarray(0, count)
    position += count
  }
}
