/** Random histories of commits, seals, inserts, faults and crashes, against a model of what must come out. */
import { expect, test } from 'bun:test'
import fc from 'fast-check'
import type { SealedSegment } from '../../src/log/event-log.ts'
import { segmentFileName } from '../../src/log/segment.ts'
import { WriteAheadLog } from '../../src/log/write-ahead-log.ts'
import { type Fault, FaultyDisk, type Operation } from '../support/faulty-file-system.ts'
import { randomFrom } from '../support/random.ts'
import { blockOf, logOptions, readBlocks } from './support.ts'

const DIRECTORY = '/log'
const OPERATIONS: Operation[] = [
  'create',
  'open',
  'write',
  'read',
  'sync',
  'truncate',
  'rename',
  'remove',
  'syncDirectory',
]

type Step =
  | { readonly kind: 'commit'; readonly sizes: readonly number[] }
  | { readonly kind: 'seal' | 'take' | 'close' | 'pause' }
  | { readonly kind: 'release'; readonly which: number }
  | { readonly kind: 'crash'; readonly isPower: boolean }
  | { readonly kind: 'fault'; readonly after: number; readonly fault: Fault; readonly operation: Operation | undefined }
  | { readonly kind: 'disk'; readonly freeBytes: number }

const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant('commit' as const),
      sizes: fc.array(fc.integer({ min: 12, max: 700 }), { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('seal' as const, 'take' as const, 'pause' as const, 'close' as const),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('release' as const), which: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('crash' as const), isPower: fc.boolean() }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('fault' as const),
      after: fc.nat(6),
      fault: fc.record({ code: fc.constantFrom('EIO', 'EIO', 'ENOSPC', 'crash'), isLate: fc.boolean() }),
      operation: fc.option(fc.constantFrom(...OPERATIONS), { nil: undefined }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('disk' as const), freeBytes: fc.constantFrom(0, 300, 1500, 1e9) }),
  },
)

class Model {
  readonly disk: FaultyDisk
  /** Blocks that were acknowledged, and whether their segment was released. */
  readonly acknowledged = new Map<string, 'kept' | 'released'>()
  /** Blocks whose commit did not end before a crash: they may be there or not. */
  readonly undecided = new Set<string>()
  /** Refused blocks whose file could not be cut at once: after a restart they may be there. */
  readonly residue = new Set<string>()
  /** What each token stood for, and what each block came under. */
  readonly contentOf = new Map<string, string>()
  readonly tokenOf = new Map<string, string>()
  readonly taken: SealedSegment[] = []
  log: WriteAheadLog | undefined
  crashed: Promise<'crashed'> = new Promise(() => undefined)
  restarts = 0
  nextBlock = 0
  readonly #random: () => number
  readonly #faults: { after: number; readonly fault: Fault; readonly operation: Operation | undefined }[] = []
  #residueSince = new Map<string, number>()

  constructor(seed: number) {
    this.#random = randomFrom(seed + 1)
    this.disk = new FaultyDisk(seed)
    this.disk.onOperation = (operation) => {
      for (const entry of this.#faults) {
        if (entry.operation !== undefined && entry.operation !== operation) continue
        if (entry.after > 0) {
          entry.after -= 1
          continue
        }
        this.#faults.splice(this.#faults.indexOf(entry), 1)
        return entry.fault
      }
      return undefined
    }
  }

  /** Waits for work of the log, but not over a crash. */
  async until<T>(work: Promise<T>): Promise<T | 'crashed'> {
    const result = await Promise.race([work, this.crashed])
    if (result === 'crashed') this.log = undefined
    return result
  }

  async start(): Promise<WriteAheadLog> {
    for (let attempt = 0; attempt < 50; attempt += 1) {
      if (this.log !== undefined) return this.log
      if (attempt > 40) this.clearFaults()
      this.taken.length = 0
      this.restarts += 1
      const { fileSystem, crashed } = this.disk.mount()
      this.crashed = crashed
      const opening = WriteAheadLog.open(
        logOptions(DIRECTORY, {
          fileSystem,
          lock: () => ({ release: () => undefined }),
          segmentBytes: 2500,
          ringBytes: 2000,
          logBytesMax: 12_000,
          spares: { bytesMin: 1, keptMs: this.#random() < 0.5 ? 60_000 : 1 },
          now: () => Math.floor(this.#random() * 1e12),
        }),
      )
      // A fault may stop a start with an error; then the operator starts it again.
      const log = await this.until(opening.catch(() => undefined))
      if (log !== 'crashed') this.log = log
    }
    throw new Error('the log does not start')
  }

  clearFaults(): void {
    this.#faults.length = 0
    this.disk.capacityBytes = Number.POSITIVE_INFINITY
  }

  async run(step: Step): Promise<void> {
    const log = await this.start()
    if (step.kind === 'commit') await this.commit(log, step.sizes)
    else if (step.kind === 'seal') await this.until(log.seal())
    else if (step.kind === 'pause') await Bun.sleep(2)
    else if (step.kind === 'fault') this.#faults.push({ ...step })
    else if (step.kind === 'disk') this.setFree(step.freeBytes)
    else if (step.kind === 'close') await this.close(log)
    else if (step.kind === 'take') await this.take(log)
    else if (step.kind === 'release') await this.release(log, step.which)
    else if (step.kind === 'crash') this.crash(step.isPower)
  }

  setFree(freeBytes: number): void {
    let used = 0
    for (const name of this.disk.names(DIRECTORY)) used += this.disk.contentOf(`${DIRECTORY}/${name}`)?.byteLength ?? 0
    this.disk.capacityBytes = used + freeBytes
  }

  crash(isPower: boolean): void {
    if (isPower) this.disk.cutPower()
    else this.disk.kill()
    this.log = undefined
  }

  async close(log: WriteAheadLog): Promise<void> {
    if ((await this.until(log.dispose())) !== 'crashed') this.crash(false)
  }

  async commit(log: WriteAheadLog, sizes: readonly number[]): Promise<void> {
    const blocks = sizes.map((size) => `${String(this.nextBlock++).padStart(6, '0')}:`.padEnd(size, 'x'))
    const failedCuts = this.disk.failedTruncates
    const outcome = await this.until(log.commit(blocks.map((block) => blockOf(block))))
    for (const block of blocks) {
      if (outcome === 'durable') this.acknowledged.set(block, 'kept')
      else if (outcome === 'crashed') this.undecided.add(block)
      else if (this.disk.failedTruncates > failedCuts) this.residue.add(block)
      if (outcome !== 'durable' && outcome !== 'crashed') this.#residueSince.set(block, this.restarts)
    }
  }

  async take(log: WriteAheadLog): Promise<void> {
    if (log.stats().segmentsWaiting === 0) return
    const segment = await this.until(log.takeSealed())
    if (segment === undefined || segment === 'crashed') return
    expect(this.disk.isNameSynced(`${DIRECTORY}/${segmentFileName(segment.number, 'sealed')}`)).toBe(true)
    for (let attempt = 0; attempt < 20; attempt += 1) {
      const blocks = await this.until(readBlocks(log, segment).catch(() => undefined))
      if (blocks === 'crashed') return
      if (blocks === undefined) continue
      this.check(segment, blocks)
      this.taken.push(segment)
      return
    }
    throw new Error('a segment cannot be read')
  }

  check(segment: SealedSegment, blocks: readonly string[]): void {
    const content = blocks.join('')
    expect(this.contentOf.get(segment.token) ?? content).toBe(content)
    expect(segment.rows).toBe(blocks.length)
    this.contentOf.set(segment.token, content)
    for (const block of blocks) {
      expect(this.tokenOf.get(block) ?? segment.token).toBe(segment.token)
      this.tokenOf.set(block, segment.token)
      if (this.acknowledged.has(block) || this.undecided.has(block)) continue
      expect(this.residue.has(block)).toBe(true)
      expect(this.#residueSince.get(block) ?? this.restarts).toBeLessThan(this.restarts)
    }
  }

  async release(log: WriteAheadLog, which: number): Promise<void> {
    const segment = this.taken.splice(which % Math.max(1, this.taken.length), 1)[0]
    if (segment === undefined) return
    const content = this.contentOf.get(segment.token) ?? ''
    for (const block of this.acknowledged.keys()) if (content.includes(block)) this.acknowledged.set(block, 'released')
    await this.until(log.release(segment))
  }

  /** After the last crash, on a healthy disk: everything acknowledged and not released comes out. */
  async finish(isPower: boolean): Promise<void> {
    this.crash(isPower)
    this.clearFaults()
    const log = await this.start()
    await log.close()
    const seen = new Set<string>()
    for (let segment = await log.takeSealed(); segment !== undefined; segment = await log.takeSealed()) {
      const blocks = await readBlocks(log, segment)
      this.check(segment, blocks)
      for (const block of blocks) {
        expect(seen.has(block)).toBe(false)
        seen.add(block)
      }
      await log.release(segment)
    }
    for (const [block, state] of this.acknowledged) if (state === 'kept') expect(seen.has(block)).toBe(true)
    expect(log.stats()).toMatchObject({
      segmentsTaken: 0,
      segmentsWaiting: 0,
      oldestUnflushedAt: undefined,
      logBytes: 0,
    })
    await log.dispose()
    expect(this.disk.names(DIRECTORY).filter((name) => /open|sealed|spare/.test(name))).toEqual([])
  }
}

const RUNS = Number(process.env.MODEL_RUNS ?? 400)

test('whatever fails and whenever it crashes, what was acknowledged comes out once and what was refused does not', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(stepArbitrary, { minLength: 1, maxLength: 60, size: 'max' }),
      fc.integer(),
      fc.boolean(),
      async (steps, seed, isPower) => {
        const model = new Model(seed)
        for (const step of steps) await model.run(step)
        await model.finish(isPower)
      },
    ),
    { numRuns: RUNS },
  )
}, 6_000_000)
