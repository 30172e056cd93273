/** Files of released segments become those of new ones. */
import { expect, test } from 'bun:test'
import type { FileSystem } from '../../src/log/file-system.ts'
import { END_MARK_BYTES, encodeSegmentHeader, SEGMENT_HEADER_BYTES } from '../../src/log/segment.ts'
import type { SpareOptions } from '../../src/log/spare-files.ts'
import { WriteAheadLog } from '../../src/log/write-ahead-log.ts'
import { FaultyDisk, type Operation } from '../support/faulty-file-system.ts'
import { blockOf, logOptions, readBlocks, takeOne } from './support.ts'

const DIRECTORY = '/log'

function openLog(
  disk: FaultyDisk,
  spares: SpareOptions = { bytesMin: 1, keptMs: 60_000 },
  fileSystem = disk.mount().fileSystem,
): Promise<WriteAheadLog> {
  const lock = () => ({ release: () => undefined })
  return WriteAheadLog.open(logOptions(DIRECTORY, { fileSystem, lock, ringBytes: 0, spares }))
}

/** A segment on its whole way. */
async function storeOne(log: WriteAheadLog, content: string): Promise<void> {
  expect(await log.commit([blockOf(content)])).toBe('durable')
  await log.seal()
  const segment = await takeOne(log)
  expect(await readBlocks(log, segment)).toEqual([content])
  await log.release(segment)
}

function namesOf(disk: FaultyDisk): string[] {
  return disk.names(DIRECTORY).filter((name) => /(open|sealed|spare)$/.test(name))
}

test('a released file is written over, and is as long as what is in it when it is sealed', async () => {
  const disk = new FaultyDisk()
  const operations: Operation[] = []
  const log = await openLog(disk)
  await storeOne(log, 'a long block '.repeat(100))
  expect(namesOf(disk)).toEqual(['00000000000000000000.spare'])
  disk.onOperation = (operation) => {
    operations.push(operation)
    return undefined
  }
  expect(await log.commit([blockOf('short')])).toBe('durable')
  expect(operations).not.toContain('create')
  expect(namesOf(disk)).toEqual(['00000000000000000001.open'])
  const open = disk.contentOf(`${DIRECTORY}/00000000000000000001.open`)
  expect(open?.toString()).toContain('a long block a long block')
  await log.seal()
  const sealed = disk.contentOf(`${DIRECTORY}/00000000000000000001.sealed`)
  expect(sealed?.byteLength).toBe((open?.indexOf('short') ?? 0) + 'short'.length)
  await log.dispose()
})

test('no more are kept than are used, none that are short, and none after the end', async () => {
  const disk = new FaultyDisk()
  const log = await openLog(disk, { bytesMin: 1000, keptMs: 60_000 })
  await storeOne(log, 'short')
  expect(namesOf(disk)).toEqual([])
  const segments = []
  for (const letter of 'abcd') {
    await log.commit([blockOf(letter.repeat(2000))])
    await log.seal()
    segments.push(await takeOne(log))
  }
  for (const segment of segments) await log.release(segment)
  expect(namesOf(disk).map((name) => name.slice(-5))).toEqual(['spare', 'spare'])
  await log.dispose()
  expect(namesOf(disk)).toEqual([])
})

test('one that nobody wants is deleted after a while', async () => {
  const disk = new FaultyDisk()
  const log = await openLog(disk, { bytesMin: 1, keptMs: 20 })
  await storeOne(log, 'old')
  expect(namesOf(disk)).toHaveLength(1)
  while (namesOf(disk).length > 0) await Bun.sleep(5)
  await storeOne(log, 'new')
  await log.dispose()
})

test('a release while the end deletes them is carried out', async () => {
  const disk = new FaultyDisk()
  const { fileSystem } = disk.mount()
  const [removing, removed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const slow: FileSystem = {
    ...fileSystem,
    async remove(path) {
      removing.resolve()
      await removed.promise
      await fileSystem.remove(path)
    },
  }
  const log = await openLog(disk, { bytesMin: 1, keptMs: 60_000 }, slow)
  for (const content of ['spare', 'last']) {
    await log.commit([blockOf(content)])
    await log.seal()
  }
  await log.release(await takeOne(log))
  const last = await takeOne(log)
  const closed = log.close()
  await removing.promise
  const released = log.release(last)
  removed.resolve()
  await Promise.all([released, closed])
  expect(namesOf(disk)).toEqual([])
  expect(log.stats()).toMatchObject({ logBytes: 0, retrying: 0 })
  await log.dispose()
})

test('when the disk is full they make room', async () => {
  const disk = new FaultyDisk()
  const log = await openLog(disk)
  for (const letter of 'ab') {
    await log.commit([blockOf(letter.repeat(3000))])
    await log.seal()
  }
  for (const segment of [await takeOne(log), await takeOne(log)]) await log.release(segment)
  disk.capacityBytes = 7000
  expect(await log.commit([blockOf('c'.repeat(5000))])).toBe('disk_full')
  while (namesOf(disk).some((name) => name.endsWith('spare'))) await Bun.sleep(1)
  expect(await log.commit([blockOf('c'.repeat(3500))])).toBe('durable')
  await log.dispose()
})

test('one that a crash left is deleted at the next start, whatever is in it', async () => {
  const disk = new FaultyDisk()
  const log = await openLog(disk)
  await storeOne(log, 'old')
  disk.kill()
  expect(namesOf(disk)).toHaveLength(1)
  const next = await openLog(disk)
  while (namesOf(disk).length > 0) await Bun.sleep(1)
  expect(next.stats()).toMatchObject({ damagedRecords: 0, tornTails: 0, segmentsWaiting: 0 })
  await next.dispose()
})

test('a segment that was begun in one, and not written to, is nothing', async () => {
  const disk = new FaultyDisk()
  const log = await openLog(disk)
  await log.commit([blockOf('first'), blockOf('second')])
  disk.kill()
  const old = disk.contentOf(`${DIRECTORY}/00000000000000000000.open`) ?? Buffer.alloc(0)
  const begun = Buffer.from(old)
  begun.set(encodeSegmentHeader({ logId: log.id, number: 7, createdAt: 0, insertForm: 'joined' }))
  begun.fill(0, SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES + END_MARK_BYTES)
  // Its name is new, and its header that of the old one, or already its own.
  for (const content of [old, begun]) {
    disk.put(`${DIRECTORY}/00000000000000000007.open`, content)
    const next = await openLog(disk)
    expect(next.stats()).toMatchObject({ damagedRecords: 0, tornTails: 0 })
    expect(disk.names(DIRECTORY)).not.toContain('00000000000000000007.open')
    expect(disk.names(`${DIRECTORY}/damaged`)).toEqual([])
    disk.kill()
  }
})

test('a power cut at the first commit into one leaves nothing of the old segment', async () => {
  for (let seed = 1; seed <= 200; seed++) {
    const disk = new FaultyDisk(seed)
    const log = await openLog(disk)
    await storeOne(log, 'old '.repeat(50))
    disk.onOperation = (operation) => {
      if (operation === 'sync') disk.cutPower()
      return undefined
    }
    void log.commit([blockOf('new')])
    await Bun.sleep(1)
    disk.onOperation = () => undefined
    const next = await openLog(disk)
    await next.close()
    const segment = await next.takeSealed()
    if (segment !== undefined) expect(await readBlocks(next, segment)).toEqual(['new'])
    // The unfinished write may have been set aside, but under its own number.
    for (const name of disk.names(`${DIRECTORY}/damaged`)) expect(name).toStartWith('00000000000000000001')
    await next.dispose()
  }
})
