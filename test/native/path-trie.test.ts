/** Paths get their places in an order, whatever keys clients invent, and without more work than sorting them takes. */
import { expect, test } from 'bun:test'
import { JsonColumn } from '../../src/native/json-column.ts'
import { PathTrie } from '../../src/native/path-trie.ts'

/** Objects of `keys` keys each that no other one has, in no order. */
function objectsOfNewKeys(objects: number, keys: number): Record<string, number>[] {
  let made = 0
  const newKey = () => `k${((made++ * 7919) % 36 ** 4).toString(36).padStart(4, '0')}`
  return Array.from({ length: objects }, () => Object.fromEntries(Array.from({ length: keys }, () => [newKey(), 1])))
}

/** The column as bytes. */
function bytesOf(column: JsonColumn): Buffer {
  const bytes = Buffer.alloc(column.byteLength())
  column.writeTo(bytes, 0)
  return bytes
}

/** The paths of a column in which all values are the same number, in the order of its rows. */
function pathsIn(bytes: Buffer): string[] {
  return bytes.toString('latin1').match(/k[0-9a-z]{4}/g) ?? []
}

test.each([
  [100, 1_000],
  [1_000, 100],
  [10_000, 1],
])('%i objects of %i new keys each take no more comparisons than sorting them', (objects, keys) => {
  const trie = new PathTrie()
  const column = new JsonColumn('properties', 0, trie)
  for (const object of objectsOfNewKeys(objects, keys)) column.append(object)
  const paths = objects * keys
  expect(trie.work).toBeLessThan(2 * paths * Math.log2(paths))
})

test('a new key in every object, among others that stay, takes as much work for each', () => {
  const trie = new PathTrie()
  const column = new JsonColumn('properties', 0, trie)
  const OBJECTS = 20_000
  for (const object of objectsOfNewKeys(OBJECTS, 1)) column.append({ ...object, a: 1, k5: 2, z: 3 })
  expect(trie.work).toBeLessThan(40 * OBJECTS)
})

test('of keys that stay no text is compared once they are known', () => {
  const trie = new PathTrie()
  const column = new JsonColumn('properties', 0, trie)
  const [object = {}] = objectsOfNewKeys(1, 50)
  for (let row = 0; row < 10; row++) column.append(object)
  const { work } = trie
  for (let row = 0; row < 1_000; row++) column.append(object)
  expect(trie.work).toBe(work)
})

test('a key that is always alone gets its rank as well', () => {
  const trie = new PathTrie()
  const column = new JsonColumn('properties', 0, trie)
  for (let row = 0; row < 10; row++) column.append({ plan: 1 })
  expect(trie.work).toBe(1)
})

test('paths are in order in every row, whether they are new, known, or some of both', () => {
  const column = new JsonColumn('properties', 0)
  const objects = objectsOfNewKeys(60, 7)
  const rows = objects.flatMap((object, index) => [object, { ...object, ...objects[index >> 1] }, { ...objects[0] }])
  for (const row of rows) column.append(row)
  expect(pathsIn(bytesOf(column))).toEqual(rows.flatMap((row) => Object.keys(row).sort()))
})

test('of two spellings of one path the first stays, also when the path is known', () => {
  const column = new JsonColumn('properties', 0)
  const spellings = JSON.parse('{"b":0,"\\ud801":1,"a.b":2,"\\ud800":3,"a%2Eb":4,"\\ufffd":5}')
  const once = JSON.parse('{"b":0,"\\ufffd":1,"a.b":2}')
  const wanted = new JsonColumn('properties', 0)
  for (let row = 0; row < 20; row++) {
    column.append(spellings)
    wanted.append(once)
  }
  expect(bytesOf(column)).toEqual(bytesOf(wanted))
})
