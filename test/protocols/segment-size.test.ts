/** The size of a value as JSON. */
import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { jsonBytes } from '../../src/protocols/segment-size.ts'

test('it is the size of the value as JSON without spaces, in UTF-8', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      expect(jsonBytes(value)).toBe(Buffer.byteLength(JSON.stringify(value)))
    }),
  )
})

test.each<[unknown, number]>([
  [{}, 2],
  [[], 2],
  [null, 4],
  ['ä"\n', 8],
  [{ ä: [1, true, null, '😀'] }, 27],
  [9007199254740993n, 16],
  [[-0, 1e21, 1.5], 13],
])('of value %#', (value, bytes) => {
  expect(jsonBytes(value)).toBe(bytes)
})

test('of a million arrays inside one another', () => {
  const depth = 1_000_000
  let value: unknown = []
  for (let level = 1; level < depth; level++) value = [value]
  expect(jsonBytes(value)).toBe(2 * depth)
})
