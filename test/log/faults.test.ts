/** What the log does while the disk fails: one failure each, in the order a process would meet it. */
import { describe, expect, test } from 'bun:test'
import { WriteAheadLog, type WriteAheadLogOptions } from '../../src/log/write-ahead-log.ts'
import { type Fault, FaultyDisk, type Operation } from '../support/faulty-file-system.ts'
import { blockOf, logOptions, randomBlock, readBlocks, takeOne } from './support.ts'

const DIRECTORY = '/log'

function openLog(disk: FaultyDisk, changes: Partial<WriteAheadLogOptions> = {}): Promise<WriteAheadLog> {
  const { fileSystem } = disk.mount()
  return WriteAheadLog.open(
    logOptions(DIRECTORY, { fileSystem, lock: () => ({ release: () => undefined }), ...changes }),
  )
}

/** The next `count` operations of a kind fail. */
function failNext(disk: FaultyDisk, operation: Operation, fault: Fault, count = 1): void {
  let left = count
  disk.onOperation = (candidate) => {
    if (candidate !== operation || left === 0) return undefined
    left -= 1
    return fault
  }
}

async function drainBlocks(log: WriteAheadLog): Promise<string[]> {
  await log.close()
  const blocks: string[] = []
  for (let segment = await log.takeSealed(); segment !== undefined; segment = await log.takeSealed()) {
    blocks.push(...(await readBlocks(log, segment)))
    await log.release(segment)
  }
  return blocks
}

describe('a full disk', () => {
  test('refuses the commit, harms nothing before it, and the log goes on by itself when there is room', async () => {
    const disk = new FaultyDisk()
    const log = await openLog(disk)
    await log.commit([blockOf('before')])
    disk.capacityBytes = 400
    for (let attempt = 0; attempt < 3; attempt += 1) {
      expect(await log.commit([blockOf('short'), randomBlock(1000)])).toBe('disk_full')
    }
    expect(log.stats().lastError?.code).toBe('ENOSPC')
    disk.capacityBytes = 10_000
    expect(await log.commit([blockOf('after')])).toBe('durable')
    expect(await drainBlocks(log)).toEqual(['before', 'after'])
  })

  test('still seals, hands out and deletes, and takes commits again after that', async () => {
    const disk = new FaultyDisk()
    const log = await openLog(disk)
    await log.commit([randomBlock(2000)])
    disk.capacityBytes = 2300
    expect(await log.commit([randomBlock(2000)])).toBe('disk_full')
    await log.seal()
    await log.release(await takeOne(log))
    expect(await log.commit([randomBlock(2000)])).toBe('durable')
  })

  test('does not stop a start that has a backlog', async () => {
    const disk = new FaultyDisk()
    const first = await openLog(disk)
    await first.commit([blockOf('backlog')])
    disk.kill()
    disk.capacityBytes = 0
    const log = await openLog(disk)
    expect(await log.commit([blockOf('new')])).toBe('disk_full')
    expect(await drainBlocks(log)).toEqual(['backlog'])
  })
})

describe('a failing disk', () => {
  for (const operation of ['write', 'sync'] as const) {
    for (const isLate of [false, true]) {
      test(`refuses the commit whose ${operation} fails${isLate ? ' half way' : ''}, and goes on in a new segment`, async () => {
        const disk = new FaultyDisk()
        const log = await openLog(disk)
        await log.commit([blockOf('first')])
        failNext(disk, operation, { code: 'EIO', isLate })
        expect(await log.commit([blockOf('refused')])).toBe('io_error')
        expect(await log.commit([blockOf('second')])).toBe('durable')
        const closed = await takeOne(log)
        expect(await readBlocks(log, closed)).toEqual(['first'])
        await log.seal()
        expect(await readBlocks(log, await takeOne(log))).toEqual(['second'])
        disk.cutPower()
        expect(await drainBlocks(await openLog(disk))).toEqual(['first', 'second'])
      })
    }
  }

  test('refuses the first commit of a segment when its directory entry is not on disk', async () => {
    const disk = new FaultyDisk()
    const log = await openLog(disk)
    await log.commit([blockOf('first')])
    await log.seal()
    failNext(disk, 'syncDirectory', { code: 'EIO' })
    expect(await log.commit([blockOf('refused')])).toBe('io_error')
    expect(await log.commit([blockOf('second')])).toBe('durable')
    disk.cutPower()
    expect(await drainBlocks(await openLog(disk))).toEqual(['first', 'second'])
  })

  test('that fails at the reservation of numbers, before or after it happened, refuses until it works', async () => {
    for (const isLate of [false, true]) {
      const disk = new FaultyDisk()
      const log = await openLog(disk)
      failNext(disk, 'rename', { code: 'EIO', isLate })
      expect(await log.commit([blockOf('refused')])).toBe('io_error')
      expect(await log.commit([blockOf('first')])).toBe('durable')
      expect(disk.names(DIRECTORY).filter((name) => name.endsWith('.next'))).toEqual(['00000000000000065536.next'])
      disk.cutPower()
      const next = await openLog(disk)
      expect(next.nextNumber).toBe(65536)
      expect(await drainBlocks(next)).toEqual(['first'])
    }
  })

  for (const operation of ['truncate', 'rename', 'syncDirectory'] as const) {
    test(`that fails at ${operation} delays the hand-out until it works`, async () => {
      const disk = new FaultyDisk()
      const log = await openLog(disk)
      await log.commit([blockOf('first')])
      if (operation === 'truncate') failNext(disk, 'write', { code: 'EIO' })
      if (operation === 'truncate') await log.commit([blockOf('refused')])
      failNext(disk, operation, { code: 'EIO', isLate: true }, 5)
      await log.seal()
      expect(await readBlocks(log, await takeOne(log))).toEqual(['first'])
      expect(log.stats().retrying).toBe(0)
    })
  }

  test('that cannot delete keeps trying, and counts the bytes until it can', async () => {
    const disk = new FaultyDisk()
    const log = await openLog(disk)
    await log.commit([blockOf('gone')])
    await log.seal()
    const segment = await takeOne(log)
    failNext(disk, 'remove', { code: 'EIO' }, 3)
    await log.release(segment)
    expect(log.stats().logBytes).toBeGreaterThan(0)
    while (log.stats().logBytes > 0) await Bun.sleep(1)
    expect(disk.names(DIRECTORY).filter((name) => name.endsWith('.sealed'))).toEqual([])
  })

  test('that cannot read one segment lets those behind it go first', async () => {
    const disk = new FaultyDisk()
    const log = await openLog(disk, { ringBytes: 0, retryMinMs: 1 })
    for (const block of ['one', 'two']) {
      await log.commit([blockOf(block)])
      await log.seal()
    }
    const unreadable = disk.names(DIRECTORY).find((name) => name.endsWith('.sealed'))
    let isBad = true
    disk.onOperation = (operation, path) =>
      isBad && operation === 'read' && path.endsWith(`${unreadable}`) ? { code: 'EIO' } : undefined
    expect(await readBlocks(log, await takeOne(log))).toEqual(['two'])
    isBad = false
    expect(await readBlocks(log, await takeOne(log))).toEqual(['one'])
  })

  for (const directory of [`${DIRECTORY}/damaged`, DIRECTORY]) {
    test(`that fails at ${directory} when a segment was set aside leaves nothing of it in the log`, async () => {
      const disk = new FaultyDisk()
      const log = await openLog(disk, { ringBytes: 0 })
      for (const block of ['damaged', 'behind']) {
        await log.commit([blockOf(block)])
        await log.seal()
      }
      const [damaged] = disk.names(DIRECTORY).filter((name) => name.endsWith('.sealed'))
      disk.flipBit(`${DIRECTORY}/${damaged}`, 70)
      let left = 1
      disk.onOperation = (operation, path) =>
        operation === 'syncDirectory' && path === directory && left-- > 0 ? { code: 'EIO' } : undefined
      const behind = await takeOne(log)
      expect(await readBlocks(log, behind)).toEqual(['behind'])
      await log.release(behind)
      await log.close()
      expect(await log.takeSealed()).toBeUndefined()
      expect(disk.names(`${DIRECTORY}/damaged`)).toHaveLength(1)
      expect(log.stats()).toMatchObject({ logBytes: 0, oldestUnflushedAt: undefined, damagedRecords: 1, retrying: 0 })
    })
  }

  test('an unacknowledged block that was handed out after a crash is there after the next one too', async () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const disk = new FaultyDisk(seed)
      const first = await openLog(disk)
      await first.commit([blockOf('acknowledged')])
      failNext(disk, 'sync', { code: 'crash', isLate: seed % 2 === 0 })
      void first.commit([blockOf('in flight')])
      await Bun.sleep(0)
      const second = await openLog(disk)
      const segment = await takeOne(second)
      const blocks = await readBlocks(second, segment)
      disk.cutPower()
      const third = await openLog(disk)
      const again = await takeOne(third)
      expect(again.token).toBe(segment.token)
      expect(await readBlocks(third, again)).toEqual(blocks)
    }
  })

  test('a file that changes between the check and the read fails the read', async () => {
    const disk = new FaultyDisk()
    const log = await openLog(disk, { ringBytes: 0 })
    await log.commit([blockOf('original')])
    await log.seal()
    const segment = await takeOne(log)
    const path = `${DIRECTORY}/${disk.names(DIRECTORY).find((name) => name.endsWith('.sealed'))}`
    disk.flipBit(path, 64 + 32 + 1)
    await expect(readBlocks(log, segment)).rejects.toThrow('is not what it was')
  })
})

test('a clock that goes backwards changes neither numbers nor order nor the age of a segment', async () => {
  const disk = new FaultyDisk()
  let now = 2_000_000_000_000
  const clock = () => {
    now -= 86_400_000
    return now
  }
  let last = -1
  for (let start = 0; start < 3; start += 1) {
    const log = await openLog(disk, { now: clock, flushIntervalMs: 5 })
    for (let commit = 0; commit < 3; commit += 1) {
      await log.commit([blockOf(`block ${start} ${commit}`)])
      const segment = await takeOne(log)
      expect(segment.number).toBeGreaterThan(last)
      last = segment.number
      expect(await readBlocks(log, segment)).toEqual([`block ${start} ${commit}`])
      await log.release(segment)
    }
    await log.dispose()
  }
})

test('segments released out of order give the ring back, and the log goes on without it while it is full', async () => {
  const disk = new FaultyDisk()
  const log = await openLog(disk, { ringBytes: 1100 })
  const contents = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(300))
  for (let round = 0; round < 5; round += 1) {
    for (const content of contents) {
      expect(await log.commit([blockOf(content)])).toBe('durable')
      await log.seal()
    }
    const segments = [await takeOne(log), await takeOne(log), await takeOne(log), await takeOne(log)]
    expect(log.stats().ringUsedBytes).toBeGreaterThanOrEqual(1092)
    for (const place of [2, 1, 3, 0]) {
      const segment = segments[place]
      if (segment === undefined) throw new Error('four segments')
      expect(await readBlocks(log, segment)).toEqual([contents[place] ?? ''])
      await log.release(segment)
    }
    expect(log.stats().ringUsedBytes).toBe(0)
  }
})
