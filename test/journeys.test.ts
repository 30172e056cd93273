import { expect, test } from 'bun:test'
import type { JourneyQuery } from '../src/journey.ts'
import { Journeys } from '../src/journeys.ts'
import { isProblem } from '../src/problem.ts'

const queryOf = (workspaceId: string, userId = 'u'): JourneyQuery => ({ tenantId: 't', workspaceId, userId, limit: 1 })

/** Reads that end when the test says so. */
function heldReads() {
  const begun: { readonly query: JourneyQuery; end(): void }[] = []
  const journeys = new Journeys((query) => {
    const { promise, resolve } = Promise.withResolvers<{ events: string[]; nextCursor: undefined }>()
    begun.push({ query, end: () => resolve({ events: [query.userId], nextCursor: undefined }) })
    return promise
  })
  const workspaces = () => begun.map(({ query }) => query.workspaceId).join('')
  return { begun, journeys, workspaces }
}

const settle = () => new Promise((resolve) => setImmediate(resolve))

test('one workspace reads three at a time, in the order of its questions', async () => {
  const { begun, journeys } = heldReads()
  const reads = Array.from({ length: 8 }, (_, n) => journeys.read(queryOf('a', `u${n}`)))
  await settle()
  expect(begun.length).toBe(3)
  for (let ended = 0; ended < 8; ended++) {
    begun[ended]?.end()
    await settle()
    expect(begun.length).toBe(Math.min(8, ended + 4))
  }
  const told = (await Promise.all(reads)).map((journey) => (isProblem(journey) ? journey : journey.events[0]))
  expect(told).toEqual(['u0', 'u1', 'u2', 'u3', 'u4', 'u5', 'u6', 'u7'])
})

test('all together read six at a time, and the workspaces take turns', async () => {
  const { begun, journeys, workspaces } = heldReads()
  for (const workspace of 'aaaaaaaaabbbbbbbbbc') void journeys.read(queryOf(workspace))
  await settle()
  expect(workspaces()).toBe('aaabbb')
  for (const read of begun.slice(0, 6)) {
    read.end()
    await settle()
  }
  expect(workspaces().slice(6)).toBe('acabab')
})

test('a workspace may have 64 waiting, one more is refused, and others are not', async () => {
  const { begun, journeys, workspaces } = heldReads()
  const reads = Array.from({ length: 67 }, () => journeys.read(queryOf('a')))
  expect(await journeys.read(queryOf('a'))).toMatchObject({ problem: 'too_many_waiting' })
  void journeys.read(queryOf('b'))
  await settle()
  expect(workspaces()).toBe('aaab')
  for (let n = 0; n < begun.length; n++) {
    begun[n]?.end()
    await settle()
  }
  expect((await Promise.all(reads)).some(isProblem)).toBe(false)
})

test('workspaces of the same name of different tenants have lines of their own', async () => {
  const { begun, journeys } = heldReads()
  for (const tenantId of ['t', 't2']) for (let n = 0; n < 3; n++) void journeys.read({ ...queryOf('a'), tenantId })
  await settle()
  expect(begun.length).toBe(6)
})
