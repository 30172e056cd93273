/**
 * The body of an insert: the blocks as they are in the log, or, when they are small, joined. ClickHouse takes 160 µs for a block and what is in
 * each row: with one event a request that was 5 to 7 of 14 µs an event, and joining takes one here.
 *
 * Into which groups blocks are joined follows from their sizes alone, so a body has the same bytes at every try. ClickHouse needs that: rows
 * that come under the same token in other blocks are stored twice. So the rule is part of a segment, in the header of its file, and another rule
 * is another `InsertForm`.
 */
import { discard } from '../discard.ts'
import type { EventLog, RecordPosition, SealedSegment } from '../log/event-log.ts'
import { BlockJoiner } from '../native/join-blocks.ts'

/** Blocks that have fewer rows on the average are joined. */
const ROWS_ENOUGH = 256
/** A group ends with the block that brings it to so many rows or bytes. */
const GROUP_ROWS = 1024
const GROUP_BYTES = 1024 * 1024
/** After so many bytes others have a turn: a quarter of a millisecond of work. */
const PART_BYTES = 64 * 1024
/** So long is a turn: there is no hurry. Joined without a pause, a second of small requests held up all others for 50 ms. */
const TURN_MS = 2
/** A body that has waited so long gives others only what they have to do at once: a backlog is not to become larger by it. */
const TURNS_MS_MAX = 300

/** A body is made to count its bytes, kept up to this size, and otherwise made again to be sent. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024

/** What is inserted, and exactly how many bytes that are. */
export interface InsertBody {
  readonly chunks: AsyncIterable<Uint8Array> | readonly Uint8Array[]
  readonly bytes: number
  /** Once all of it was sent: gives back the memory of what was joined. */
  release(): void
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
  const asTheyAre = { chunks: log.read(segment, records), bytes, release: () => undefined }
  const areSmall = records.length > 1 && rows < ROWS_ENOUGH * records.length
  if (segment.insertForm !== 'joined' || !areSmall) return asTheyAre
  const kept: Uint8Array[] = []
  const release = () => kept.splice(0).forEach(discard)
  let joinedBytes = 0
  for await (const joined of joinGroups(log.read(segment, records), records)) {
    if (joined === undefined) return asTheyAre
    joinedBytes += joined.byteLength
    if (joinedBytes <= KEPT_BYTES_MAX) kept.push(joined)
    else release()
  }
  const chunks = joinedBytes <= KEPT_BYTES_MAX ? kept : joinAgain(log.read(segment, records), records)
  return { chunks, bytes: joinedBytes, release }
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
  const parts = partsOf(records)
  const memory = Buffer.allocUnsafeSlow(Math.max(...parts.map(({ bytes }) => bytes)))
  let index = 0
  let length = 0
  for await (const chunk of chunks) {
    for (let taken = 0; taken < chunk.length; ) {
      const { bytes, endsGroup } = parts[index] as Part
      const piece = chunk.subarray(taken, taken + bytes - length)
      memory.set(piece, length)
      taken += piece.length
      length += piece.length
      if (length < bytes) continue
      if (!joiner.add(memory.subarray(0, bytes))) yield undefined
      else if (endsGroup) yield joiner.take()
      // Chunks out of memory come without any wait.
      await (index * TURN_MS < TURNS_MS_MAX ? Bun.sleep(TURN_MS) : otherWork())
      index++
      length = 0
    }
  }
}

/** Lets requests be looked at that are there. */
function otherWork(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Whole blocks of a group that are joined without a break. */
interface Part {
  readonly bytes: number
  readonly endsGroup: boolean
}

function partsOf(records: readonly RecordPosition[]): Part[] {
  const parts: Part[] = []
  let groupRows = 0
  let groupBytes = 0
  let bytes = 0
  records.forEach((record, index) => {
    groupRows += record.rows
    groupBytes += record.byteLength
    bytes += record.byteLength
    const endsGroup = groupRows >= GROUP_ROWS || groupBytes >= GROUP_BYTES || index === records.length - 1
    if (!endsGroup && bytes < PART_BYTES) return
    parts.push({ bytes, endsGroup })
    bytes = 0
    if (endsGroup) groupRows = groupBytes = 0
  })
  return parts
}
