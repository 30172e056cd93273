/** The very bytes that Penstock inserts, taken from the log of a Penstock that could not reach ClickHouse. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  decodeRecordHeader,
  decodeSegmentHeader,
  parseSegmentFileName,
  RECORD_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentSeed,
} from '../../src/log/segment.ts'

/** One insert. */
export interface RecordedInsert {
  readonly token: string
  readonly rows: number
  readonly bodyBytes: number
  readonly body: readonly Uint8Array[]
}

/** Reads the segments of a stopped Penstock one after the other. */
export function* recordedInserts(dataDir: string): Generator<RecordedInsert> {
  const directory = join(dataDir, 'log')
  for (const name of readdirSync(directory).sort()) {
    if (parseSegmentFileName(name) !== undefined) yield readSegment(join(directory, name))
  }
}

function readSegment(path: string): RecordedInsert {
  const bytes = new Uint8Array(readFileSync(path))
  const header = decodeSegmentHeader(bytes)
  if (typeof header === 'string') throw new Error(`${path}: ${header}`)
  const seed = segmentSeed(header.logId, header.number)
  const body: Uint8Array[] = []
  let rows = 0
  for (let offset = SEGMENT_HEADER_BYTES; offset < bytes.length; ) {
    const record = decodeRecordHeader(bytes.subarray(offset), offset, seed)
    if (record === undefined) break // space that was reserved and not used
    const start = offset + RECORD_HEADER_BYTES
    body.push(bytes.subarray(start, start + record.byteLength))
    rows += record.rows
    offset = start + record.byteLength
  }
  const bodyBytes = body.reduce((sum, block) => sum + block.length, 0)
  return { token: `${header.logId}/${header.number}`, rows, bodyBytes, body }
}
