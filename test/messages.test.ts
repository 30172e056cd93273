/** What is said about events is short, whatever clients send: an upload keeps it until its end. */

import { heapStats } from 'bun:jsc'
import { expect, test } from 'bun:test'
import { readDraft } from '../src/draft.ts'
import { Findings } from '../src/event-reading.ts'
import { makeDraft, makeFacts } from './scan/scan-fixture.ts'

const LONG = 1_000_000
const MIB = 1024 * 1024

/** Nested as deep as an object may be, with the longest keys. */
function deep(value: unknown): object {
  let object: Record<string, unknown> = { value }
  for (let level = 1; level < 32; level++) object = { ['k'.repeat(200)]: object }
  return object
}

const LENGTHY = [
  () => ({ timestamp: `2099-01-01T00:00:00.${'0'.repeat(LONG)}Z` }),
  () => ({ timestamp: 'x'.repeat(LONG) }),
  () => ({ type: 'x'.repeat(LONG) }),
  () => ({ type: '\u0000'.repeat(LONG) }),
  () => ({ session_id: 'x'.repeat(LONG) }),
  () => ({ context: { ip: 'x'.repeat(LONG) } }),
  () => ({ properties: deep('x'.repeat(20_000)) }),
  () => ({ properties: deep({ more: 1 }) }),
  () => ({ properties: deep(Number.POSITIVE_INFINITY) }),
]

test('no message repeats much of what was sent', () => {
  for (const changes of LENGTHY) {
    const findings = new Findings()
    readDraft(makeDraft(changes()), 0, makeFacts(), findings)
    const said = JSON.stringify([findings.errors, findings.warnings])
    expect(findings.errors.length + findings.warnings.length).toBeGreaterThan(0)
    expect([changes.toString(), said.length < 1000 ? 0 : said.length]).toEqual([changes.toString(), 0])
  }
})

test('a time in the future is told as it was sent', () => {
  const findings = new Findings()
  readDraft(makeDraft({ timestamp: '2099-01-01T00:00:00Z' }), 0, makeFacts(), findings)
  const message = 'timestamp "2099-01-01T00:00:00Z" lies in the future, the server’s time is used'
  expect(findings.warnings).toEqual([{ index: 0, code: 'timestamp_in_future', message }])
})

test('no message keeps what was sent in memory', () => {
  const findings = new Findings()
  const heldBytes = () => {
    Bun.gc(true)
    const { heapSize, extraMemorySize } = heapStats()
    return heapSize + extraMemorySize
  }
  const before = heldBytes()
  for (let round = 0; round < 10; round++)
    for (const changes of LENGTHY) {
      // As they come out of a body: each a text of its own.
      const draft = JSON.parse(JSON.stringify(makeDraft(changes())))
      readDraft(draft, 0, makeFacts(), findings)
    }
  expect(findings.errors.length + findings.warnings.length).toBeGreaterThan(70)
  expect(heldBytes() - before).toBeLessThan(8 * MIB)
})
