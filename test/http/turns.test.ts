import { expect, test } from 'bun:test'
import { Turns } from '../../src/http/turns.ts'

const KiB = 1024

const nextLook = () => new Promise<void>((resolve) => setImmediate(resolve))

test('a tenant that is alone never waits', () => {
  const turns = new Turns(KiB)
  for (let n = 0; n < 1000; n++) expect(turns.enter('one', 1024 * KiB)).toBe(true)
})

test('a tenant that brings more than its share waits in its own line, in the order it came; others go on at once', async () => {
  const turns = new Turns(100 * 1024 * KiB)
  expect(turns.enter('quiet', 1)).toBe(true)
  const begun: number[] = []
  const entered = Array.from({ length: 10 }, (_, n) => {
    const turn = turns.enter('loud', 64 * KiB)
    return turn === true ? begun.push(n) : (turn as Promise<boolean>).then((mayGoOn) => mayGoOn && begun.push(n))
  })
  expect(begun).toEqual([0, 1])
  expect(turns.enter('quiet', 1)).toBe(true)
  await nextLook()
  await nextLook()
  expect(begun.length).toBeLessThan(10)
  expect(turns.enter('quiet', 1)).toBe(true)
  await Promise.all(entered)
  expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  await nextLook()
  expect(turns.enter('loud', 1)).toBe(true)
})

test('a line that is never empty holds those that wait, and not all that ever waited', async () => {
  const turns = new Turns(100 * 1024 * KiB)
  expect(turns.enter('quiet', 1)).toBe(true)
  let entered = 0
  const keepSending = async () => {
    while (entered++ < 20_000) await turns.enter('loud', 16 * KiB)
  }
  const senders = Array.from({ length: 200 }, keepSending)
  const lines = Reflect.get(turns, 'lines') as Map<string, { waiting: unknown[] }>
  let heldMax = 0
  while (entered < 20_000) {
    turns.enter('quiet', 1)
    await nextLook()
    heldMax = Math.max(heldMax, lines.get('loud')?.waiting.length ?? 0)
  }
  expect(heldMax).toBeLessThan(2000)
  await Promise.all(senders)
})

test('a body that is larger than a share has a turn of its own', async () => {
  const turns = new Turns(100 * 1024 * KiB)
  expect(turns.enter('quiet', 1)).toBe(true)
  expect(turns.enter('loud', 1024 * KiB)).toBe(true)
  expect(await turns.enter('loud', 1024 * KiB)).toBe(true)
})

test('a tenant whose line is full is refused, and no other', () => {
  const turns = new Turns(200 * KiB)
  expect(turns.enter('quiet', 1)).toBe(true)
  expect(turns.enter('loud', 128 * KiB)).toBe(true)
  expect(turns.enter('loud', 128 * KiB)).toBeInstanceOf(Promise)
  expect(turns.enter('loud', 128 * KiB)).toBe(false)
  expect(turns.enter('quiet', 1)).toBe(true)
})

test('bodies whose key is not known share one line, small ones do not wait behind large ones, and no tenant is held up', async () => {
  const turns = new Turns(100 * 1024 * KiB)
  expect(turns.enterUnchecked(1024 * KiB)).toBe(true)
  let begun = 0
  const waiting = Array.from({ length: 4 }, async () => {
    const turn = turns.enterUnchecked(1024 * KiB)
    expect(turn).toBeInstanceOf(Promise)
    expect(await turn).toBe(true)
    begun++
  })
  expect(turns.enterUnchecked(16 * KiB)).toBe(true)
  for (let n = 0; n < 1000; n++) expect(turns.enter('the only tenant', 1024 * KiB)).toBe(true)
  for (let looks = 1; looks <= waiting.length; looks++) {
    await nextLook()
    expect(begun).toBe(looks)
  }
  await Promise.all(waiting)
})

test('small bodies whose key is not known wait for one another', async () => {
  const turns = new Turns(100 * 1024 * KiB)
  for (let n = 0; n < 8; n++) expect(turns.enterUnchecked(16 * KiB)).toBe(true)
  expect(await turns.enterUnchecked(16 * KiB)).toBe(true)
})
