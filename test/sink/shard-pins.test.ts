import { afterEach, expect, test } from 'bun:test'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isProblem } from '../../src/problem.ts'
import { openShardPins, type ShardPinsOptions } from '../../src/sink/shard-pins.ts'
import { temporaryDirectory } from './sink-fixture.ts'

const cleanups: (() => unknown)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

function newDirectory(): string {
  const { path, remove } = temporaryDirectory()
  cleanups.push(remove)
  return path
}

async function pins(changes: Partial<ShardPinsOptions>) {
  const opened = await openShardPins({ directory: undefined, weights: [1, 1], nextNumber: 0, ...changes })
  if (isProblem(opened)) throw new Error(opened.message)
  return opened
}

function shares(shardOf: (number: number) => number, from: number, count: number): Record<number, number> {
  const found: Record<number, number> = {}
  for (let number = from; number < from + count; number++) found[shardOf(number)] = (found[shardOf(number)] ?? 0) + 1
  return found
}

test.each([2, 3, 5, 16])('segments in a row are spread evenly over %d shards, wherever they begin', async (count) => {
  const { shardOf, shards } = await pins({ weights: Array.from({ length: count }, () => 1) })
  expect(shards).toBe(count)
  for (const from of [0, 65_536, 2 ** 32 - 50, 2 ** 52]) {
    const found = Object.values(shares(shardOf, from, 20 * count))
    expect(found).toHaveLength(count)
    expect(Math.min(...found)).toBeGreaterThanOrEqual(17)
    expect(Math.max(...found)).toBeLessThanOrEqual(23)
  }
})

test('weights are honoured, and a shard of weight 0 gets nothing', async () => {
  const { shardOf } = await pins({ weights: [3, 0, 1] })
  const found = shares(shardOf, 0, 400)
  expect(Math.abs((found[1] ?? 0) - 300)).toBeLessThan(8)
  expect(found[2]).toBeUndefined()
  expect(Object.keys(shares((await pins({ weights: [0, 0] })).shardOf, 0, 100))).toEqual(['1', '2'])
})

test('a segment keeps its shard over restarts and when shards are added; new ones go to all', async () => {
  const directory = newDirectory()
  const first = await pins({ directory, nextNumber: 100 })
  const before = Array.from({ length: 200 }, (_, number) => first.shardOf(number))
  const again = await pins({ directory, nextNumber: 150 })
  expect(Array.from({ length: 200 }, (_, number) => again.shardOf(number))).toEqual(before)

  const grown = await pins({ directory, weights: [1, 1, 1], nextNumber: 200 })
  expect(Array.from({ length: 200 }, (_, number) => grown.shardOf(number))).toEqual(before)
  expect(Object.keys(shares(grown.shardOf, 200, 30))).toEqual(['1', '2', '3'])

  const shrunk = await pins({ directory, weights: [1, 1], nextNumber: 300 })
  expect(shrunk.shards).toBe(3)
  expect(Array.from({ length: 300 }, (_, number) => shrunk.shardOf(number))).toEqual(
    Array.from({ length: 300 }, (_, number) => grown.shardOf(number)),
  )
  expect(Object.keys(shares(shrunk.shardOf, 300, 30))).toEqual(['1', '2'])
  expect(JSON.parse(readFileSync(join(directory, 'shards.json'), 'utf8')).epochs).toEqual([
    { from: 0, weights: [1, 1] },
    { from: 200, weights: [1, 1, 1] },
    { from: 300, weights: [1, 1] },
  ])
})

test.each([
  '',
  '{}',
  '{"format":"penstock-shards/1","epochs":[]}',
  '{"format":"penstock-shards/1","epochs":[{"from":3,"weights":[1]}]}',
])('a file that cannot be understood stops everything: %s', async (content) => {
  const directory = newDirectory()
  writeFileSync(join(directory, 'shards.json'), content)
  expect(await openShardPins({ directory, weights: [1], nextNumber: 0 })).toMatchObject({ problem: 'damaged_shards' })
})
