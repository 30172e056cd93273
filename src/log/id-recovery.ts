/**
 * The event ids of before, at a start: out of the `.ids` files, and out of the blocks of those segments that have no chunk in one,
 * because a crash came before their seal, or because the chunk could not be written or is damaged. A backlog of sealed segments is
 * not read, then: its ids are in the files.
 */
import type { RecordPosition } from './event-log.ts'
import { errorCode, type LogFile } from './file-system.ts'
import { ID_BYTES, IdBuffer } from './id-buffer.ts'
import type { IdJournal, IdRetention } from './id-journal.ts'
import type { FoundSegment } from './log-directory.ts'
import type { RecoveryContext } from './recovery.ts'
import { scanSegment } from './segment-scan.ts'

/** What the log asks of deduplication to bring back its ids. */
export interface IdRestorer {
  /** The keys of all ids in a block, 12 bytes each; undefined when it cannot be read. */
  keysOf(block: Uint8Array): Uint8Array | undefined
  /** Gets keys of ids that are durable. */
  take(keys: Uint8Array): void
}

const WINDOW_BYTES = 4 * 1024 * 1024

/** Brings back the ids that are young enough. Content never makes it fail, nor that a file cannot be read: that is logged. */
export async function restoreIds(
  context: RecoveryContext,
  journal: IdJournal,
  restorer: IdRestorer,
  options: IdRetention & { readonly now: number },
): Promise<void> {
  const { directory, fileSystem } = context
  const known = await journal.load((keys) => restorer.take(keys))
  const { open, sealed } = directory.found
  const unknown = [...open, ...sealed].filter(
    ({ number, modifiedAt }) => !known.has(number) && options.now - modifiedAt <= options.windowMs,
  )
  unknown.sort((a, b) => b.number - a.number)
  let left = options.idsMax / 2
  for (const segment of unknown) {
    if (left <= 0) break
    const keys = await readSegment(context, segment, journal, restorer)
    if (keys === undefined) continue
    restorer.take(keys)
    left -= keys.byteLength / ID_BYTES
    await journal.write(segment.number, keys, Math.min(segment.modifiedAt, options.now))
  }
  if (unknown.length === 0) return
  try {
    await fileSystem.syncDirectory(directory.path)
  } catch (error) {
    journal.fail('sync ids', error)
  }
}

/** The keys of all ids in a segment, from the youngest one on; undefined when it cannot be read, or is not there any more. */
async function readSegment(
  context: RecoveryContext,
  { number }: FoundSegment,
  journal: IdJournal,
  restorer: IdRestorer,
): Promise<Uint8Array | undefined> {
  try {
    const file = await openSegment(context, number)
    if (file === undefined) return undefined
    try {
      const { records } = await scanSegment(file, number, context.directory.logId)
      return await readKeys(file, records, restorer)
    } finally {
      await file.close()
    }
  } catch (error) {
    journal.fail('read ids', error)
    return undefined
  }
}

async function openSegment({ fileSystem, directory }: RecoveryContext, number: number): Promise<LogFile | undefined> {
  for (const state of ['sealed', 'open'] as const) {
    try {
      return await fileSystem.open(directory.segmentPath(number, state), 'read')
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error
    }
  }
  return undefined
}

async function readKeys(file: LogFile, records: readonly RecordPosition[], restorer: IdRestorer): Promise<Uint8Array> {
  const keys = new IdBuffer()
  let window = new Uint8Array(0)
  let start = 0
  let length = 0
  for (const { offset, byteLength } of records) {
    if (offset + byteLength > start + length) {
      if (window.byteLength < byteLength) window = new Uint8Array(Math.max(byteLength, WINDOW_BYTES))
      start = offset
      length = await file.read(window, offset)
    }
    const block = window.subarray(offset - start, Math.min(offset - start + byteLength, length))
    keys.append(restorer.keysOf(block) ?? new Uint8Array(0))
  }
  return keys.bytes
}
