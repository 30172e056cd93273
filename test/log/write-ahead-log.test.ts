import { afterEach, describe, expect, test } from 'bun:test'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { DirectoryLockedError } from '../../src/log/lock.ts'
import { WriteAheadLog, type WriteAheadLogOptions } from '../../src/log/write-ahead-log.ts'
import { blockOf, KIB, logOptions, randomBlock, readAll, readBlocks, takeOne, temporaryDirectory } from './support.ts'

const cleanups: (() => Promise<void> | void)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

function newDirectory(): string {
  const directory = temporaryDirectory()
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

async function openLog(directory: string, changes: Partial<WriteAheadLogOptions> = {}): Promise<WriteAheadLog> {
  const log = await WriteAheadLog.open(logOptions(directory, changes))
  cleanups.push(() => log.dispose())
  return log
}

const segmentFiles = (directory: string) => readdirSync(directory).filter((name) => /\.(open|sealed)$/.test(name))

describe('write-ahead log on a real file system', () => {
  test('hands out what was committed, in order, and deletes it when it is released', async () => {
    const directory = newDirectory()
    const log = await openLog(directory)
    expect(await log.commit([blockOf('a', 2), blockOf('bb', 3)])).toBe('durable')
    expect(await log.commit([blockOf('ccc')])).toBe('durable')
    expect(log.stats().oldestUnflushedAt).toBeNumber()
    await log.seal()
    const segment = await takeOne(log)
    expect(await readBlocks(log, segment)).toEqual(['a', 'bb', 'ccc'])
    expect(segment).toMatchObject({ rows: 6, blockBytes: 6 })
    expect(segment.token).toMatch(new RegExp(`^[0-9a-f]{32}/${segment.number}$`))
    expect(segmentFiles(directory)).toHaveLength(1)
    await log.release(segment)
    expect(segmentFiles(directory)).toHaveLength(0)
    const stats = log.stats()
    expect(stats.writtenBytes).toBe(6 + 3 * 32)
    expect(stats).toMatchObject({ logBytes: 0, ringUsedBytes: 0, segmentsTaken: 0, oldestUnflushedAt: undefined })
    expect(stats.flushedBytes).toBe(stats.writtenBytes)
  })

  test('after a close without a flush everything is there at the next start, under the same token', async () => {
    const directory = newDirectory()
    const first = await openLog(directory)
    await first.commit([blockOf('kept')])
    await first.close()
    expect(await first.commit([blockOf('late')])).toBe('closed')
    const before = await takeOne(first)
    expect(await first.takeSealed()).toBeUndefined()
    await first.dispose()
    const second = await openLog(directory)
    const after = await takeOne(second)
    expect(after).toEqual({ ...before, sealedAt: after.sealedAt, oldestAt: after.oldestAt })
    expect(await readBlocks(second, after)).toEqual(['kept'])
  })

  test('numbers grow over restarts also when no segment is left', async () => {
    const directory = newDirectory()
    let last = -1
    for (let start = 0; start < 4; start += 1) {
      const log = await openLog(directory)
      await log.commit([blockOf('x')])
      await log.seal()
      const segment = await takeOne(log)
      expect(segment.number).toBeGreaterThan(last)
      last = segment.number
      await log.release(segment)
      await log.dispose()
    }
  })

  test('makes a new log id when the reserved number is lost', async () => {
    const directory = newDirectory()
    const tokens = new Set<string>()
    for (let start = 0; start < 3; start += 1) {
      const log = await openLog(directory)
      await log.commit([blockOf('x')])
      await log.seal()
      const segment = await takeOne(log)
      tokens.add(segment.token)
      await log.release(segment)
      await log.dispose()
      for (const name of readdirSync(directory)) if (name.endsWith('.next')) rmSync(`${directory}/${name}`)
    }
    expect(tokens.size).toBe(3)
  })

  test('seals by age without another commit, and by size at once', async () => {
    const log = await openLog(newDirectory(), { flushIntervalMs: 20, segmentBytes: 10 * KIB })
    await log.commit([blockOf('old')])
    expect(await readBlocks(log, await takeOne(log))).toEqual(['old'])
    await log.commit([randomBlock(11 * KIB)])
    expect((await takeOne(log)).blockBytes).toBe(11 * KIB)
  })

  test('a segment that waits to be taken stops sealing by age', async () => {
    const log = await openLog(newDirectory(), { flushIntervalMs: 1 })
    await log.commit([blockOf('one')])
    while (log.stats().segmentsWaiting === 0) await Bun.sleep(1)
    await log.commit([blockOf('two')])
    await Bun.sleep(20)
    await log.commit([blockOf('three')])
    expect(log.stats().segmentsWaiting).toBe(1)
    expect(await readBlocks(log, await takeOne(log))).toEqual(['one'])
    expect(await readBlocks(log, await takeOne(log))).toEqual(['two', 'three'])
  })

  test('reads the same bytes from the ring and from the file, whole and in part', async () => {
    const directory = newDirectory()
    const blocks = [5, 70_000, 100, 2_500_000, 31_000, 32_768, 1].map((bytes) => randomBlock(bytes))
    const expected = blocks.map((block) => {
      const bytes = Buffer.alloc(block.byteLength)
      block.writeTo(bytes, 0)
      return bytes
    })
    for (const ringBytes of [0, 1000, 8_000_000]) {
      const log = await openLog(directory, { ringBytes })
      expect(await log.commit(blocks.slice(0, 2))).toBe('durable')
      expect(await log.commit(blocks.slice(2))).toBe('durable')
      await log.seal()
      const segment = await takeOne(log)
      expect(await readAll(log, segment)).toEqual(Buffer.concat(expected))
      expect(await readAll(log, segment)).toEqual(Buffer.concat(expected))
      const some = segment.records.filter((_, index) => index % 2 === 1)
      expect(await readAll(log, segment, some)).toEqual(Buffer.concat(expected.filter((_, index) => index % 2 === 1)))
      await log.release(segment)
      await log.dispose()
    }
  })

  test('the limit on bytes refuses, and a release makes room', async () => {
    const log = await openLog(newDirectory(), { logBytesMax: 100 * KIB })
    expect(await log.commit([randomBlock(60 * KIB)])).toBe('durable')
    expect(await log.commit([randomBlock(60 * KIB)])).toBe('log_full')
    await log.seal()
    const segment = await takeOne(log)
    expect(await log.commit([randomBlock(60 * KIB)])).toBe('log_full')
    await log.release(segment)
    expect(await log.commit([randomBlock(60 * KIB)])).toBe('durable')
  })

  test('a segment has at most a million rows', async () => {
    const log = await openLog(newDirectory())
    for (let commit = 0; commit < 3; commit += 1) await log.commit([blockOf('x', 400_000)])
    expect((await takeOne(log)).rows).toBe(800_000)
  })

  test('a second log on the directory is refused with a clear error, until the first lets go', async () => {
    const directory = newDirectory()
    const first = await openLog(directory)
    await expect(WriteAheadLog.open(logOptions(directory))).rejects.toThrow(DirectoryLockedError)
    await first.dispose()
    await openLog(directory)
  })

  test('files of unknown names are left alone', async () => {
    const directory = newDirectory()
    writeFileSync(`${directory}/notes.txt`, 'mine')
    writeFileSync(`${directory}/123.sealed`, 'not a segment name')
    const log = await openLog(directory)
    await log.dispose()
    expect(readdirSync(directory)).toContain('notes.txt')
    expect(readdirSync(directory)).toContain('123.sealed')
  })
})
