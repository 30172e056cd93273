/**
 * What a kill of ClickHouse leaves in the deduplication logs of its tables, mended while no ClickHouse runs on the files.
 *
 * A plain MergeTree table with `non_replicated_deduplication_window` remembers what was inserted in
 * `store/<3>/<uuid>/deduplication_logs/deduplication_log_<number>.txt`, the highest number being the one written to. A line is
 *
 *     <operation> TAB <part name> TAB <block id> LF          operation: 1 = ADD, 2 = DROP (forget this block id)
 *
 * and a part name is `<partition id>_<min block>_<max block>_<level>[_<mutation>]`. Block numbers grow with every insert into the
 * table; a merged part covers the numbers of those it was made of.
 *
 * An insert takes the next block number, appends ADD and only then renames `tmp_insert_…` to the part's name. A kill between the
 * two leaves a record without its part: the batch, sent again under its token, is then taken for a duplicate, and its rows never
 * come to be, in that table alone. So here such a record gets its DROP. Numbering, record and rename happen under one lock of
 * the table: only the very last part of a table can be missing so. An insert may leave several records for its one part.
 *
 * Also mended is a last line without its LF, which a kill or a full disk can leave. ClickHouse itself ignores it when it reads, but
 * appends the next record to it: from then on that line, and every one behind it, is lost at each start. It is cut off: its
 * write had not ended, so its part does not exist.
 *
 * Which records are left alone, and why that is safe:
 * - The part is there, or a part of the table, active or outdated, has the same or a higher block number: then this insert had ended
 *   before that one began, so its part was merged, or left by a drop, a move or its TTL.
 * - The part is in `detached/`, where ClickHouse puts what it cannot read: to insert those rows again could double them.
 * - The record has a DROP: ClickHouse writes them for the parts it drops, by DROP PARTITION, TRUNCATE or TTL, before the empty part
 *   that takes their place leaves the disk. Were it otherwise, we would write what ClickHouse was about to write itself, and that
 *   matters only to a batch that is still being sent.
 * - A line that is no record: ClickHouse stops reading the file there, so it believes nothing behind it.
 *
 * Source: ClickHouse 26.7, `MergeTreeDeduplicationLog.cpp` (format, `load`, `dropPart`) and `MergeTreeSink.cpp` (`commitPart`); the order
 * of the write and the rename was also seen with strace. Later source renames first: there a record always has its part.
 */
import { type FileHandle, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode } from '../log/file-system.ts'

/** Looked at from the end of a table's log: 800 records of 80 bytes, where one or two may have to be dropped. */
const TAIL_BYTES = 64 * 1024

const ADD = '1'
const DROP = '2'

/** A record whose part never came to be. */
export interface OrphanRecord {
  /** The table's directory. */
  readonly table: string
  readonly part: string
  readonly blockId: string
}

/** What was found and mended. */
export interface DeduplicationRepair {
  /** Each has its DROP now, on disk. */
  readonly dropped: readonly OrphanRecord[]
  /** Log files whose last, torn line is cut off. */
  readonly cut: readonly string[]
  /** Log files with lines that are no records. ClickHouse does not read them further; left as they are. */
  readonly unreadable: readonly string[]
}

interface MutableRepair {
  readonly dropped: OrphanRecord[]
  readonly cut: string[]
  readonly unreadable: string[]
}

interface LogRecord {
  readonly operation: string
  readonly part: string
  readonly blockId: string
}

interface BlockRange {
  readonly partition: string
  readonly min: number
  readonly max: number
}

/** The end of one log file. */
interface Tail {
  readonly records: readonly LogRecord[]
  readonly bytes: number
  /** Bytes behind the last LF. */
  readonly tornBytes: number
  readonly readable: boolean
}

/**
 * Mends the logs of all tables of a ClickHouse that does not run. `directories` are its data directory and those of its other
 * disks, if it has any: a table's parts may be on all of them. Throws the file system's error.
 */
export async function repairDeduplicationLogs(directories: readonly string[]): Promise<DeduplicationRepair> {
  const repair: MutableRepair = { dropped: [], cut: [], unreadable: [] }
  for (const directory of directories) {
    for (const prefix of await namesIn(join(directory, 'store'))) {
      for (const uuid of await namesIn(join(directory, 'store', prefix))) {
        const table = join('store', prefix, uuid)
        const copies = directories.map((disk) => join(disk, table))
        await repairTable(join(directory, table), copies, repair)
      }
    }
  }
  return repair
}

async function repairTable(table: string, copies: readonly string[], repair: MutableRepair): Promise<void> {
  const logs = join(table, 'deduplication_logs')
  const files = logFiles(await namesIn(logs)).map((name) => join(logs, name))
  const newest = files[0]
  if (newest === undefined) return

  const records: LogRecord[] = []
  let bytes = 0
  for (const file of files) {
    const tail = await withFile(file, 'r', readTail)
    if (!tail.readable) {
      repair.unreadable.push(file)
      break
    }
    if (file === newest && tail.tornBytes > 0) {
      await withFile(file, 'r+', (handle) => cutOff(handle, tail.tornBytes))
      repair.cut.push(file)
    }
    records.unshift(...tail.records)
    bytes += tail.bytes
    if (bytes >= TAIL_BYTES) break
  }

  const orphans = await findOrphans(records, copies)
  if (orphans.length === 0) return
  const lines = orphans.map(({ part, blockId }) => `${DROP}\t${part}\t${blockId}\n`)
  await withFile(newest, 'a', async (handle) => {
    await handle.appendFile(lines.join(''), 'latin1')
    await handle.sync()
  })
  repair.dropped.push(...orphans.map(({ part, blockId }) => ({ table, part, blockId })))
}

/** The records that still stand although their part is not there, nor any later one. */
async function findOrphans(records: readonly LogRecord[], copies: readonly string[]): Promise<LogRecord[]> {
  const standing = new Map<string, LogRecord>()
  for (const record of records) {
    if (record.operation === ADD) standing.set(record.blockId, record)
    else standing.delete(record.blockId)
  }
  let highest = 0
  const detached: BlockRange[] = []
  for (const copy of copies) {
    for (const name of await namesIn(copy)) highest = Math.max(highest, rangeOf(name)?.max ?? 0)
    for (const name of await namesIn(join(copy, 'detached'))) detached.push(...detachedRangesOf(name))
  }
  return [...standing.values()].filter(({ part }) => {
    const range = rangeOf(part)
    return range !== undefined && range.min > highest && !detached.some((other) => covers(other, range))
  })
}

/** Names of the log files, newest first. */
function logFiles(names: readonly string[]): string[] {
  const numbered = names.flatMap((name) => {
    const number = /^deduplication_log_(\d+)\.txt$/.exec(name)?.[1]
    return number === undefined ? [] : [{ name, number: Number(number) }]
  })
  return numbered.sort((one, other) => other.number - one.number).map(({ name }) => name)
}

async function readTail(handle: FileHandle): Promise<Tail> {
  const status = await handle.stat()
  if (!status.isFile()) return { records: [], bytes: 0, tornBytes: 0, readable: false }
  const { size } = status
  const start = Math.max(0, size - TAIL_BYTES)
  const buffer = Buffer.alloc(size - start)
  const { bytesRead } = await handle.read(buffer, 0, buffer.length, start)
  const text = buffer.toString('latin1', 0, bytesRead) // a character is a byte, whatever it holds
  const lines = text.split('\n')
  const torn = lines.pop() ?? ''
  if (start > 0) lines.shift() // it may have begun before
  const records = lines.flatMap((line) => recordOf(line) ?? [])
  // A file that is one torn line has to look like the beginning of a record, or like what a power cut leaves of it.
  const known = records.length > 0 || (start === 0 && /^([12](\t.*)?|\0*)$/.test(torn))
  return { records, bytes: bytesRead, tornBytes: torn.length, readable: known && records.length === lines.length }
}

async function cutOff(handle: FileHandle, bytes: number): Promise<void> {
  const { size } = await handle.stat()
  await handle.truncate(size - bytes)
  await handle.sync()
}

function recordOf(line: string): LogRecord | undefined {
  const [, operation, part, blockId] = /^([12])\t([^\t]+)\t([^\t]+)$/.exec(line) ?? []
  if (operation === undefined || part === undefined || blockId === undefined) return undefined
  return { operation, part, blockId }
}

/** The blocks of a part by its name; undefined for `tmp_insert_…`, `delete_tmp_…` and all else that is no part. */
function rangeOf(name: string): BlockRange | undefined {
  const [, partition, min, max] = /^([^_]+)_(\d+)_(\d+)_\d+(?:_\d+)?$/.exec(name) ?? []
  if (partition === undefined || min === undefined || max === undefined) return undefined
  // Otherwise a name of the format before 2018, with two dates in front, or one with a word before it.
  return Number(min) <= Number(max) ? { partition, min: Number(min), max: Number(max) } : undefined
}

/**
 * The blocks of a detached part. Its name may have a reason before it and a number behind, as in
 * `broken-on-start_all_1_1_0_try2`, so that it can be read in two ways: all that it may be.
 */
function detachedRangesOf(name: string): BlockRange[] {
  const words = name.replace(/_try\d+$/, '').split('_')
  return words.flatMap((_, first) => rangeOf(words.slice(first).join('_')) ?? [])
}

function covers(one: BlockRange, other: BlockRange): boolean {
  return one.partition === other.partition && one.min <= other.min && one.max >= other.max
}

/** Nothing when it is no directory. */
async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return []
    throw error
  }
}

async function withFile<Result>(
  path: string,
  flags: string,
  work: (handle: FileHandle) => Promise<Result>,
): Promise<Result> {
  const handle = await open(path, flags)
  try {
    return await work(handle)
  } finally {
    await handle.close()
  }
}
