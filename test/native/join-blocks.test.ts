/** Small blocks joined into one: the same bytes as if their events had come into one block. */
import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import type { Event } from '../../src/event.ts'
import { BlockJoiner } from '../../src/native/join-blocks.ts'
import { eventTexts } from '../scan/random-bodies.ts'
import { blockOfObjects, makeFacts, readObjects, valuesOf } from '../scan/scan-fixture.ts'
import { makeEvent } from '../support/events.ts'

const joiner = new BlockJoiner()

function join(blocks: Uint8Array): Uint8Array | undefined {
  return joiner.add(blocks) ? joiner.take() : undefined
}

function joined(...blocks: readonly (readonly Event[])[]): Buffer | undefined {
  const bytes = join(Buffer.concat(blocks.map(blockOfObjects)))
  return bytes && Buffer.from(bytes)
}

const ID = '018f2f5e-6b2c-7d4f-8e3a-4b5c6d7e8f90'
const event = (changes: Partial<Event> = {}) => makeEvent({ eventId: ID, ...changes })

test('blocks of random events become one block of all', () => {
  const block = eventTexts
    .map((texts) => readObjects(valuesOf(Buffer.from(`{"events":[${texts.join()}]}`), 'body') ?? [], makeFacts()) ?? [])
    .filter((events) => events.length > 0)
  fc.assert(
    fc.property(fc.array(block, { minLength: 1, maxLength: 8 }), (blocks) => {
      const whole = blockOfObjects(blocks.flat())
      expect(joined(...blocks)?.equals(whole)).toBe(true)
      for (const each of blocks) expect(joiner.add(blockOfObjects(each))).toBe(true)
      expect(whole.equals(joiner.take())).toBe(true)
    }),
    { numRuns: 500 },
  )
})

describe('columns that some of the blocks leave out', () => {
  const FULL: Partial<Event> = {
    messageId: 'm',
    userId: 'u',
    anonymousId: 'a',
    url: 'https://a/b',
    path: '/b',
    referrer: 'https://c/',
    referrerHost: 'c',
    title: 't',
    locale: 'de',
    userAgent: 'curl/8',
    browser: 'b',
    os: 'o',
    device: 'd',
    properties: { a: 1 },
    context: { b: [{ c: 'x' }] },
  }
  const full = [event(FULL), event(FULL)]
  const empty = [event(), event(), event()]
  test('are there when others have them', () => {
    for (const blocks of [
      [full, empty],
      [empty, full],
      [empty, full, empty],
      [full, empty, full],
    ])
      expect(joined(...blocks)?.equals(blockOfObjects(blocks.flat()))).toBe(true)
  })

  test('are left out when all leave them out', () => {
    expect(joined(empty, empty)?.equals(blockOfObjects([...empty, ...empty]))).toBe(true)
  })
})

test('more texts than a byte can tell, in one block and in all together', () => {
  const blocks = Array.from({ length: 9 }, (_, block) =>
    Array.from({ length: block === 4 ? 300 : 60 }, (_, row) => event({ type: `type ${(block * 97 + row * 7) % 700}` })),
  )
  expect(joined(...blocks)?.equals(blockOfObjects(blocks.flat()))).toBe(true)
})

test('one group does not know of another', () => {
  for (let group = 0; group < 300; group++) {
    const blocks = Array.from({ length: 10 }, (_, block) => [
      event({ type: `type ${group} ${block}`, locale: `l${group % 3}` }),
    ])
    expect(joined(...blocks)?.equals(blockOfObjects(blocks.flat()))).toBe(true)
  }
})

test('what is not as our blocks are is not joined, and harms nothing', () => {
  const block = blockOfObjects([event({ properties: { a: 'x' } }), event()])
  const other = Buffer.from(block.toString('latin1').replace('workspace_id', 'workspace_xy'), 'latin1')
  for (const bytes of [other, Buffer.concat([block, other]), Buffer.concat([block, Buffer.from([1])])])
    expect(join(bytes)).toBeUndefined()
  for (let length = 1; length < block.length; length++) expect(join(block.subarray(0, length))).toBeUndefined()
  expect(joined([event()], [event()])?.equals(blockOfObjects([event(), event()]))).toBe(true)
})

test('bytes that have changed are joined or not, but never more than there are', () => {
  const block = blockOfObjects(
    Array.from({ length: 20 }, (_, row) => event({ type: `t${row}`, properties: { a: row } })),
  )
  for (let at = 0; at < block.length; at++) {
    for (const change of [1 << (at % 8), 0x80, 0xff]) {
      const changed = Buffer.from(block)
      changed.writeUInt8(changed.readUInt8(at) ^ change, at)
      const result = join(changed)
      if (result !== undefined) expect(result.byteLength).toBeLessThan(4 * block.length)
    }
  }
})
