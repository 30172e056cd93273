import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { readBlockIds } from '../../src/native/block-ids.ts'
import { EventBlock } from '../../src/native/event-block.ts'
import { writeUuid } from '../../src/native/uuid.ts'
import { makeEvent } from '../support/events.ts'

function encode(events: readonly ReturnType<typeof makeEvent>[]): Uint8Array {
  const block = new EventBlock()
  for (const event of events) block.append(event)
  const bytes = new Uint8Array(block.byteLength)
  block.writeTo(bytes, 0)
  return bytes
}

const nameArbitrary = fc.stringMatching(/^[a-z]{1,12}$/)

test('the ids of a block are those of its events, with their tenants and workspaces', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ tenantId: nameArbitrary, workspaceId: nameArbitrary, eventId: fc.uuid() }), {
        minLength: 1,
        maxLength: 400, // more names than an index of one byte can tell apart
        size: 'max',
      }),
      (changes) => {
        const ids = readBlockIds(encode(changes.map((change) => makeEvent(change))))
        expect(ids?.rows).toBe(changes.length)
        changes.forEach(({ tenantId, workspaceId, eventId }, row) => {
          expect(ids?.tenantOf(row)).toBe(tenantId)
          expect(ids?.workspaceOf(row)).toBe(workspaceId)
          const bytes = new Uint8Array(16)
          writeUuid(eventId, bytes, 0)
          expect(ids?.eventIds.getBigUint64(16 * row)).toBe(new DataView(bytes.buffer).getBigUint64(0))
          expect(ids?.eventIds.getBigUint64(16 * row + 8)).toBe(new DataView(bytes.buffer).getBigUint64(8))
        })
      },
    ),
    { numRuns: 30 },
  )
})

test('a block that ends within its ids gives none, and any bytes do no harm', () => {
  const block = encode([makeEvent({ eventId: crypto.randomUUID() }), makeEvent()])
  const end = Buffer.from(block).indexOf('event_id') + 'event_id'.length + 1 + 'UUID'.length + 2 * 16
  expect(readBlockIds(block.subarray(0, end))?.rows).toBe(2)
  for (let length = 0; length < end; length++) expect(readBlockIds(block.subarray(0, length))).toBeUndefined()
  fc.assert(
    fc.property(fc.nat(200), fc.nat(255), (at, byte) => {
      const changed = Uint8Array.from(block)
      changed[at] = byte
      const ids = readBlockIds(changed)
      for (let row = 0; row < Math.min(ids?.rows ?? 0, 10); row++) ids?.tenantOf(row)
    }),
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void readBlockIds(bytes)))
})
