/** The pipeline with deduplication and a log whose disk fails: what is acknowledged is in the log once. */
import { expect, test } from 'bun:test'
import fc from 'fast-check'
import type { Authenticated } from '../../src/auth/key-cache.ts'
import { openDedupe } from '../../src/dedupe/open.ts'
import type { RequestFacts } from '../../src/event-reading.ts'
import { MemoryLimits } from '../../src/limits/memory-limits.ts'
import { GroupCommit } from '../../src/log/group-commit.ts'
import { WriteAheadLog } from '../../src/log/write-ahead-log.ts'
import { readBlockIds } from '../../src/native/block-ids.ts'
import { type Drafts, Pipeline } from '../../src/pipeline.ts'
import { isRejection } from '../../src/rejection.ts'
import type { Scanner } from '../../src/scan/scanner.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { logOptions, readAll } from '../log/support.ts'
import { bodyOf, makeDraft, makeFacts, makeScanner } from '../scan/scan-fixture.ts'
import { makeEvent } from '../support/events.ts'
import { FaultyDisk } from '../support/faulty-file-system.ts'

const KEEP = { windowMs: 3_600_000, idsMax: 100_000 }
const UNLIMITED = { eventsPerMinute: Number.POSITIVE_INFINITY } as Authenticated
const logger = createLogger({ level: 'silent' })

/** A log on a disk in memory, and a pipeline that ends in it. */
async function start(disk: FaultyDisk, scanner?: Scanner): Promise<{ log: WriteAheadLog; pipeline: Pipeline }> {
  const { fileSystem } = disk.mount()
  const lock = () => ({ release: () => undefined })
  const log = await WriteAheadLog.open(logOptions('/log', { fileSystem, lock, ids: KEEP, now: () => 1000 }))
  const groupCommit = new GroupCommit({ logger, log, scanner, blockBytesMax: 1e6 })
  const dedupe = await openDedupe({ ...KEEP, log, logger })
  return { log, pipeline: new Pipeline({ limits: new MemoryLimits(), dedupe, groupCommit }) }
}

/** Sends events with these ids in one request; true when it is acknowledged. */
async function send(pipeline: Pipeline, numbers: readonly number[]): Promise<boolean> {
  const drafts: Drafts = { values: numbers, read: (number) => makeEvent({ eventId: idOf(Number(number)) }) }
  return !isRejection(await pipeline.accept({ key: UNLIMITED } as RequestFacts, drafts))
}

/** The same, but the events are scanned. */
async function sendScanned(pipeline: Pipeline, numbers: readonly number[], scanner: Scanner): Promise<boolean> {
  const facts = makeFacts({ key: { ...UNLIMITED, tenantId: 'tenant', workspaceId: 'workspace' } })
  const body = bodyOf(...numbers.map((number) => makeDraft({ event_id: idOf(number) })))
  const rows = scanner.read(facts, Buffer.from(body), 'body')
  if (rows === undefined) throw new Error('left')
  return !isRejection(await pipeline.acceptScanned(facts, rows))
}

function idOf(number: number): string {
  return `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`
}

/** How often each event is in the log. */
async function storedIn(log: WriteAheadLog): Promise<Map<number, number>> {
  const stored = new Map<number, number>()
  await log.close()
  for (let segment = await log.takeSealed(); segment !== undefined; segment = await log.takeSealed()) {
    for (const record of segment.records) {
      const ids = readBlockIds(await readAll(log, segment, [record]))
      for (let row = 0; row < (ids?.rows ?? 0); row++) {
        const number = ids?.eventIds.getUint32(16 * row + 8, true) ?? -1
        stored.set(number, (stored.get(number) ?? 0) + 1)
      }
    }
  }
  return stored
}

const requestsArbitrary = fc.array(
  fc.record({
    numbers: fc.array(fc.nat(40), { minLength: 1, maxLength: 8 }),
    isScanned: fc.boolean(),
    pauseMs: fc.constantFrom(0, 0, 0, 1, 3),
    fault: fc.option(fc.constantFrom('write' as const, 'sync' as const), { nil: undefined, freq: 3 }),
    crash: fc.option(fc.boolean(), { nil: undefined, freq: 12 }),
  }),
  { minLength: 5, maxLength: 40, size: 'max' },
)

test('concurrent copies, failing commits and crashes: what is acknowledged is stored once', async () => {
  await fc.assert(
    fc.asyncProperty(requestsArbitrary, fc.integer(), async (requests, seed) => {
      const disk = new FaultyDisk(seed)
      const scanner = makeScanner()
      let { pipeline } = await start(disk, scanner)
      let sent: Promise<unknown>[] = []
      const acknowledged = new Set<number>()
      for (const { numbers, isScanned, pauseMs, fault, crash } of requests) {
        if (fault !== undefined) {
          disk.onOperation = (operation) => {
            if (operation !== fault) return undefined
            disk.onOperation = () => undefined
            return { code: fault === 'write' ? 'ENOSPC' : 'EIO' }
          }
        }
        sent.push(
          (isScanned ? sendScanned(pipeline, numbers, scanner) : send(pipeline, numbers)).then((isAcknowledged) => {
            if (isAcknowledged) for (const number of numbers) acknowledged.add(number)
          }),
        )
        if (pauseMs > 0) await Bun.sleep(pauseMs)
        if (crash !== undefined) {
          if (crash) disk.cutPower()
          else disk.kill()
          sent = [] // nobody answers these any more
          disk.onOperation = () => undefined
          pipeline = (await start(disk, scanner)).pipeline
        }
      }
      await Promise.all(sent)
      disk.kill()
      disk.onOperation = () => undefined
      const { log } = await start(disk)
      const stored = await storedIn(log)
      for (const number of acknowledged) expect(stored.get(number)).toBe(1)
      for (const count of stored.values()) expect(count).toBe(1)
    }),
    { numRuns: 60 },
  )
})

test('rows that were scanned are given back, whatever became of them', async () => {
  const scanner = makeScanner()
  const { pipeline } = await start(new FaultyDisk(), scanner)
  for (let request = 0; request < 500; request++) {
    const numbers = [request, request, request + 1]
    await Promise.all([
      sendScanned(pipeline, numbers, scanner),
      send(pipeline, numbers),
      sendScanned(pipeline, numbers, scanner),
    ])
  }
  expect(pipeline.counts.totals()).toMatchObject({ accepted: 4_500, duplicates: 4_500 - 501 })
  expect(scanner.held).toEqual({ rows: 0, bytes: 0 })
  expect(scanner.memoryBytes).toBeLessThan(8 * 1024 * 1024)
})

test('without a window every copy is stored', async () => {
  const disk = new FaultyDisk()
  const { log } = await start(disk)
  const dedupe = await openDedupe({ windowMs: 0, idsMax: 1000, log, logger })
  const pipeline = new Pipeline({
    limits: new MemoryLimits(),
    dedupe,
    groupCommit: new GroupCommit({ logger, log, blockBytesMax: 1e6 }),
  })
  for (let copy = 0; copy < 3; copy++) expect(await send(pipeline, [7])).toBe(true)
  expect(await storedIn(log)).toEqual(new Map([[7, 3]]))
  expect(dedupe.stats()).toMatchObject({ ids: 0, bytes: 0 })
})

test('ids are brought back out of files and out of blocks alike', async () => {
  const disk = new FaultyDisk()
  const { log, pipeline } = await start(disk)
  const numbers = Array.from({ length: 20_000 }, (_, number) => number)
  expect(await send(pipeline, numbers)).toBe(true)
  await log.seal()
  expect(
    await send(
      pipeline,
      numbers.map((number) => 20_000 + number),
    ),
  ).toBe(true)
  disk.kill()
  const again = await start(disk)
  expect(await send(again.pipeline, [...numbers, 20_000, 39_999, 40_000])).toBe(true)
  expect(again.pipeline.counts.totals()).toMatchObject({ accepted: 20_003, duplicates: 20_002 })
})

test('a bug in the log leaves nobody waiting: the ids are free again', async () => {
  const { log } = await start(new FaultyDisk())
  const dedupe = await openDedupe({ ...KEEP, log, logger })
  let isBroken = true
  const append = async () => {
    await Bun.sleep(5)
    if (isBroken) throw new Error('a bug')
    return 'durable' as const
  }
  const groupCommit = { append } as unknown as GroupCommit
  const pipeline = new Pipeline({ limits: new MemoryLimits(), dedupe, groupCommit })
  const first = send(pipeline, [1])
  const copy = send(pipeline, [1])
  await expect(first).rejects.toThrow('a bug')
  await expect(copy).rejects.toThrow('a bug')
  isBroken = false
  expect(await send(pipeline, [1])).toBe(true)
  expect(pipeline.counts.totals()).toMatchObject({ accepted: 1, duplicates: 0 })
})
