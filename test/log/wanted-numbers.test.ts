import { afterEach, expect, test } from 'bun:test'
import { rmSync } from 'node:fs'
import type { EventLog } from '../../src/log/event-log.ts'
import { MemoryLog } from '../../src/log/memory-log.ts'
import { WriteAheadLog } from '../../src/log/write-ahead-log.ts'
import { blockOf, logOptions, MIB, temporaryDirectory } from './support.ts'

const isEven = (number: number) => number % 2 === 0
const isOdd = (number: number) => number % 2 === 1

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const LOGS: Record<string, (flushIntervalMs: number) => Promise<EventLog>> = {
  'on disk': (flushIntervalMs) => {
    const directory = temporaryDirectory()
    cleanups.push(() => rmSync(directory, { recursive: true }))
    return WriteAheadLog.open(logOptions(directory, { flushIntervalMs }))
  },
  'in memory': async (flushIntervalMs) => new MemoryLog({ segmentBytes: MIB, ringBytes: 2 * MIB, flushIntervalMs }),
}

for (const [where, open] of Object.entries(LOGS)) {
  test(`a log ${where} hands out the oldest segment of those that are wanted, and the others to who wants them`, async () => {
    const log = await open(3_600_000)
    cleanups.push(() => log.dispose())
    const first = log.nextNumber
    for (const content of ['a', 'b', 'c', 'd']) {
      await log.commit([blockOf(content)])
      await log.seal()
    }
    expect(log.nextNumber).toBe(first + 4)
    const taken = async (isWanted?: (number: number) => boolean) => (await log.takeSealed(isWanted))?.number
    expect(await taken(isOdd)).toBe(first + 1)
    expect(await taken(isOdd)).toBe(first + 3)
    const waiting = taken(isOdd)
    expect(await taken()).toBe(first)
    expect(await taken(isEven)).toBe(first + 2)
    for (const content of ['e', 'f']) {
      await log.commit([blockOf(content)])
      await log.seal()
    }
    expect(await waiting).toBe(first + 5)
    expect(log.stats().segmentsWaiting).toBe(1)
    const never = taken(isOdd)
    await log.close()
    expect(await never).toBeUndefined()
    expect(await taken(isEven)).toBe(first + 4)
    expect(await taken()).toBeUndefined()
  })

  test(`a log ${where} goes on sealing by age while one who takes has nothing to do, although another is behind`, async () => {
    const log = await open(10)
    cleanups.push(() => log.dispose())
    const first = log.nextNumber
    const odd = log.takeSealed(isOdd)
    await log.commit([blockOf('a')])
    while (log.stats().segmentsWaiting === 0) await Bun.sleep(1)
    await log.commit([blockOf('b')])
    expect((await odd)?.number).toBe(first + 1)
    expect(log.stats().segmentsWaiting).toBe(1)
  })
}
