/** Good records are found among whatever else is in a file, and looking for them costs little. */
import { describe, expect, test } from 'bun:test'
import { crc32 } from 'node:zlib'
import type { LogFile } from '../../src/log/file-system.ts'
import {
  encodeRecordHeader,
  encodeSegmentHeader,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  SEGMENT_HEADER_BYTES,
  segmentSeed,
} from '../../src/log/segment.ts'
import { scanSegment } from '../../src/log/segment-scan.ts'
import { MIB } from './support.ts'

const LOG_ID = '0123456789abcdef'.repeat(2)
const NUMBER = 7

/** A segment of which all is damaged but the file header, filled with what is wanted. */
function segmentOf(byteLength: number, filler: Uint8Array): Buffer {
  const bytes = Buffer.alloc(byteLength, filler)
  bytes.set(encodeSegmentHeader({ logId: LOG_ID, number: NUMBER, createdAt: 0, insertForm: 'joined' }))
  return bytes
}

/** Puts a good record into a segment. */
function putRecord(bytes: Buffer, offset: number, content: string): void {
  const block = bytes.subarray(offset + RECORD_HEADER_BYTES)
  const byteLength = block.write(content)
  const checksum = crc32(block.subarray(0, byteLength))
  encodeRecordHeader(bytes, offset, offset, segmentSeed(LOG_ID, NUMBER), { ordinal: 0, rows: 1, byteLength, checksum })
}

/** A file in memory that counts how often it is read. */
function fileOf(bytes: Buffer): LogFile & { reads: number } {
  const refuse = () => {
    throw new Error('only read')
  }
  return {
    reads: 0,
    async read(target, position) {
      this.reads += 1
      return bytes.copy(target, 0, position)
    },
    size: async () => bytes.byteLength,
    close: async () => undefined,
    ...{ write: refuse, sync: refuse, truncate: refuse },
  }
}

/** How often anything was waited for until the work was done. */
async function turnsOf(work: Promise<unknown>): Promise<number> {
  let isDone = false
  void work.finally(() => {
    isDone = true
  })
  let turns = 0
  for (; !isDone; turns += 1) await Promise.resolve()
  return turns
}

describe('a search for the next good record', () => {
  test('finds it wherever it lies in what is read at once, also among bytes that look like one', async () => {
    for (const filler of [Uint8Array.of(0), Uint8Array.of(0, ...RECORD_MAGIC)]) {
      for (let before = 0; before <= 3 * RECORD_HEADER_BYTES; before += 3) {
        const bytes = segmentOf(MIB + 1000, filler)
        const offset = MIB + SEGMENT_HEADER_BYTES - before
        putRecord(bytes, offset, 'found')
        const scan = await scanSegment(fileOf(bytes), NUMBER, LOG_ID)
        expect(scan.records.map((record) => record.offset)).toEqual([offset + RECORD_HEADER_BYTES])
        expect(scan.damaged).toEqual([
          { start: SEGMENT_HEADER_BYTES, end: offset },
          { start: scan.end, end: bytes.byteLength },
        ])
      }
    }
  })

  test('waits for the file alone, however many bytes look like a record', async () => {
    const file = fileOf(segmentOf(4 * MIB, RECORD_MAGIC))
    const turns = await turnsOf(scanSegment(file, NUMBER, LOG_ID))
    expect(file.reads).toBeLessThan(10)
    expect(turns).toBeLessThan(20 * file.reads)
  })
})
