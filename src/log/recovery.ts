/**
 * What is done with a segment file that a crash left open: it is read once, cut behind its last good record, synced and
 * sealed, before anything of it is handed out. Nothing stays in memory but the size. Its content never stops a start:
 * what is no good record is copied to `damaged/`, and a place in the middle of the file is left to the check that every
 * file gets when it is taken. Sealed files are not read at start at all, so a long backlog does not delay it.
 */
import type { Logger } from '../telemetry/logger.ts'
import { type FileSystem, isNoSpace, type LogFile } from './file-system.ts'
import type { FoundSegment, LogDirectory } from './log-directory.ts'
import {
  decodeRecordHeader,
  END_MARK_BYTES,
  RECORD_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentSeed,
} from './segment.ts'
import { type SegmentScan, scanSegment } from './segment-scan.ts'
import { copyAside, isAllZero, moveAside, rewriteInPlace } from './set-aside.ts'

/** What recovery works with. */
export interface RecoveryContext {
  readonly fileSystem: FileSystem
  readonly directory: LogDirectory
  readonly logger: Logger
}

/** What became of an open file. */
export interface RecoveredFile {
  /** `sealed`: it waits under its sealed name. `gone`: it held nothing. `aside`: it is in `damaged/`. `left`: it is of a newer format. */
  readonly outcome: 'sealed' | 'gone' | 'aside' | 'left'
  /** Size of the sealed file. */
  readonly bytes: number
  readonly tornTails: number
  readonly damagedRecords: number
  readonly damagedBytes: number
}

const NOTHING = { bytes: 0, tornTails: 0, damagedRecords: 0, damagedBytes: 0 }

/** Seals one open file. Throws the file system's error: then it is called again. */
export async function recoverOpenFile(context: RecoveryContext, found: FoundSegment): Promise<RecoveredFile> {
  const { fileSystem, directory, logger } = context
  const path = directory.segmentPath(found.number, 'open')
  const sealedPath = directory.segmentPath(found.number, 'sealed')
  const isSealed = await directory.exists(sealedPath)
  if (!(await directory.exists(path))) {
    // An earlier attempt renamed or removed it, and failed behind that.
    await fileSystem.syncDirectory(directory.path)
    if (!isSealed) return { ...NOTHING, outcome: 'gone' }
    return { ...NOTHING, outcome: 'sealed', bytes: await sizeOf(fileSystem, sealedPath) }
  }
  if (isSealed) {
    logger.error({ segment: found.number }, 'a segment is there both open and sealed: the open one is set aside')
    await moveAside(fileSystem, directory, found.number, 'open')
    return { ...NOTHING, outcome: 'aside', damagedRecords: 1, damagedBytes: found.bytes }
  }
  const file = await fileSystem.open(path, 'update')
  let tail: Tail
  let end: number
  try {
    const scan = await scanSegment(file, found.number, directory.logId)
    if (scan.header === 'newer') {
      logger.error({ segment: found.number }, 'a segment of a newer format is left alone')
      return { ...NOTHING, outcome: 'left' }
    }
    tail = await classifyTail(file, found.number, scan)
    if (scan.records.length === 0) return await discard(context, found.number, scan, tail)
    end = await cutTail(context, file, found.number, scan, tail)
    // After a failed sync, also one of the process before, a page can be in memory, count as clean, and never reach the
    // disk. Written again it does, so what is handed out now is what a later start will find.
    await rewriteUnlessFull(file, end)
    await file.sync()
    found = { ...found, bytes: scan.fileBytes }
  } finally {
    await file.close()
  }
  await fileSystem.rename(path, sealedPath)
  await fileSystem.syncDirectory(directory.path)
  const isDamaged = tail === 'damaged' && end < found.bytes
  return {
    outcome: 'sealed',
    bytes: end,
    tornTails: tail === 'torn' || tail === 'zero' ? 1 : 0,
    damagedRecords: isDamaged ? 1 : 0,
    damagedBytes: isDamaged ? found.bytes - end : 0,
  }
}

/** A file without a good record is removed when it is empty or zeros, else moved away whole. */
async function discard(
  { fileSystem, directory, logger }: RecoveryContext,
  number: number,
  scan: SegmentScan,
  tail: Tail,
): Promise<RecoveredFile> {
  const tornTails = tail === 'zero' || tail === 'torn' ? 1 : 0
  if (tail === 'none' || tail === 'unused' || tail === 'zero') {
    await fileSystem.remove(directory.segmentPath(number, 'open'))
    return { ...NOTHING, outcome: 'gone', tornTails }
  }
  logger.error({ segment: number, bytes: scan.fileBytes }, 'no good record in a segment: set aside')
  await moveAside(fileSystem, directory, number, 'open')
  if (tail === 'torn') return { ...NOTHING, outcome: 'aside', tornTails }
  return { ...NOTHING, outcome: 'aside', damagedRecords: 1, damagedBytes: scan.fileBytes }
}

type Tail = 'none' | 'unused' | 'zero' | 'torn' | 'damaged'

/**
 * `unused`: behind the end mark, or in a file that was another segment's and that nothing was written to. `torn` is what a write looks
 * like that did not come to its end; `damaged` may also be bytes that have changed.
 */
async function classifyTail(file: LogFile, number: number, scan: SegmentScan): Promise<Tail> {
  if (scan.records.length === 0 && scan.header === 'other') return 'unused'
  if (scan.records.length === 0 && scan.header === 'damaged') {
    if (scan.fileBytes === 0) return 'none'
    if (scan.fileBytes < SEGMENT_HEADER_BYTES) return 'torn'
    return (await isAllZero(file, { start: 0, end: scan.fileBytes })) ? 'zero' : 'damaged'
  }
  if (scan.end >= scan.fileBytes) return 'none'
  const isMarked = await isAllZero(file, { start: scan.end, end: Math.min(scan.end + END_MARK_BYTES, scan.fileBytes) })
  const markEnd = scan.end + END_MARK_BYTES
  if (isMarked && markEnd < scan.fileBytes && (await isAllZero(file, { start: markEnd, end: scan.fileBytes })))
    return 'zero'
  if (isMarked) return 'unused'
  if (scan.fileBytes - scan.end < RECORD_HEADER_BYTES) return 'torn'
  const bytes = new Uint8Array(RECORD_HEADER_BYTES)
  await file.read(bytes, scan.end)
  const header = decodeRecordHeader(bytes, scan.end, segmentSeed(scan.logId, number))
  const isShort = header !== undefined && scan.end + RECORD_HEADER_BYTES + header.byteLength > scan.fileBytes
  return isShort ? 'torn' : 'damaged'
}

/** Copies what is behind the last good record, then cuts it; returns the file's new end. */
async function cutTail(
  context: RecoveryContext,
  file: LogFile,
  number: number,
  scan: SegmentScan,
  tail: Tail,
): Promise<number> {
  if (tail === 'none') return scan.fileBytes
  if (tail === 'unused') {
    await file.truncate(scan.end)
    return scan.end
  }
  const range = { start: scan.end, end: scan.fileBytes }
  const fields = { segment: number, start: range.start, bytes: range.end - range.start }
  if (tail === 'damaged') {
    context.logger.error(fields, 'the end of a segment is no good record: unacknowledged, or damaged; it is set aside')
  } else {
    context.logger.warn(fields, 'the end of a segment is an unfinished write: cut')
  }
  if (tail !== 'zero') {
    try {
      await copyAside(context.fileSystem, context.directory, file, number, range)
    } catch (error) {
      context.logger.error({ ...fields, err: error }, 'damaged bytes could not be copied: they stay in the segment')
      return scan.fileBytes
    }
  }
  await file.truncate(scan.end)
  return scan.end
}

/** On a full disk that needs room even to overwrite, draining the log is worth more than this precaution. */
async function rewriteUnlessFull(file: LogFile, end: number): Promise<void> {
  try {
    await rewriteInPlace(file, end)
  } catch (error) {
    if (!isNoSpace(error)) throw error
  }
}

async function sizeOf(fileSystem: FileSystem, path: string): Promise<number> {
  const file = await fileSystem.open(path, 'read')
  try {
    return await file.size()
  } finally {
    await file.close()
  }
}
