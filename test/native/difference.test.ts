/**
 * Our encoding against ClickHouse's own parser: the same random objects go in as a Native block and as JSONEachRow, and both must read
 * back as what was sent. What ClickHouse's JSON type cannot hold is taken out of the expectation by `asStored`; docs/architecture.md
 * lists the same.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import fc from 'fast-check'
import { parseJsonExactly } from '../../src/json.ts'
import { EventBlock } from '../../src/native/event-block.ts'
import type { JsonObject } from '../../src/native/json-column.ts'
import { migrate } from '../../src/sink/migrations.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { makeEvent } from '../support/events.ts'

/** What keeps ClickHouse's own parser from changing values: dates out of strings, numbers and strings out of booleans … */
const FAITHFUL_PARSER = {
  input_format_try_infer_dates: '0',
  input_format_try_infer_datetimes: '0',
  input_format_json_read_bools_as_numbers: '0',
  input_format_json_read_bools_as_strings: '0',
  input_format_json_read_numbers_as_strings: '0',
  input_format_json_read_arrays_as_strings: '0',
}

let clickhouse: TestClickHouse
let database: string

beforeAll(async () => {
  clickhouse = await startTestClickHouse()
  database = await clickhouse.createDatabase()
  const connection = { url: clickhouse.url, user: 'default', password: '', database }
  await migrate({ clickhouse: connection, logger: createLogger({ level: 'silent' }) })
  await query('CREATE TABLE parsed (n UInt32, properties JSON(max_dynamic_paths = 0)) ENGINE = MergeTree ORDER BY n')
})

afterAll(() => clickhouse.stop())

const key = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('a', 'b', 'plan', 'amount', 'items', 'user') },
  fc.constantFrom(
    '',
    '.',
    'a.b',
    'a..',
    '__proto__',
    'constructor',
    'toString',
    'ä',
    '😀',
    '0',
    '-1',
    'a b',
    '%',
    '"',
    '\\',
  ),
  fc.string({ unit: 'grapheme', maxLength: 8 }).filter((text) => !text.includes('%2E')),
)

const scalar = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  fc.constantFrom(
    '2026-11-20',
    '2026-11-20T08:00:00Z',
    '12',
    'true',
    'null',
    '',
    'x'.repeat(200),
    'ü'.repeat(70),
    '\u0000',
    '\t"\\',
  ),
  fc.boolean(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc
    .double({ noNaN: true, noDefaultInfinity: true })
    .filter((value) => !Number.isInteger(value) || Math.abs(value) < 2 ** 53),
  fc.constantFrom(0.1, 1e-300, 5e-324, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 1.5e21),
)

/** Integers that a double cannot hold. */
const wideInteger = fc.oneof(fc.bigInt(2n ** 53n, 2n ** 64n - 1n), fc.bigInt(-(2n ** 63n), -(2n ** 53n)))

const nestedValue = fc.letrec<{ value: unknown; object: Record<string, unknown> }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalar,
    fc.constant(null),
    fc.array(fc.oneof(fc.integer(), fc.constant(null)), { maxLength: 4 }),
    fc.array(fc.oneof(fc.string({ maxLength: 5 }), fc.constant(null)), { maxLength: 4 }),
    fc.array(tie('value'), { maxLength: 4 }),
    tie('object'),
  ),
  object: fc.array(fc.tuple(key, tie('value')), { maxLength: 6 }).map(objectOf),
}))

test('random objects read back as they were sent, by our encoding and by ClickHouse’s parser alike', async () => {
  const object = fc
    .tuple(nestedValue.object, fc.option(wideInteger, { nil: undefined }))
    .map(([value, wide]) => (wide === undefined ? value : { ...value, wide }))
  await fc.assert(
    fc.asyncProperty(fc.array(object, { minLength: 1, maxLength: 60 }), async (objects) => {
      const texts = objects.map(textOf)
      const wanted = objects.map((value) => canonical(asStored(value)))
      expect(await throughNative(texts)).toEqual(wanted)
      const kept = objects.filter(parserKeeps)
      const wantedOfParser = kept.map((value) => canonical(asStored(value)).replaceAll(/-0\.0(?!\d)/g, '0'))
      expect(await throughParser(kept.map(textOf))).toEqual(wantedOfParser)
    }),
    { numRuns: 60 },
  )
})

test('what ClickHouse’s parser refuses or changes goes in unharmed', async () => {
  const objects = [
    { high: '\ud800', low: 'a\udc00b', '\udfff': 1 },
    { mixed: [18446744073709551615n, 1.5, -1, '1', true, null, [1, [2n ** 60n]], { x: { y: [{ z: null }] } }] },
    { huge: 123456789012345680000, minusZero: -0 },
    { 'a%2Eb': 1, c: 2 },
    { nested: [[], [[]], [{}], [{ '': 1, 'a.b': 2, a: { b: 3 } }]] },
  ]
  const wanted = [
    { high: '\ufffd', low: 'a\ufffdb', '\ufffd': 1 },
    objects[1],
    objects[2],
    { 'a.b': 1, c: 2 },
    objects[4],
  ].map((value) => canonical(asStored(value)))
  expect(await throughNative(objects.map(textOf))).toEqual(wanted)
})

test('of two spellings of one path the first stays', async () => {
  expect(await throughNative(['{"a.b":1,"a%2Eb":2}', '{"a":[{"a.b":1,"a%2Eb":2}]}'])).toEqual([
    '{"a.b":1}',
    '{"a":[{"a.b":1}]}',
  ])
})

test('keys that differ in lone surrogates alone are one, wherever they stand', async () => {
  const SIBLINGS = [
    ['{"\\ud800":1,"\\ud801":2}', '{"\ufffd":1}'],
    ['{"\\ufffd":1,"\\udfff":"x","\\ud800":[]}', '{"\ufffd":1}'],
    ['{"\\ud83d\\ude00":1,"\\ude00\\ud83d":2,"\\ufffd\\udc00":3}', '{"\u{1f600}":1,"\ufffd\ufffd":2}'],
    ['{"x\\ud800.":1,"x\\udc00%2E":2}', '{"x\ufffd.":1}'],
    ['{"\\ud800":{"b":1,"\\udfff":2},"\\ud801":{"b":3,"\\ud800":4,"c":5}}', '{"\ufffd":{"b":1,"c":5,"\ufffd":2}}'],
  ] as const
  const PLACES = ['@', '{"a":[@]}', '{"a":[@,1]}', '{"q":{"w":[[@],[{"e":[@]}]]}}']
  for (const place of PLACES)
    expect(await throughNative(SIBLINGS.map(([sent]) => place.replaceAll('@', sent)))).toEqual(
      SIBLINGS.map(([, stored]) => place.replaceAll('@', stored)),
    )
})

/** Encodes the texts, as the pipeline would, and reads them back from table `events`. */
async function throughNative(texts: readonly string[]): Promise<string[]> {
  await query('TRUNCATE TABLE events')
  const block = new EventBlock()
  for (const [index, text] of texts.entries()) {
    const properties = parseJsonExactly(text) as JsonObject
    block.append(makeEvent({ messageId: String(index), properties, context: { again: properties } }))
  }
  const bytes = new Uint8Array(block.byteLength)
  block.writeTo(bytes, 0)
  await insert('INSERT INTO events FORMAT Native', bytes)
  const rows = await read('SELECT properties, context.^again AS again FROM events ORDER BY toUInt32(message_id)')
  for (const row of rows) expect(canonical(row.again)).toBe(canonical(row.properties))
  return rows.map((row) => canonical(row.properties))
}

async function throughParser(texts: readonly string[]): Promise<string[]> {
  if (texts.length === 0) return []
  await query('TRUNCATE TABLE parsed')
  const lines = texts.map((text, index) => `{"n":${index},"properties":${text}}`).join('\n')
  await insert('INSERT INTO parsed FORMAT JSONEachRow', Buffer.from(lines), FAITHFUL_PARSER)
  const rows = await read('SELECT properties FROM parsed ORDER BY n')
  return rows.map((row) => canonical(row.properties))
}

async function read(select: string): Promise<Record<string, unknown>[]> {
  const body = await query(`${select} FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0`)
  return body
    .split('\n')
    .filter(Boolean)
    .map((line) => parseJsonExactly(line) as Record<string, unknown>)
}

function query(sql: string): Promise<string> {
  return clickhouse.query(sql, { database })
}

async function insert(sql: string, body: Uint8Array, settings: Record<string, string> = {}): Promise<void> {
  const url = `${clickhouse.url}/?${new URLSearchParams({ query: sql, database, ...settings })}`
  const response = await fetch(url, { method: 'POST', body })
  if (!response.ok) throw new Error(await response.text())
}

/** An object with own keys only, `__proto__` among them, as JSON.parse makes it. */
function objectOf(entries: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  const object: Record<string, unknown> = {}
  for (const [name, value] of entries)
    Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true })
  return object
}

function textOf(value: unknown): string {
  if (typeof value === 'bigint') return String(value)
  if (Object.is(value, -0)) return '-0.0'
  if (Array.isArray(value)) return `[${value.map(textOf).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  return `{${Object.keys(value)
    .map((name) => `${JSON.stringify(name)}:${textOf((value as JsonObject)[name])}`)
    .join(',')}}`
}

/** What ClickHouse's JSON type keeps: a null is as good as absent, an empty object too (but not as an element of an array). */
function asStored(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asStored)
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.keys(value)
    .map((name) => [name, asStored((value as JsonObject)[name])] as const)
    .filter(([, stored]) => stored !== null && !isEmptyObject(stored))
  return objectOf(kept)
}

/** ClickHouse's parser makes [] or {} of a null between arrays or objects, also in neighbouring arrays; our encoding keeps it. */
function parserKeeps(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true
  const values = Object.values(value)
  const arrays = Array.isArray(value) ? value.filter(Array.isArray) : []
  if (arrays.length > 1 && !parserKeeps(arrays.flat())) return false
  if (
    Array.isArray(value) &&
    values.includes(null) &&
    values.some((element) => typeof element === 'object' && element !== null)
  )
    return false
  return values.every(parserKeeps)
}

function isEmptyObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0
}

/** Text that is the same for equal values: keys sorted, -0 told from 0. */
function canonical(value: unknown): string {
  if (Object.is(value, -0)) return '-0.0'
  if (typeof value === 'bigint') return String(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const names = Object.keys(value).sort()
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical((value as JsonObject)[name])}`).join(',')}}`
}
