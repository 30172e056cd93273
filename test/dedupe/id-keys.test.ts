import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { IdKeys } from '../../src/dedupe/id-keys.ts'
import { writeUuid } from '../../src/native/uuid.ts'

const ID = '6f0f3a52-7d7a-4b0e-9a3c-52c4a1c9f7be'

function keyOf(keys: IdKeys, tenant: string, workspace: string, id: string): string {
  const { first, second, third } = keys.of(tenant, workspace).ofText(id)
  return Buffer.from(Int32Array.of(first, second, third).buffer).toString('hex')
}

test('an id has the same key as text, in either case, and in ClickHouse’s binary form', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.string(), (id, seed) => {
      const workspace = new IdKeys(seed).of('tenant', 'workspace')
      const { first, second, third } = workspace.ofText(id)
      const upper = workspace.ofText(id.toUpperCase())
      expect([upper.first, upper.second, upper.third]).toEqual([first, second, third])
      const bytes = new Uint8Array(19)
      writeUuid(id, bytes, 3)
      const binary = workspace.ofBytes(new DataView(bytes.buffer), 3)
      expect([binary.first, binary.second, binary.third]).toEqual([first, second, third])
    }),
  )
})

test('keys differ between ids, workspaces, tenants and seeds', () => {
  const keys = new IdKeys('seed')
  const all = [
    keyOf(keys, 'tenant', 'workspace', ID),
    keyOf(keys, 'tenant', 'workspace', '6f0f3a52-7d7a-4b0e-9a3c-52c4a1c9f7bf'),
    keyOf(keys, 'tenant', 'other', ID),
    keyOf(keys, 'other', 'workspace', ID),
    keyOf(new IdKeys('other'), 'tenant', 'workspace', ID),
  ]
  expect(new Set(all).size).toBe(all.length)
  expect(keyOf(keys, 'tenant', 'workspace', ID)).toBe(all[0] ?? '')
})

test('keys are spread evenly, also those of ids that were counted up', () => {
  const workspace = new IdKeys('seed').of('tenant', 'workspace')
  const counts = { first: new Array<number>(64).fill(0), second: new Array<number>(64).fill(0) }
  const ids = 64_000
  for (let number = 0; number < ids; number++) {
    const { first, second } = workspace.ofText(`00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`)
    counts.first[first & 63] = (counts.first[first & 63] ?? 0) + 1
    counts.second[second >>> 26] = (counts.second[second >>> 26] ?? 0) + 1
  }
  // Each of the 64 places gets 1000, give or take five standard deviations.
  for (const count of [...counts.first, ...counts.second]) expect(Math.abs(count - ids / 64)).toBeLessThan(160)
})

test('keys that are on disk are found again by later versions', () => {
  expect(keyOf(new IdKeys('0123456789abcdef0123456789abcdef'), 'acme', 'web', ID)).toMatchInlineSnapshot(
    `"ea8567f2a675eb8f775f9001"`,
  )
})
