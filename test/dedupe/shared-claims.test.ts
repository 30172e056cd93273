/** What collectors tell each other of ids, as Redis keeps it. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'bun:test'
import { SharedClaims } from '../../src/dedupe/shared-claims.ts'
import type { SharedIds } from '../../src/dedupe/shared-ids.ts'
import { UUID_BYTES } from '../../src/native/uuid.ts'
import { openRedis, type Redis } from '../../src/redis.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { startTestRedis, type TestRedis } from '../support/redis.ts'

const WINDOW_MS = 600_000
const SLOT_MS = WINDOW_MS / 2

let server: TestRedis
let redis: Redis

beforeAll(async () => {
  server = await startTestRedis()
})
afterAll(() => server.dispose())
beforeEach(async () => {
  const leftMs = SLOT_MS - (Date.now() % SLOT_MS)
  if (leftMs < 3_000) await Bun.sleep(leftMs) // no test is to see two slots
  server.cli('flushall')
  redis = openRedis(server.url, createLogger({ level: 'silent' }))
  expect(await redis.ready(5_000)).toBe(true)
})
afterEach(() => redis.close())

function makeClaims(name = 'a', windowMs = WINDOW_MS): SharedClaims {
  return new SharedClaims(redis, name, windowMs)
}

function idsOf(numbers: readonly number[], workspaceId = 'web'): SharedIds {
  const bytes = Buffer.alloc(UUID_BYTES * numbers.length, 0xfe)
  for (const [index, number] of numbers.entries()) bytes.writeUInt32LE(number, UUID_BYTES * index)
  return { tenantId: 'acme', workspaceId, bytes }
}

async function claim(claims: SharedClaims, ...numbers: number[]): Promise<unknown> {
  return claims.claim(idsOf(numbers), claims.nextField())
}

async function makeDurable(claims: SharedClaims, ...numbers: number[]): Promise<void> {
  const field = claims.nextField()
  expect(await claims.claim(idsOf(numbers), field)).toBe('c'.repeat(numbers.length))
  expect(await claims.confirm(idsOf(numbers), [field])).toBeUndefined()
}

/** The names of all hashes of ids. */
function hashes(): string[] {
  return server.cli('keys', 'penstock:ids:*').split('\n').filter(Boolean).sort()
}

/** The only hash of ids, and the slot in its name. */
function onlyHash(): { readonly name: string; readonly slot: number } {
  const [name = '', ...others] = hashes()
  expect(others).toEqual([])
  return { name, slot: Number(name.split(':').at(-1)) }
}

test('requests that come together get their own verdicts', async () => {
  const [a, b] = [makeClaims('a'), makeClaims('b')]
  await makeDurable(a, 1, 2)
  expect(await claim(a, 3, 4)).toBe('cc')
  const requests = [[9], [1, 5, 3], [2], [4, 1], [6, 7]]
  const verdicts = await Promise.all([
    ...requests.map((numbers) => claim(b, ...numbers)),
    b.claim(idsOf([1, 3], 'app'), b.nextField()),
  ])
  expect(verdicts).toEqual(['c', 'dcp', 'd', 'pd', 'cc', 'cc'])
  expect(hashes()).toHaveLength(2)
})

test('as many as there are at once: claims, confirmations, fields', async () => {
  const [a, b] = [makeClaims('a'), makeClaims('b')]
  const numbers = Array.from({ length: 3_000 }, (_, number) => number)
  const fields = numbers.map(() => a.nextField())
  const claimed = await Promise.all(numbers.map((number) => a.claim(idsOf([number]), fields[number] ?? '')))
  expect(new Set(claimed)).toEqual(new Set(['c']))
  expect(server.cli('hlen', 'penstock:id-claims:a')).toBe('3000')
  expect(await a.confirm(idsOf(numbers.slice(0, 1_000)), fields)).toBeUndefined()
  expect(server.cli('hlen', 'penstock:id-claims:a')).toBe('0')
  await Promise.all(numbers.slice(1_000).map((number) => a.confirm(idsOf([number]), ['none'])))
  expect(await b.claim(idsOf(numbers.slice(0, 1_000)), 'x')).toBe('d'.repeat(1_000))
  expect(await b.claim(idsOf(numbers.slice(2_000)), 'y')).toBe('d'.repeat(1_000))
})

test.each([
  [-3, 'c'],
  [-2, 'd'],
  [-1, 'd'],
  [0, 'd'],
  [1, 'd'],
  [2, 'c'],
])(
  'an id is looked for in the slots of a window, and in the next one, since a clock may go back: %i',
  async (by, verdict) => {
    await makeDurable(makeClaims('a'), 1)
    const { name, slot } = onlyHash()
    if (by !== 0) server.cli('rename', name, name.replace(/\d+$/, String(slot + by)))
    expect(await claim(makeClaims('b'), 1)).toBe(verdict)
  },
)

test.each([-1, 1])('what is durable in one slot is durable, whatever another one says: %i', async (by) => {
  expect(await claim(makeClaims('c'), 1)).toBe('c')
  const { name, slot } = onlyHash()
  server.cli('rename', name, name.replace(/\d+$/, String(slot + by)))
  expect(await claim(makeClaims('b'), 1)).toBe('p')
  expect(await makeClaims('a').confirm(idsOf([1]), [])).toBeUndefined()
  expect(hashes()).toHaveLength(2)
  expect(await claim(makeClaims('b'), 1)).toBe('d')
})

test('an id is forgotten when its window is over, not when its slot is', async () => {
  const a = makeClaims('a', 1_000)
  await makeDurable(a, 1)
  const b = makeClaims('b', 1_000)
  expect(await claim(b, 1)).toBe('d')
  await Bun.sleep(1_050)
  expect(await claim(b, 1)).toBe('c')
  expect(await claim(a, 1)).toBe('p')
})

test('told late, an id is remembered for what is left of its window', async () => {
  const a = makeClaims('a')
  expect(await a.confirmOld(idsOf([1]), [], WINDOW_MS - 1_000)).toBeUndefined()
  expect(await claim(makeClaims('b'), 1)).toBe('d')
  await Bun.sleep(1_050)
  expect(await claim(makeClaims('b'), 1)).toBe('c')
})

test('a release frees the own claims in every slot, and no others', async () => {
  const [a, b] = [makeClaims('a'), makeClaims('b')]
  expect(await claim(a, 1, 2)).toBe('cc')
  const { name, slot } = onlyHash()
  server.cli('rename', name, name.replace(/\d+$/, String(slot - 1)))
  expect(await claim(a, 1, 3)).toBe('cc')
  expect(await claim(b, 4)).toBe('c')
  await makeDurable(b, 5)
  expect(await a.release(idsOf([1, 2, 3, 4, 5, 6]), [])).toBeUndefined()
  expect(await claim(makeClaims('c'), 1, 2, 3, 4, 5)).toBe('cccpd')
})

test('without ids, claims are settled all the same', async () => {
  const a = makeClaims('a')
  const fields = [a.nextField(), a.nextField()] as const
  await Promise.all(fields.map((field, number) => a.claim(idsOf([number]), field)))
  expect(await makeClaims('a').left()).toHaveLength(2)
  expect(await a.confirmOld(idsOf([]), [fields[0]], 0)).toBeUndefined()
  expect(await a.release(idsOf([]), [fields[1]])).toBeUndefined()
  expect(await makeClaims('a').left()).toEqual([])
})

test('claims that were left tell their ids, byte by byte', async () => {
  const a = makeClaims('a')
  const ids = {
    tenantId: 'acme',
    workspaceId: 'web',
    bytes: Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
  }
  const field = a.nextField()
  expect(await a.claim(ids, field)).toBe('c'.repeat(16))
  expect(await a.left()).toEqual([])
  expect(await makeClaims('a').left()).toEqual([{ field, ...ids }])
})

test('a hash is a table from the beginning, whose names are kept until nothing in it counts', async () => {
  await makeDurable(makeClaims('a'), 1)
  const { name, slot } = onlyHash()
  expect(name).toBe(`penstock:ids:acme:web:${Math.floor(Date.now() / SLOT_MS)}`)
  expect(server.cli('object', 'encoding', name)).toBe('hashtable')
  expect(server.cli('zrange', 'penstock:id-slots', '0', '-1', 'withscores').split('\n')).toEqual([
    name,
    String((slot + 3) * SLOT_MS),
  ])
  expect(Number(server.cli('pttl', name)) + Date.now()).toBeCloseTo((slot + 3.5) * SLOT_MS, -4)
})

test('when a hash is begun, those in which nothing counts any more are removed', async () => {
  const a = makeClaims('a')
  for (let number = 0; number < 150; number++) server.cli('hset', `penstock:ids:acme:old-${number}:1`, 'id', 'd1')
  const old = Array.from({ length: 150 }, (_, number) => [String(number), `penstock:ids:acme:old-${number}:1`])
  server.cli('zadd', 'penstock:id-slots', ...old.flat(), String(Date.now() + 60_000), 'penstock:ids:acme:new:1')
  await makeDurable(a, 1)
  await makeDurable(a, 2) // into the same
  expect(hashes()).toHaveLength(51)
  await a.claim(idsOf([1], 'app'), a.nextField())
  expect(hashes()).toHaveLength(2)
  expect(server.cli('zcard', 'penstock:id-slots')).toBe('3')
})
