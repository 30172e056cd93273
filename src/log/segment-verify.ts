/**
 * The check that a segment file gets when it is taken: its good records are handed out, what is damaged is set aside
 * loudly. A segment that is still complete in the ring does not need it.
 */
import { INSERT_FORM, type InsertForm, type RecordPosition } from './event-log.ts'
import { errorCode, type LogFile } from './file-system.ts'
import type { RecoveryContext } from './recovery.ts'
import { type SegmentScan, scanSegment } from './segment-scan.ts'
import { copyAside, moveAside } from './set-aside.ts'

/** What a sealed file turned out to hold. */
export interface VerifiedSegment {
  /** `good`: there are records to hand out. `aside`: none, the file is in `damaged/`. `gone`: no such file. `left`: of a newer format. */
  readonly outcome: 'good' | 'aside' | 'gone' | 'left'
  readonly token: string
  readonly insertForm: InsertForm
  readonly records: readonly RecordPosition[]
  readonly damagedRecords: number
  readonly damagedBytes: number
  /** Damaged bytes could not be copied: the file must not be deleted, but moved to `damaged/`. */
  readonly isKept: boolean
}

/** Reads a sealed file once. Throws the file system's error when it cannot be read or moved. */
export async function verifySegment(context: RecoveryContext, number: number): Promise<VerifiedSegment> {
  const { fileSystem, directory, logger } = context
  const result = { token: '', insertForm: INSERT_FORM, records: [], damagedRecords: 0, damagedBytes: 0, isKept: false }
  let file: LogFile
  try {
    file = await fileSystem.open(directory.segmentPath(number, 'sealed'), 'read')
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error
    logger.error({ segment: number }, 'a segment has disappeared: its events are lost')
    return { ...result, outcome: 'gone', damagedRecords: 1 }
  }
  try {
    const scan = await scanSegment(file, number, directory.logId)
    if (scan.header === 'newer') {
      logger.error({ segment: number }, 'a segment of a newer format is left alone')
      return { ...result, outcome: 'left' }
    }
    const { records, damaged } = scan
    let damagedBytes = 0
    for (const range of damaged) damagedBytes += range.end - range.start
    const counts = { damagedRecords: damaged.length, damagedBytes }
    if (records.length === 0) {
      logger.error({ segment: number, bytes: scan.fileBytes }, 'no good record in a segment: set aside')
      await moveAside(fileSystem, directory, number, 'sealed')
      return { ...result, outcome: 'aside', damagedRecords: Math.max(1, damaged.length), damagedBytes: scan.fileBytes }
    }
    const isKept = !(await copyDamaged(context, file, number, scan))
    // Of a damaged header nothing is known: most likely it was as they are now.
    const insertForm = typeof scan.header === 'object' ? scan.header.insertForm : INSERT_FORM
    return { ...counts, outcome: 'good', token: `${scan.logId}/${number}`, insertForm, records, isKept }
  } finally {
    await file.close()
  }
}

/** Copies the damaged ranges; false when that failed. */
async function copyDamaged(
  { fileSystem, directory, logger }: RecoveryContext,
  file: LogFile,
  number: number,
  scan: SegmentScan,
): Promise<boolean> {
  let isCopied = true
  for (const range of scan.damaged) {
    logger.error(
      { segment: number, ...range },
      'damaged bytes in a segment: set aside, the records around them are used',
    )
    try {
      await copyAside(fileSystem, directory, file, number, range)
    } catch (error) {
      logger.error({ segment: number, err: error }, 'damaged bytes could not be copied: the segment file will be kept')
      isCopied = false
    }
  }
  return isCopied
}
