/** Random calls of Segment's API over real HTTP, many of them nearly good, and afterwards an exact account: accepted = stored. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import fc from 'fast-check'
import { CALL_TYPES } from '../../src/protocols/segment-schema.ts'
import { type Collector, startCollector } from '../support/collector.ts'

const RUNS = 1_500
const SEED = Math.floor(Math.random() * 2 ** 31)

let collector: Collector

beforeAll(async () => {
  collector = await startCollector()
})

afterAll(async () => {
  await collector.stop()
  collector.home.remove()
})

const TIMES = ['2026-11-20T10:00:00Z', '1970-01-01', '2199-01-01T00:00:00Z', '2026-11-20']

/** A field of a call, as it should be or as it should not. Without ids of calls: a copy would be accepted and not stored again. */
const field = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('a', 'ä'.repeat(200), '', '\ud800', ...TIMES, 'x'.repeat(300)) },
  fc.constantFrom(null, true, 0, -1, 1.5, 2 ** 60, {}, [], { ip: '::1', locale: 5 }, { page: { url: 'a', path: 7 } }),
  fc.constantFrom({ traits: { a: 1 }, sessionId: 12 }, { traits: 'x', sessionId: {}, channel: [] }, { page: [] }),
  fc.jsonValue({ maxDepth: 4 }),
)

const FIELDS = [
  ...['type', 'event', 'name', 'category', 'groupId', 'previousId', 'userId', 'anonymousId', 'properties', 'traits'],
  ...['context', 'integrations', 'timestamp', 'originalTimestamp', 'sentAt', 'channel', '__proto__', 'extra'],
]

const changes = fc.array(fc.tuple(fc.constantFrom(...FIELDS), fc.option(field, { nil: undefined })), { maxLength: 3 })

/** A good call with up to three fields changed or taken away. */
const call = fc.tuple(fc.constantFrom(...CALL_TYPES), changes).map(([type, changed]) => ({
  ...{ type, userId: 'u', event: 'x', groupId: 'g', previousId: 'p', timestamp: '2026-11-20T10:00:00Z' },
  ...Object.fromEntries(changed),
}))

const batch = fc.record(
  {
    batch: fc.oneof({ weight: 8, arbitrary: fc.array(fc.oneof(call, fc.jsonValue()), { maxLength: 8 }) }, field),
    context: field,
    sentAt: field,
  },
  { requiredKeys: ['batch'] },
)

const request = fc.oneof(
  fc.tuple(fc.constant('/v1/batch'), batch),
  fc.tuple(
    fc.constantFrom(...CALL_TYPES.map((type) => `/v1/${type}`)),
    fc.oneof({ weight: 8, arbitrary: call }, field),
  ),
)

test(`${RUNS} random requests: 200, 400 or 413 and nothing else; what was accepted is stored, no more and no less (seed ${SEED})`, async () => {
  const statuses: Record<number, number> = {}
  let rejected = 0
  const property = fc.asyncProperty(request, async ([path, body]) => {
    const response = await collector.post(JSON.stringify(body), {}, path)
    statuses[response.status] = (statuses[response.status] ?? 0) + 1
    expect([200, 400, 413]).toContain(response.status)
    const answer = (await response.json()) as { success?: boolean; rejected?: number; error?: object }
    expect([answer.success, answer.error === undefined]).toEqual(
      response.status === 200 ? [true, true] : [undefined, false],
    )
    rejected += answer.rejected ?? 0
  })
  await fc.assert(property, { numRuns: RUNS, seed: SEED, endOnFailure: true })
  expect(statuses[200]).toBeGreaterThan(RUNS / 10)
  expect(statuses[400]).toBeGreaterThan(RUNS / 10)
  expect(rejected).toBeGreaterThan(0)
  await collector.flushed()
  const { accepted } = (await collector.stats()).events
  expect(await collector.query('SELECT count() FROM events')).toBe(`${accepted}\n`)
  expect(collector.lines.filter(({ level }) => /error|fatal/.test(level))).toEqual([])
  expect(collector.stderr).toBe('')
})
