import { expect, test } from 'bun:test'
import assert from 'node:assert/strict'
import { MemoryLog } from '../../src/log/memory-log.ts'
import { blockOf, KIB, randomBlock, readBlocks, takeOne } from './support.ts'

const OPTIONS = { segmentBytes: 64 * KIB, flushIntervalMs: 3_600_000, ringBytes: 100 * KIB }

test('a memory log hands out what was committed, and gives the room back at the release', async () => {
  const log = new MemoryLog(OPTIONS)
  expect(await log.commit([blockOf('a', 2), blockOf('bb')])).toBe('durable')
  expect(await log.commit([randomBlock(60 * KIB)])).toBe('durable')
  expect(await log.commit([randomBlock(60 * KIB)])).toBe('log_full')
  await log.seal()
  const segment = await takeOne(log)
  expect((await readBlocks(log, segment)).slice(0, 2)).toEqual(['a', 'bb'])
  expect(segment.rows).toBe(4)
  await log.release(segment)
  expect(log.stats()).toMatchObject({ ringUsedBytes: 0, oldestUnflushedAt: undefined })
  expect(await log.commit([randomBlock(60 * KIB)])).toBe('durable')
  await log.dispose()
})

test('a memory log seals by size and by age', async () => {
  const log = new MemoryLog({ ...OPTIONS, flushIntervalMs: 10 })
  await log.commit([randomBlock(65 * KIB)])
  expect((await takeOne(log)).blockBytes).toBe(65 * KIB)
  await log.commit([blockOf('old')])
  expect(await readBlocks(log, await takeOne(log))).toEqual(['old'])
  await log.dispose()
})

test('a closed memory log hands out what it holds, then ends', async () => {
  const log = new MemoryLog(OPTIONS)
  await log.commit([blockOf('last')])
  await log.close()
  expect(await log.commit([blockOf('late')])).toBe('closed')
  const segment = await takeOne(log)
  expect(await readBlocks(log, segment)).toEqual(['last'])
  await log.release(segment)
  expect(await log.takeSealed()).toBeUndefined()
})

test('two memory logs never share a token', async () => {
  const tokens = new Set<string>()
  for (let start = 0; start < 2; start += 1) {
    const log = new MemoryLog(OPTIONS)
    await log.commit([blockOf('x')])
    await log.close()
    tokens.add((await takeOne(log)).token)
  }
  expect(tokens.size).toBe(2)
})

test('of a commit with a block that cannot write itself nothing is kept', async () => {
  const log = new MemoryLog(OPTIONS)
  const broken = { ...blockOf('broken'), writeTo: () => assert.fail('a bug') }
  await expect(log.commit([blockOf('good'), broken])).rejects.toThrow('a bug')
  expect(log.stats()).toMatchObject({ writtenBytes: 0, ringUsedBytes: 0 })
  await log.commit([blockOf('next')])
  await log.seal()
  expect(await readBlocks(log, await takeOne(log))).toEqual(['next'])
  await log.dispose()
})
