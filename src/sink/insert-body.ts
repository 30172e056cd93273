/**
 * The body of an insert: the blocks as they are in the log, or, when they are small, joined. ClickHouse takes 160 µs for a block and what is in
 * each row: with one event a request that was 5 to 7 of 14 µs an event, and joining takes one here.
 *
 * Into which groups blocks are joined follows from their sizes alone, so a body has the same bytes at every try. ClickHouse needs that: rows
 * that come under the same token in other blocks are stored twice. So the rule is part of a segment, in the header of its file, and another rule
 * is another `InsertForm`.
 */
import type { EventLog, RecordPosition, SealedSegment } from '../log/event-log.ts'
import { BlockJoiner } from '../native/join-blocks.ts'

/** Blocks that have fewer rows on the average are joined. */
const ROWS_ENOUGH = 256
/** A group ends with the block that brings it to so many rows or bytes: a millisecond of work. */
const GROUP_ROWS = 1024
const GROUP_BYTES = 1024 * 1024

/** A body is made to count its bytes, kept up to this size, and otherwise made again to be sent. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024

/** What is inserted, and exactly how many bytes that are. */
export interface InsertBody {
  readonly chunks: AsyncIterable<Uint8Array> | readonly Uint8Array[]
  readonly bytes: number
}

/** The body for some records of a taken segment. Throws what reading the log throws. */
export async function insertBody(
  log: Pick<EventLog, 'read'>,
  segment: SealedSegment,
  records: readonly RecordPosition[],
): Promise<InsertBody> {
  let rows = 0
  let bytes = 0
  for (const record of records) {
    rows += record.rows
    bytes += record.byteLength
  }
  const asTheyAre = { chunks: log.read(segment, records), bytes }
  const areSmall = records.length > 1 && rows < ROWS_ENOUGH * records.length
  if (segment.insertForm !== 'joined' || !areSmall) return asTheyAre
  const kept: Uint8Array[] = []
  let joinedBytes = 0
  for await (const joined of joinGroups(log.read(segment, records), records)) {
    if (joined === undefined) return asTheyAre
    joinedBytes += joined.byteLength
    if (joinedBytes <= KEPT_BYTES_MAX) kept.push(joined)
  }
  const chunks = joinedBytes <= KEPT_BYTES_MAX ? kept : joinAgain(log.read(segment, records), records)
  return { chunks, bytes: joinedBytes }
}

async function* joinAgain(
  blocks: AsyncIterable<Uint8Array>,
  records: readonly RecordPosition[],
): AsyncGenerator<Uint8Array> {
  for await (const joined of joinGroups(blocks, records)) {
    if (joined === undefined) throw new Error('a group of blocks was joined before and is not now')
    yield joined
  }
}

/** One block for each group; undefined for one that cannot be joined, because its blocks are not as ours are written. */
async function* joinGroups(
  chunks: AsyncIterable<Uint8Array>,
  records: readonly RecordPosition[],
): AsyncGenerator<Uint8Array | undefined> {
  const joiner = new BlockJoiner()
  const groups = groupBytes(records)
  const memory = Buffer.allocUnsafeSlow(Math.max(...groups))
  let index = 0
  let length = 0
  for await (const chunk of chunks) {
    for (let taken = 0; taken < chunk.length; ) {
      const wanted = groups[index] as number
      const part = chunk.subarray(taken, taken + wanted - length)
      memory.set(part, length)
      taken += part.length
      length += part.length
      if (length < wanted) continue
      yield joiner.join(memory.subarray(0, wanted))
      await otherWork() // chunks out of memory come without any wait
      index++
      length = 0
    }
  }
}

/** Lets requests be looked at. */
function otherWork(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** How many bytes the blocks of each group have. */
function groupBytes(records: readonly RecordPosition[]): number[] {
  const groups: number[] = []
  let rows = 0
  let bytes = 0
  for (const record of records) {
    rows += record.rows
    bytes += record.byteLength
    if (rows < GROUP_ROWS && bytes < GROUP_BYTES) continue
    groups.push(bytes)
    rows = 0
    bytes = 0
  }
  if (bytes > 0) groups.push(bytes)
  return groups
}
