/** What requests take as they are stored is known before they join a commit: none can be larger than a segment. */
import { expect, test } from 'bun:test'
import type { Authenticated } from '../../src/auth/key-cache.ts'
import { EventBatch } from '../../src/batch.ts'
import { openDedupe } from '../../src/dedupe/open.ts'
import type { RequestFacts } from '../../src/event-reading.ts'
import { MemoryLimits } from '../../src/limits/memory-limits.ts'
import { SEGMENT_BYTES_MAX, SEGMENT_ROWS_MAX } from '../../src/log/event-log.ts'
import { BATCH_BYTES_MAX, GroupCommit } from '../../src/log/group-commit.ts'
import { WriteAheadLog } from '../../src/log/write-ahead-log.ts'
import { EventBlock } from '../../src/native/event-block.ts'
import { type Drafts, Pipeline } from '../../src/pipeline.ts'
import { isRejection } from '../../src/rejection.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { bodyOf, makeDraft, makeFacts, makeScanner } from '../scan/scan-fixture.ts'
import { batchOf, makeEvent } from '../support/events.ts'
import { logOptions, MIB, temporaryDirectory } from './support.ts'

const logger = createLogger({ level: 'silent' })
const facts = {
  key: { eventsPerMinute: Number.POSITIVE_INFINITY } as Authenticated,
  protocol: 'v1/events',
} as RequestFacts

async function startPipeline(): Promise<Pipeline> {
  const log = await WriteAheadLog.open(logOptions(temporaryDirectory()))
  const groupCommit = new GroupCommit({ logger, log, blockBytesMax: 8 * MIB })
  const dedupe = await openDedupe({ windowMs: 1000, idsMax: 1000, log, logger })
  return new Pipeline({ limits: new MemoryLimits(), dedupe, groupCommit })
}

/** Events of so many bytes each. */
function eventsOf(count: number, bytes: number): Drafts {
  const url = 'x'.repeat(bytes)
  return { values: Array.from({ length: count }), read: () => makeEvent({ url }) }
}

test('a request that is larger than a commit is refused, and the next one goes on', async () => {
  const pipeline = await startPipeline()
  for (const drafts of [eventsOf(1, BATCH_BYTES_MAX), eventsOf(7, 28 * MIB), eventsOf(SEGMENT_ROWS_MAX + 1, 0)]) {
    const refused = await pipeline.accept(facts, drafts)
    expect(isRejection(refused) && refused.rejection).toBe('payload_too_large')
    expect(await pipeline.accept(facts, eventsOf(1, 10))).toMatchObject({ accepted: 1 })
  }
})

test('one whose estimate is too high is measured', () => {
  const text = 'x'.repeat(1000)
  const batch = new EventBatch([makeEvent({ title: text }), makeEvent({ title: text })], 0)
  const block = new EventBlock()
  for (const event of batch.events) block.append(event)
  expect(batch.bytesMax).toBeGreaterThan(2 * block.byteLength)
  expect(batch.isWithin(block.byteLength - 1)).toBe(false)
  expect(batch.isWithin(block.byteLength)).toBe(true)
  expect(batch.bytesMax).toBe(block.byteLength)
})

test('two that together are larger than a segment are two commits, and nobody comes before the second', async () => {
  const commits: { rows: number; bytes: number }[] = []
  const log = {
    commit: async (blocks: readonly { rows: number; byteLength: number }[]) => {
      commits.push({ rows: blocks[0]?.rows ?? 0, bytes: blocks[0]?.byteLength ?? 0 })
      return 'durable'
    },
  } as unknown as WriteAheadLog
  const groupCommit = new GroupCommit({ logger, log, blockBytesMax: 1024 * MIB })
  const large = () => batchOf(makeEvent({ url: 'x'.repeat(150 * MIB) }))
  const small = batchOf(makeEvent(), makeEvent())
  const outcomes = await Promise.all([large(), large(), small].map((batch) => groupCommit.append(batch)))
  expect(outcomes).toEqual(['durable', 'durable', 'durable'])
  expect(commits.map(({ rows }) => rows)).toEqual([1, 3])
  for (const { bytes } of commits) expect(bytes).toBeLessThan(SEGMENT_BYTES_MAX)
})

/** Of few bytes, and with so many of paths. */
function pathsOf(keys: number, values: number): object {
  let object: Record<string, unknown> = {}
  for (let index = 0; index < values; index++) object[index.toString(36)] = 1
  for (let index = 0; index < keys; index++) object = { ['k'.repeat(250)]: object }
  return object
}

test('the scanner takes no body whose paths are many times its size, and keeps no memory of it', () => {
  const scanner = makeScanner()
  const body = bodyOf(...Array.from({ length: 100 }, () => makeDraft({ properties: pathsOf(20, 30) })))
  for (let round = 0; round < 20; round++) expect(scanner.read(makeFacts(), body, 'body')).toBeUndefined()
  expect(scanner.memoryBytes).toBeLessThan(64 * MIB)
})

test('what waits holds a part of the scanner’s memory at most; then requests are read the other way', () => {
  const scanner = makeScanner()
  const body = bodyOf(...Array.from({ length: 50 }, () => makeDraft({ properties: pathsOf(20, 20) })))
  const held = []
  for (let rows = scanner.read(makeFacts(), body, 'body'); rows !== undefined; ) {
    held.push(rows)
    rows = held.length < 1000 ? scanner.read(makeFacts(), body, 'body') : undefined
  }
  expect(held.length).toBeWithin(5, 100)
  expect(scanner.memoryBytes).toBeLessThan(300 * MIB)
  for (const rows of held) rows.release()
  expect(scanner.held).toEqual({ rows: 0, bytes: 0 })
  const before = scanner.memoryBytes
  for (let index = 0; index < held.length / 2; index++) expect(scanner.read(makeFacts(), body, 'body')?.length).toBe(50)
  expect(scanner.memoryBytes).toBe(before)
})
