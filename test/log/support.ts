import { randomBytes } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EncodedBlock, EventLog, RecordPosition, SealedSegment } from '../../src/log/event-log.ts'
import type { WriteAheadLogOptions } from '../../src/log/write-ahead-log.ts'
import { createLogger } from '../../src/telemetry/logger.ts'

export const KIB = 1024
export const MIB = 1024 * 1024

/** A block with the given bytes. */
export function blockOf(content: string | Uint8Array, rows = 1): EncodedBlock {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content
  return { rows, byteLength: bytes.byteLength, writeTo: (target, offset) => target.set(bytes, offset) }
}

/** A block that cannot be compressed or guessed. */
export function randomBlock(byteLength: number, rows = 1): EncodedBlock {
  return blockOf(randomBytes(byteLength), rows)
}

/** A new directory for one test. */
export function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'penstock-log-'))
}

/** Options under which nothing is sealed or refused unless the test wants it. */
export function logOptions(directory: string, changes: Partial<WriteAheadLogOptions> = {}): WriteAheadLogOptions {
  return {
    directory,
    segmentBytes: 16 * MIB,
    flushIntervalMs: 3_600_000,
    ringBytes: MIB,
    logBytesMax: 1024 * MIB,
    logger: createLogger({ level: 'silent' }),
    retryMinMs: 1,
    retryMaxMs: 5,
    ...changes,
  }
}

/** All bytes of a segment, or of some of its records. */
export async function readAll(
  log: EventLog,
  segment: SealedSegment,
  records?: readonly RecordPosition[],
): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of log.read(segment, records)) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** The content of each block of a segment, in order. */
export async function readBlocks(log: EventLog, segment: SealedSegment): Promise<string[]> {
  const bytes = await readAll(log, segment)
  let start = 0
  return segment.records.map((record) => {
    start += record.byteLength
    return bytes.toString('latin1', start - record.byteLength, start)
  })
}

/** Takes a segment that must be there. */
export async function takeOne(log: EventLog): Promise<SealedSegment> {
  const segment = await log.takeSealed()
  if (segment === undefined) throw new Error('no segment left')
  return segment
}
