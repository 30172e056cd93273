/** Deduplication of several collectors that share a Redis. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { EventBatch } from '../../src/batch.ts'
import type { Reservation } from '../../src/dedupe/dedupe.ts'
import { IdKeys } from '../../src/dedupe/id-keys.ts'
import { MemoryDedupe } from '../../src/dedupe/memory-dedupe.ts'
import { RedisDedupe } from '../../src/dedupe/redis-dedupe.ts'
import { openRedis, type Redis } from '../../src/redis.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { waitUntil } from '../support/collector.ts'
import { batchOf, eventsIn, makeEvent } from '../support/events.ts'
import { randomFrom } from '../support/random.ts'
import { startTestRedis, type TestRedis } from '../support/redis.ts'
import { sharedId } from '../support/shared-ids.ts'

const logger = createLogger({ level: 'silent' })
const WINDOW_MS = 60_000

let server: TestRedis
let opened: { close(): Promise<void> }[] = []

beforeAll(async () => {
  server = await startTestRedis()
})
afterAll(() => server.dispose())
beforeEach(() => void server.cli('flushall'))
afterEach(async () => {
  for (const one of opened.reverse()) await one.close()
  opened = []
})

interface TestCollector {
  readonly dedupe: RedisDedupe
  readonly memory: MemoryDedupe
  readonly redis: Redis
}

/** What of a collector has to do with ids. `memory`: what its log brought back. */
async function makeCollector(name: string, memory = newMemory(name), patienceMs = 10_000): Promise<TestCollector> {
  const redis = openRedis(server.url, logger)
  const options = { memory, redis, collectorId: name, windowMs: WINDOW_MS, logger, patienceMs }
  const dedupe = new RedisDedupe(options)
  opened.push(redis, dedupe)
  await waitUntil('Redis is there', () => redis.available)
  return { dedupe, memory, redis }
}

function newMemory(name: string): MemoryDedupe {
  return new MemoryDedupe({ idsMax: 100_000, windowMs: WINDOW_MS, keys: new IdKeys(name) })
}

function eventsOf(...numbers: number[]): EventBatch {
  return batchOf(...numbers.map((number) => makeEvent({ eventId: idOf(number) })))
}

function idOf(number: number): string {
  return `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`
}

/** The numbers of the events that are to be appended. */
function freshOf(reservation: Reservation): number[] {
  return eventsIn(reservation.fresh).map((event) => Number.parseInt(event.eventId?.slice(-12) ?? '', 16))
}

function storedFor(number: number): string {
  return sharedId(server, 'tenant:workspace', idOf(number)).state
}

function claimsOf(name: string): number {
  return Number(server.cli('hlen', `penstock:id-claims:${name}`))
}

describe('two collectors', () => {
  test('store an event once: what is durable at one is a duplicate at the other', async () => {
    const [a, b] = [await makeCollector('a'), await makeCollector('b')]
    const first = await a.dedupe.reserve(eventsOf(1, 2))
    expect(freshOf(first)).toEqual([1, 2])
    expect(storedFor(1)).toBe('pa')
    await first.settle(true)
    expect(storedFor(1)).toBe('d')
    expect(claimsOf('a')).toBe(0)
    const second = await b.dedupe.reserve(eventsOf(2, 3, 1))
    expect(freshOf(second)).toEqual([3])
    expect(second).toMatchObject({ duplicates: 2, undecided: 0 })
    expect(second.ids).toHaveLength(3)
    await second.settle(true)
    expect(b.dedupe.stats()).toMatchObject({ duplicates: 2, shared: { duplicates: 2, unasked: 0, undecided: 0 } })
    // Now it is in the memory of both.
    expect(a.dedupe.reserve(eventsOf(1))).not.toBeInstanceOf(Promise)
    const third = b.dedupe.reserve(batchOf(...eventsOf(1).events, makeEvent())) as Reservation
    expect(third).not.toBeInstanceOf(Promise)
    expect(third.duplicates).toBe(1)
    expect(eventsIn(third.fresh)).toMatchObject([{ eventId: undefined }])
  })

  test('have the same ids in other workspaces for other events, and in either case for the same', async () => {
    const [a, b] = [await makeCollector('a'), await makeCollector('b')]
    const id = 'abcdef00-0000-4000-8000-000000000001'
    await (await a.dedupe.reserve(batchOf(makeEvent({ eventId: id })))).settle(true)
    for (const change of [{ tenantId: 'other' }, { workspaceId: 'other' }]) {
      const reservation = await b.dedupe.reserve(batchOf(makeEvent({ eventId: id, ...change })))
      expect(reservation.fresh).toHaveLength(1)
      await reservation.settle(true)
    }
    expect(await b.dedupe.reserve(batchOf(makeEvent({ eventId: id.toUpperCase() })))).toMatchObject({ duplicates: 1 })
  })

  test('wait for each other: a copy is a duplicate when the commit works, and fresh when it fails', async () => {
    const [a, b] = [await makeCollector('a'), await makeCollector('b')]
    for (const [number, durable] of [
      [1, true],
      [2, false],
    ] as const) {
      const first = await a.dedupe.reserve(eventsOf(number))
      const copy = b.dedupe.reserve(eventsOf(number, 10 + number))
      await Bun.sleep(30)
      await first.settle(durable)
      const second = await copy
      expect(freshOf(second)).toEqual(durable ? [10 + number] : [number, 10 + number])
      expect(second).toMatchObject({ duplicates: durable ? 1 : 0, undecided: 0 })
      await second.settle(true)
      expect([storedFor(number), storedFor(10 + number)]).toEqual(['d', 'd'])
    }
    expect([claimsOf('a'), claimsOf('b')]).toEqual([0, 0])
  })

  test('leave a copy undecided when the other does not finish, and forget it', async () => {
    const [a, b] = [await makeCollector('a'), await makeCollector('b', newMemory('b'), 100)]
    const first = await a.dedupe.reserve(eventsOf(1))
    const second = await b.dedupe.reserve(eventsOf(1, 2))
    expect(second.undecided).toBe(1)
    expect(freshOf(second)).toEqual([2])
    await second.settle(true)
    expect(b.dedupe.stats().shared).toMatchObject({ undecided: 1, duplicates: 0 })
    await first.settle(true)
    expect(await b.dedupe.reserve(eventsOf(1, 2))).toMatchObject({ duplicates: 2, undecided: 0 })
  })

  test('decide about many ids in one request', async () => {
    const [a, b] = [await makeCollector('a'), await makeCollector('b')]
    const numbers = Array.from({ length: 5_000 }, (_, number) => number)
    const first = await a.dedupe.reserve(eventsOf(...numbers))
    expect(first.fresh).toHaveLength(5_000)
    await first.settle(true)
    const second = await b.dedupe.reserve(eventsOf(...numbers, 5_000))
    expect(freshOf(second)).toEqual([5_000])
    await second.settle(true)
    expect([claimsOf('a'), claimsOf('b')]).toEqual([0, 0])
  })

  test('with copies of everything at both at once store each event once', async () => {
    const collectors = [await makeCollector('a'), await makeCollector('b'), await makeCollector('c')]
    const random = randomFrom(7)
    const stored = new Map<number, number>()
    const send = async ({ dedupe }: TestCollector, numbers: number[]): Promise<void> => {
      let waiting = eventsOf(...numbers)
      for (let attempt = 0; waiting.length > 0; attempt++) {
        expect(attempt).toBeLessThan(50)
        const reservation = await dedupe.reserve(waiting)
        await Bun.sleep(random() * 3) // the commit
        const isDurable = random() < 0.8
        if (isDurable) for (const number of freshOf(reservation)) stored.set(number, (stored.get(number) ?? 0) + 1)
        await reservation.settle(isDurable)
        await Promise.all(reservation.pending.map(({ settled }) => settled))
        // A client sends the whole request again when it was not acknowledged.
        if (isDurable && reservation.undecided === 0)
          waiting = waiting.pick(reservation.pending.map(({ index }) => index))
      }
    }
    const batches = Array.from({ length: 60 }, (_, batch) => Array.from({ length: 20 }, (_, n) => 10 * batch + n))
    const requests = batches.flatMap((numbers) => collectors.map((collector) => ({ collector, numbers, at: random() })))
    requests.sort((x, y) => x.at - y.at)
    for (let first = 0; first < requests.length; first += 20) {
      await Promise.all(requests.slice(first, first + 20).map(({ collector, numbers }) => send(collector, numbers)))
    }
    expect([...stored.values()].filter((count) => count !== 1)).toEqual([])
    expect(stored.size).toBe(610)
    for (const name of ['a', 'b', 'c']) expect(claimsOf(name)).toBe(0)
  })
})

describe('a collector that died', () => {
  test('and comes back settles what it had claimed: durable when its log has it, else free', async () => {
    const a = await makeCollector('a')
    const inLog = await a.dedupe.reserve(eventsOf(1, 2))
    await a.dedupe.reserve(eventsOf(3))
    expect(claimsOf('a')).toBe(2)
    const memory = newMemory('a')
    memory.restore(new Uint8Array(Int32Array.from(inLog.ids).buffer))
    await makeCollector('a', memory)
    await waitUntil('the claims are settled', () => claimsOf('a') === 0)
    expect([storedFor(1), storedFor(2), storedFor(3)]).toEqual(['d', 'd', ''])
    const b = await makeCollector('b')
    const reservation = await b.dedupe.reserve(eventsOf(1, 2, 3))
    expect(freshOf(reservation)).toEqual([3])
  })

  test('takes its own old claim over when the client comes again', async () => {
    await (await makeCollector('a')).dedupe.reserve(eventsOf(1))
    const a = await makeCollector('a')
    const reservation = await a.dedupe.reserve(eventsOf(1))
    expect(freshOf(reservation)).toEqual([1])
    await waitUntil('the claims of before are settled', () => claimsOf('a') <= 1)
    expect(storedFor(1)).toBe('pa')
    await reservation.settle(true)
    expect(storedFor(1)).toBe('d')
  })

  test('leaves alone what is being committed again when it settles its old claims', async () => {
    const before = await makeCollector('a')
    await before.dedupe.reserve(eventsOf(1))
    server.freeze() // so that the new one gets the event before it settles what the old one left
    const memory = newMemory('a')
    const redis = openRedis(server.url, logger)
    const dedupe = new RedisDedupe({ memory, redis, collectorId: 'a', windowMs: WINDOW_MS, logger })
    opened.push(redis, dedupe)
    const own = memory.reserve(eventsOf(1)) // being committed
    server.thaw()
    await waitUntil('the claims are settled', () => claimsOf('a') === 0)
    expect(storedFor(1)).toBe('pa')
    own.settle(true)
  })

  test('frees only what was its own', async () => {
    const b = await makeCollector('b')
    const reservation = await b.dedupe.reserve(eventsOf(5))
    const before = await makeCollector('a', newMemory('a'), 20)
    expect(await before.dedupe.reserve(eventsOf(5, 6))).toMatchObject({ undecided: 1 })
    await makeCollector('a')
    await waitUntil('the claims are settled', () => claimsOf('a') === 0)
    expect([storedFor(5), storedFor(6)]).toEqual(['pb', ''])
    await reservation.settle(true)
  })

  test('and does not come back holds up its events for a limited time', async () => {
    const a = await makeCollector('a')
    await a.dedupe.reserve(eventsOf(1))
    const leftMs = sharedId(server, 'tenant:workspace', idOf(1)).until - Date.now()
    expect(leftMs).toBeGreaterThan(50_000)
    expect(leftMs).toBeLessThanOrEqual(60_000)
  })
})

describe('when Redis is away', () => {
  test('each collector goes by its memory, and tells the others when Redis is back', async () => {
    const [a, b] = [await makeCollector('a'), await makeCollector('b')]
    await server.kill()
    try {
      await waitUntil('it is noticed', () => !a.redis.available && !b.redis.available)
      const first = await a.dedupe.reserve(eventsOf(1, 2))
      expect(freshOf(first)).toEqual([1, 2])
      await first.settle(true)
      expect(await a.dedupe.reserve(eventsOf(1))).toMatchObject({ duplicates: 1 })
      const failed = await a.dedupe.reserve(eventsOf(3))
      await failed.settle(false)
      expect(a.dedupe.stats().shared).toMatchObject({ unasked: 3, untold: 2, neverTold: 0 })
    } finally {
      await server.start()
    }
    await waitUntil('the others are told', () => a.dedupe.stats().shared?.untold === 0)
    await waitUntil('Redis is there', () => b.redis.available)
    const second = await b.dedupe.reserve(eventsOf(1, 2, 3))
    expect(freshOf(second)).toEqual([3])
    await second.settle(true)
  })

  test('for long, the newest hundred thousand are told', async () => {
    const [a, b] = [await makeCollector('a'), await makeCollector('b')]
    await server.kill()
    try {
      await waitUntil('it is noticed', () => !a.redis.available)
      for (let first = 0; first < 101_000; first += 500) {
        const reservation = await a.dedupe.reserve(eventsOf(...Array.from({ length: 500 }, (_, n) => first + n)))
        await reservation.settle(true)
      }
      const { shared } = a.dedupe.stats()
      expect((shared?.untold ?? 0) + (shared?.neverTold ?? 0)).toBe(101_000)
      expect(shared?.untold).toBeGreaterThan(99_000)
      expect(shared?.untold).toBeLessThanOrEqual(100_000)
    } finally {
      await server.start()
    }
    await waitUntil('the others are told', () => a.dedupe.stats().shared?.untold === 0)
    await waitUntil('Redis is there', () => b.redis.available)
    expect(await b.dedupe.reserve(eventsOf(2_000, 50_000, 100_999))).toMatchObject({ duplicates: 3 })
  })

  test('also between a claim and its commit, nothing fails', async () => {
    const a = await makeCollector('a')
    const reservation = await a.dedupe.reserve(eventsOf(1))
    await Bun.sleep(500) // what there was to tell at the start is told
    await server.kill()
    try {
      await reservation.settle(true)
      expect(a.dedupe.stats().shared?.untold).toBe(1)
    } finally {
      await server.start()
    }
    await waitUntil('the others are told', () => a.dedupe.stats().shared?.untold === 0)
    expect(storedFor(1)).toBe('d')
  })

  test('while a copy is waited for, it stays undecided', async () => {
    const [a, b] = [await makeCollector('a'), await makeCollector('b', newMemory('b'), 1_000)]
    const first = await a.dedupe.reserve(eventsOf(1))
    const copy = b.dedupe.reserve(eventsOf(1, 2))
    await waitUntil('it has asked', () => claimsOf('b') === 1)
    await server.kill()
    try {
      const second = await copy
      expect(second.undecided).toBe(1)
      expect(freshOf(second)).toEqual([2])
      await Promise.all([first.settle(true), second.settle(true)])
    } finally {
      await server.start()
    }
    await waitUntil('the others are told', () => storedFor(1) === 'd' && storedFor(2) === 'd')
    expect(await b.dedupe.reserve(eventsOf(1, 2))).toMatchObject({ duplicates: 2 })
  })

  test('but does not answer, a request waits for a moment only', async () => {
    const a = await makeCollector('a')
    server.freeze()
    try {
      const begun = performance.now()
      const reservation = await a.dedupe.reserve(eventsOf(1))
      expect(freshOf(reservation)).toEqual([1])
      await reservation.settle(true)
      expect(performance.now() - begun).toBeLessThan(5_000)
    } finally {
      server.thaw()
    }
    await waitUntil('the others are told', () => storedFor(1) === 'd')
  })
})
