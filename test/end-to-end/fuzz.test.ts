/** Random requests over real HTTP, among them many that are nearly good, and afterwards an exact account: accepted = stored. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import zlib from 'node:zlib'
import fc from 'fast-check'
import { type Collector, startCollector } from '../support/collector.ts'
import { makeDraft } from '../support/event-drafts.ts'

const RUNS = 3_000
const SEED = Math.floor(Math.random() * 2 ** 31)

let collector: Collector

beforeAll(async () => {
  collector = await startCollector()
})

afterAll(async () => {
  await collector.stop()
  collector.home.remove()
})

/** A field of an event, as it should be or as it should not. */
const field = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom('a', 'ä'.repeat(200), '', '\ud800', '2026-11-20T10:00:00Z', 'x'.repeat(300)),
  },
  fc.constantFrom(null, true, 0, -1, 1e308, {}, [], { ip: '::1' }, { ip: 'x' }, { toString: 1 }),
  fc.jsonValue({ maxDepth: 4 }),
)

const FIELDS = [
  'type',
  'timestamp',
  'session_id',
  'event_id',
  'user_id',
  'anonymous_id',
  'schema_version',
  'properties',
  'context',
  '__proto__',
  'extra',
]

/** A good event with up to three fields changed or taken away. */
const draft = fc
  .array(fc.tuple(fc.constantFrom(...FIELDS), fc.option(field, { nil: undefined })), { maxLength: 3 })
  .map((changes) => makeDraft(Object.fromEntries(changes)))

const properties = fc.dictionary(fc.string({ unit: 'binary', maxLength: 12 }), fc.jsonValue({ maxDepth: 5 }), {
  maxKeys: 8,
})
const good = properties.map((changed) => makeDraft({ properties: changed }))
const events = fc.array(fc.oneof(draft, good, fc.jsonValue()), { maxLength: 8 })

/** Bytes changed, inserted or cut away. */
const mutations = fc.array(
  fc.tuple(fc.nat(), fc.constantFrom('change', 'insert', 'cut', 'repeat'), fc.integer({ min: 0, max: 255 })),
  { maxLength: 3 },
)

const ENCODERS: [string | undefined, (bytes: Buffer) => Buffer][] = [
  [undefined, (bytes) => bytes],
  ['gzip', zlib.gzipSync],
  ['deflate', zlib.deflateSync],
  ['deflate', zlib.deflateRawSync],
  ['br', (bytes) => zlib.brotliCompressSync(bytes, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } })],
  ['zstd', zlib.zstdCompressSync],
]

const request = fc.record({
  events,
  isNdjson: fc.boolean(),
  encoder: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat({ max: ENCODERS.length - 1 })),
  before: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, mutations),
  after: fc.oneof({ weight: 6, arbitrary: fc.constant([]) }, mutations),
})

function mutate(bytes: Buffer, changes: readonly (readonly [number, string, number])[]): Buffer {
  let mutated = bytes
  for (const [where, how, byte] of changes) {
    const at = where % (mutated.length + 1)
    const [head, tail] = [mutated.subarray(0, at), mutated.subarray(at)]
    if (how === 'change' && tail.length > 0) mutated = Buffer.concat([head, Buffer.from([byte]), tail.subarray(1)])
    else if (how === 'insert') mutated = Buffer.concat([head, Buffer.from([byte]), tail])
    else if (how === 'cut') mutated = Buffer.from(head)
    else mutated = Buffer.concat([head, tail, tail.subarray(0, byte)])
  }
  return mutated
}

test(`${RUNS} random requests: 201, 400 or 413 and nothing else; what was accepted is stored, no more and no less (seed ${SEED})`, async () => {
  let accepted = 0
  let rejected = 0
  const statuses: Record<number, number> = {}
  const property = fc.asyncProperty(request, async (made) => {
    const text = made.isNdjson
      ? made.events.map((event) => JSON.stringify(event)).join('\n')
      : JSON.stringify({ events: made.events })
    const [encoding, encode] = ENCODERS[made.encoder] ?? [undefined, (bytes: Buffer) => bytes]
    const body = mutate(encode(mutate(Buffer.from(text), made.before)), made.after)
    const response = await collector.post(new Uint8Array(body), {
      ...(made.isNdjson ? { 'content-type': 'application/x-ndjson' } : {}),
      ...(encoding === undefined ? {} : { 'content-encoding': encoding }),
    })
    statuses[response.status] = (statuses[response.status] ?? 0) + 1
    expect([201, 400, 413]).toContain(response.status)
    const answer = (await response.json()) as { accepted?: number; rejected?: number; error?: { accepted?: number } }
    accepted += answer.accepted ?? answer.error?.accepted ?? 0
    rejected += answer.rejected ?? 0
  })
  await fc.assert(property, { numRuns: RUNS, seed: SEED, endOnFailure: true })
  expect(statuses[201]).toBeGreaterThan(RUNS / 10)
  expect(statuses[400]).toBeGreaterThan(RUNS / 10)
  expect(rejected).toBeGreaterThan(0)
  await collector.flushed()
  expect((await collector.stats()).events.accepted).toBe(accepted)
  expect(await collector.query('SELECT count() FROM events')).toBe(`${accepted}\n`)
  expect(collector.lines.filter(({ level }) => /error|fatal/.test(level))).toEqual([])
  expect(collector.stderr).toBe('')
}, 120_000)
