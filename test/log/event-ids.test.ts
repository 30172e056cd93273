/** The event ids that the log keeps for deduplication: what a start brings back of them, whatever the crash, the disk and the damage. */
import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import type { EncodedBlock, SealedSegment } from '../../src/log/event-log.ts'
import { WriteAheadLog, type WriteAheadLogOptions } from '../../src/log/write-ahead-log.ts'
import { type Fault, FaultyDisk, type Operation } from '../support/faulty-file-system.ts'
import { blockOf, logOptions, takeOne } from './support.ts'

const DIRECTORY = '/log'
const HOUR_MS = 3_600_000
const KEEP = { windowMs: HOUR_MS, idsMax: 100_000 }

/** A block whose content says which id is in it. */
function blockWithId(id: number): EncodedBlock {
  return { ...blockOf(String(id).padStart(40, '0')), ids: keyOf(id) }
}

function keyOf(id: number): Uint8Array {
  const key = Buffer.alloc(12)
  key.writeUInt32LE(id, 4)
  return key
}

function open(disk: FaultyDisk, changes: Partial<WriteAheadLogOptions> = {}): Promise<WriteAheadLog> {
  const { fileSystem } = disk.mount()
  const lock = () => ({ release: () => undefined })
  return WriteAheadLog.open(logOptions(DIRECTORY, { fileSystem, lock, ids: KEEP, now: () => 1000, ...changes }))
}

/** The ids that a log brings back. */
async function restored(log: WriteAheadLog): Promise<number[]> {
  const ids: number[] = []
  await log.restoreIds({
    keysOf: (block) => keyOf(Number(Buffer.from(block).toString('latin1'))),
    take: (keys) => {
      const bytes = Buffer.from(keys)
      for (let at = 4; at < bytes.byteLength; at += 12) ids.push(bytes.readUInt32LE(at))
    },
  })
  return ids
}

async function restart(disk: FaultyDisk, changes: Partial<WriteAheadLogOptions> = {}): Promise<number[]> {
  disk.kill()
  return (await restored(await open(disk, changes))).sort((a, b) => a - b)
}

async function drain(log: WriteAheadLog): Promise<void> {
  await log.seal()
  while (log.stats().segmentsWaiting > 0) await log.release(await takeOne(log))
}

function idFiles(disk: FaultyDisk): string[] {
  return disk.names(DIRECTORY).filter((name) => name.endsWith('.ids'))
}

/** A disk on which the segments of these ids are gone, one chunk each in one file. */
async function leftBehind(ids: readonly number[]): Promise<{ disk: FaultyDisk; path: string }> {
  const disk = new FaultyDisk()
  const log = await open(disk)
  for (const id of ids) {
    expect(await log.commit([blockWithId(id)])).toBe('durable')
    await drain(log)
  }
  disk.kill()
  expect(idFiles(disk)).toHaveLength(1)
  return { disk, path: `${DIRECTORY}/${idFiles(disk)[0]}` }
}

describe('the ids of before', () => {
  test('come back when their segments are gone, sealed or open at the crash', async () => {
    const disk = new FaultyDisk()
    const log = await open(disk)
    await log.commit([blockWithId(1), blockWithId(2)])
    await drain(log)
    await log.commit([blockWithId(3)])
    await log.seal()
    await log.commit([blockWithId(4)])
    await log.commit([blockWithId(5)])
    disk.cutPower()
    expect(await restart(disk)).toEqual([1, 2, 3, 4, 5])
  })

  test('come back again when the segment that was open at the crash is gone, too', async () => {
    const disk = new FaultyDisk()
    await (await open(disk)).commit([blockWithId(1)])
    disk.kill()
    const log = await open(disk)
    expect(await restored(log)).toEqual([1])
    await log.commit([blockWithId(2)])
    await drain(log)
    disk.cutPower()
    expect(await restart(disk)).toEqual([1, 2])
  })

  test('are those of durable commits only', async () => {
    const disk = new FaultyDisk()
    const log = await open(disk)
    await log.commit([blockWithId(1)])
    disk.onOperation = (operation) => (operation === 'write' ? { code: 'ENOSPC' } : undefined)
    expect(await log.commit([blockWithId(2)])).toBe('disk_full')
    disk.onOperation = () => undefined
    await log.commit([blockWithId(3)])
    await drain(log)
    expect(await restart(disk)).toEqual([1, 3])
  })

  test('come without a look into the sealed segments of a backlog', async () => {
    const disk = new FaultyDisk()
    const log = await open(disk)
    for (let id = 1; id <= 20; id++) {
      await log.commit([blockWithId(id)])
      await log.seal()
    }
    await log.commit([blockOf('an event without an id')])
    await log.seal()
    disk.kill()
    const opened: string[] = []
    disk.onOperation = (operation, path) => {
      if (operation === 'open') opened.push(path)
      return undefined
    }
    expect(await restart(disk)).toHaveLength(20)
    expect(opened.filter((path) => path.endsWith('.sealed'))).toEqual([])
  })

  test('are not brought back when they are older than the window, nor from a log of another id', async () => {
    const { disk } = await leftBehind([1, 2])
    expect(await restart(disk, { now: () => HOUR_MS - 60_000 })).toEqual([1, 2])
    expect(await restart(disk, { now: () => -HOUR_MS })).toEqual([1, 2]) // the clock was set back
    const other = await leftBehind([1, 2])
    other.disk.put(`${DIRECTORY}/log.id`, Buffer.from(`${'0'.repeat(32)}\n`))
    expect(await restart(other.disk)).toEqual([])
    expect(await restart(disk, { now: () => 1001 + HOUR_MS })).toEqual([])
    expect(idFiles(disk)).toEqual([])
  })

  test('take no more room than the newest of them need', async () => {
    const disk = new FaultyDisk()
    const log = await open(disk, { ids: { windowMs: HOUR_MS, idsMax: 80 } })
    for (let id = 1; id <= 1000; id++) {
      await log.commit([blockWithId(id)])
      await drain(log)
      expect(log.stats().idBytes).toBeLessThanOrEqual((80 + 2 * 10) * (64 + 12))
    }
    const ids = await restart(disk, { ids: { windowMs: HOUR_MS, idsMax: 80 } })
    expect(ids.slice(-80)).toEqual(Array.from({ length: 80 }, (_, n) => 921 + n))
  })

  test('do not hold up a seal when they cannot be written, and are read out of the blocks then', async () => {
    for (const failing of ['create', 'write', 'sync'] as const) {
      const disk = new FaultyDisk()
      const log = await open(disk)
      await log.commit([blockWithId(1)])
      disk.onOperation = (operation, path) =>
        operation === failing && path.endsWith('.ids') ? { code: 'ENOSPC' } : undefined
      await log.seal()
      expect(log.stats()).toMatchObject({ segmentsWaiting: 1, retrying: 0, idFailures: 1 })
      disk.onOperation = () => undefined
      await log.commit([blockWithId(2)])
      await log.seal()
      expect(await restart(disk)).toEqual([1, 2])
    }
  })
})

describe('damaged files of ids', () => {
  const CHUNK = 64 + 12
  const ids = [1, 2, 3]
  const untouched = (start: number, end: number) => ids.filter((id) => end <= CHUNK * (id - 1) || start >= CHUNK * id)

  test('with any one bit flipped lose the chunk that it is in, and no other', async () => {
    for (let offset = 0; offset < CHUNK * ids.length; offset++) {
      const { disk, path } = await leftBehind(ids)
      disk.flipBit(path, offset, offset % 8)
      expect(await restart(disk)).toEqual(untouched(offset, offset + 1))
    }
  })

  test('cut at any length have the chunks that are whole', async () => {
    for (let length = 0; length < CHUNK * ids.length; length++) {
      const { disk, path } = await leftBehind(ids)
      disk.put(path, disk.contentOf(path)?.subarray(0, length) ?? new Uint8Array(0))
      expect(await restart(disk)).toEqual(untouched(length, CHUNK * ids.length))
    }
  })

  test('with bytes put in between have all of the chunks that stand where they were', async () => {
    for (const at of [0, 10, CHUNK, CHUNK + 70, 3 * CHUNK]) {
      const { disk, path } = await leftBehind(ids)
      const bytes = disk.contentOf(path) ?? Buffer.alloc(0)
      disk.put(path, Buffer.concat([bytes.subarray(0, at), Buffer.alloc(5, 0xf5), bytes.subarray(at)]))
      expect(await restart(disk)).toEqual(ids.filter((id) => CHUNK * id <= at))
    }
  })

  test('of any content do not stop a start, and are not written on', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const { disk, path } = await leftBehind([1])
        disk.put(path, bytes)
        disk.kill()
        const log = await open(disk)
        expect(await restored(log)).toEqual([])
        await log.commit([blockWithId(7)])
        await drain(log)
        expect(disk.contentOf(path)).toEqual(Buffer.from(bytes))
        expect(await restart(disk)).toEqual([7])
      }),
      { numRuns: 30 },
    )
  })
})

type Step =
  | { readonly kind: 'commit' | 'seal' | 'release' | 'heal' }
  | { readonly kind: 'crash'; readonly isPower: boolean }
  | { readonly kind: 'fault'; readonly after: number; readonly fault: Fault; readonly operation: Operation }

const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({ kind: fc.constantFrom('commit' as const, 'seal' as const, 'release' as const) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('crash' as const), isPower: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('heal' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('fault' as const),
      after: fc.nat(4),
      fault: fc.record({ code: fc.constantFrom('EIO', 'ENOSPC', 'crash'), isLate: fc.boolean() }),
      operation: fc.constantFrom<Operation>(
        'create',
        'open',
        'write',
        'read',
        'sync',
        'rename',
        'remove',
        'syncDirectory',
      ),
    }),
  },
)

/** Runs steps; knows which ids have to come back. */
class Model {
  readonly disk: FaultyDisk
  log: WriteAheadLog | undefined
  /** Ids that were acknowledged. `excused`: keeping them failed, and it was told. `gone`: and their segment is released since. */
  readonly acknowledged = new Map<number, 'required' | 'excused' | 'gone'>()
  private crashed: Promise<'crashed'> = new Promise(() => undefined)
  private faults: { after: number; readonly fault: Fault; readonly operation: Operation }[] = []
  private failures = 0
  private lastId = 0

  constructor(seed: number) {
    this.disk = new FaultyDisk(seed)
    this.disk.onOperation = (operation) => {
      const entry = this.faults.find((fault) => fault.operation === operation)
      if (entry === undefined || entry.after-- > 0) return undefined
      this.faults = this.faults.filter((other) => other !== entry)
      return entry.fault
    }
  }

  async run(step: Step): Promise<void> {
    if (step.kind === 'fault') this.faults.push({ ...step })
    else if (step.kind === 'heal') this.faults = []
    else if (step.kind === 'crash') this.crash(step.isPower)
    else await this.work(step.kind)
    this.excuse()
  }

  async finish(isPower: boolean): Promise<void> {
    this.faults = []
    this.crash(isPower)
    const log = await this.started()
    await drain(log)
    this.crash(isPower)
    await this.started()
  }

  private crash(isPower: boolean): void {
    if (isPower) this.disk.cutPower()
    else this.disk.kill()
    this.log = undefined
  }

  private async work(kind: 'commit' | 'seal' | 'release'): Promise<void> {
    const log = await this.started()
    if (kind === 'seal') return void (await this.until(log.seal()))
    if (kind === 'commit') {
      const id = ++this.lastId
      if ((await this.until(log.commit([blockWithId(id)]))) === 'durable') this.acknowledged.set(id, 'required')
      return
    }
    if (log.stats().segmentsWaiting === 0) return
    const segment = await this.until(log.takeSealed())
    if (segment === undefined || segment === 'crashed') return
    const ids = await this.until(this.idsOf(log, segment))
    if (ids === 'crashed') return
    this.excuse()
    for (const id of ids ?? this.acknowledged.keys()) {
      if (this.acknowledged.get(id) === 'excused') this.acknowledged.set(id, 'gone')
    }
    await this.until(log.release(segment))
  }

  private async idsOf(log: WriteAheadLog, segment: SealedSegment): Promise<number[] | undefined> {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of log.read(segment)) chunks.push(Buffer.from(chunk))
    } catch {
      return undefined
    }
    const text = Buffer.concat(chunks).toString('latin1')
    return Array.from({ length: text.length / 40 }, (_, n) => Number(text.slice(40 * n, 40 * n + 40)))
  }

  /** A log that is open; every one that opens without a failure brings back what it has to. */
  private async started(): Promise<WriteAheadLog> {
    for (let attempt = 0; this.log === undefined; attempt++) {
      if (attempt > 20) this.faults = []
      const { fileSystem, crashed } = this.disk.mount()
      this.crashed = crashed
      this.failures = 0
      const lock = () => ({ release: () => undefined })
      const options = logOptions(DIRECTORY, { fileSystem, lock, ids: KEEP, now: () => 1000, ringBytes: 200 })
      const log = await this.until(WriteAheadLog.open(options).catch(() => undefined))
      if (log === 'crashed' || log === undefined) continue
      const ids = await this.until(restored(log))
      if (ids === 'crashed') continue
      this.log = log
      const isWhole = log.stats().idFailures === 0 && log.stats().lastError === undefined
      this.excuse()
      const found = new Set(ids)
      for (const [id, state] of this.acknowledged) {
        if (isWhole && state !== 'gone') expect(found.has(id)).toBe(true)
        // Kept again, in a chunk that could be written.
        if (isWhole && state === 'excused') this.acknowledged.set(id, 'required')
      }
    }
    return this.log
  }

  private excuse(): void {
    const failures = this.log?.stats().idFailures ?? 0
    if (failures === this.failures) return
    this.failures = failures
    for (const [id, state] of this.acknowledged) if (state === 'required') this.acknowledged.set(id, 'excused')
  }

  private async until<T>(work: Promise<T>): Promise<T | 'crashed'> {
    const result = await Promise.race([work, this.crashed])
    if (result === 'crashed') this.log = undefined
    return result
  }
}

/** A sync of ids fails, a crash leaves nobody to write them elsewhere, the next start reads them, and then the power goes. */
const FAILED_SYNC_BEFORE_A_START: Step[] = [
  { kind: 'seal' },
  { kind: 'fault', after: 1, fault: { code: 'crash', isLate: false }, operation: 'sync' },
  { kind: 'fault', after: 2, fault: { code: 'crash', isLate: false }, operation: 'create' },
  { kind: 'fault', after: 1, fault: { code: 'EIO', isLate: true }, operation: 'sync' },
  { kind: 'commit' },
  { kind: 'seal' },
  { kind: 'release' },
  { kind: 'crash', isPower: true },
  { kind: 'commit' },
]

test('whatever fails and whenever it crashes, the ids of what was acknowledged come back, unless it was told that they may not', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(stepArbitrary, { minLength: 1, maxLength: 50, size: 'max' }),
      fc.integer(),
      fc.boolean(),
      async (steps, seed, isPower) => {
        const model = new Model(seed)
        for (const step of steps) await model.run(step)
        await model.finish(isPower)
      },
    ),
    { numRuns: 300, examples: [[FAILED_SYNC_BEFORE_A_START, 606_640_777, false]] },
  )
})
