import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { isUuid, writeNewUuid, writeUuid } from '../../src/native/uuid.ts'

/** The text of a UUID in ClickHouse's binary form: two little-endian halves. */
function textOf(bytes: Uint8Array): string {
  const halves = [bytes.subarray(0, 8), bytes.subarray(8, 16)].map((half) =>
    Buffer.from(half).reverse().toString('hex'),
  )
  return halves.join('').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

test('every UUID, in either case, is written as two little-endian halves at its offset', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.boolean(), fc.nat({ max: 8 }), (uuid, isUpper, offset) => {
      const target = new Uint8Array(32).fill(0xee)
      const text = isUpper ? uuid.toUpperCase() : uuid
      expect(isUuid(text)).toBe(true)
      writeUuid(text, target, offset)
      expect(textOf(target.subarray(offset))).toBe(uuid)
      expect(target.subarray(0, offset).every((byte) => byte === 0xee)).toBe(true)
      expect(target.subarray(offset + 16).every((byte) => byte === 0xee)).toBe(true)
    }),
  )
})

test('any 36 characters are a UUID only in the canonical form', () => {
  const canonical = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
  const nearly = fc
    .tuple(fc.uuid(), fc.nat({ max: 35 }), fc.constantFrom(...'0f-gG:@`/ äŁ\0'))
    .map(([uuid, at, put]) => {
      return uuid.slice(0, at) + put + uuid.slice(at + 1)
    })
  fc.assert(
    fc.property(nearly, (text) => {
      expect(isUuid(text)).toBe(canonical.test(text))
    }),
    { numRuns: 2_000 },
  )
})

test.each([
  '',
  'x',
  '0190a1b2c3d47e5f8a9b0c1d2e3f4a5b',
  '{0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b}',
  'urn:uuid:0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b',
  '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5',
  '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b ',
  '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5ı',
])('%j is no UUID', (text) => {
  expect(isUuid(text)).toBe(false)
})

test('a new UUID is of version 7, carries its time, and is another one each time', () => {
  const times = [0, 1, 1_790_000_000_123, 2 ** 32 - 1, 2 ** 32, 2 ** 48 - 1]
  const seen = new Set<string>()
  for (let round = 0; round < 2_000; round++) {
    for (const timeMs of times) {
      const bytes = new Uint8Array(16)
      writeNewUuid(timeMs, bytes, 0)
      const text = textOf(bytes)
      expect(text).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      expect(Number.parseInt(text.slice(0, 8) + text.slice(9, 13), 16)).toBe(timeMs)
      seen.add(text)
    }
  }
  expect(seen.size).toBe(2_000 * times.length)
})
