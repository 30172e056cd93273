import { afterAll, beforeAll, expect, test } from 'bun:test'
import { controlBody, type DryRun, prepareDryRun } from '../../src/sink/dry-run.ts'
import { errorClass, UNREADABLE_CODES } from '../../src/sink/error-class.ts'
import { type InsertTarget, insertNative } from '../../src/sink/insert.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { blockBytes, preparedTarget } from './sink-fixture.ts'

let server: TestClickHouse
let target: InsertTarget
let dryRun: DryRun

beforeAll(async () => {
  server = await startTestClickHouse()
  target = await preparedTarget(server)
  const prepared = await prepareDryRun(target)
  if (typeof prepared !== 'function') throw new Error(prepared.failure.message)
  dryRun = prepared
})
afterAll(() => server.stop())

function varuint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
  return Buffer.from([...bytes, rest])
}

function text(value: string): Buffer {
  return Buffer.concat([varuint(Buffer.byteLength(value)), Buffer.from(value)])
}

function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

/** A block of one column. */
function column(name: string, type: string, data: Buffer, rows = 1): Buffer {
  return Buffer.concat([varuint(1), varuint(rows), text(name), text(type), data])
}

function dictionary(index: number, size: number | bigint = 1, version = 1): Buffer {
  return Buffer.concat([u64(version), u64(0x600), u64(size), text('x'), u64(1), Buffer.from([index])])
}

function json(ends: readonly (number | bigint)[], entries: readonly Buffer[], version = 0): Buffer {
  const data = [u64(version), varuint(0), varuint(0), ...ends.map(u64), ...entries]
  return column('properties', 'JSON(max_dynamic_paths=0)', Buffer.concat(data), ends.length)
}

const GOOD = Buffer.from(blockBytes('good', 5))
const LOW_CARDINALITY = 'LowCardinality(String)'
const X = text('\x15\x01x')

const DAMAGED: readonly (readonly [what: string, code: number, body: Buffer])[] = [
  ['a block cut in its last value', 33, GOOD.subarray(0, -1)],
  ['a block cut in the middle', 33, GOOD.subarray(0, GOOD.length >> 1)],
  ['a block cut after its first number', 32, GOOD.subarray(0, 1)],
  ['a good block and then a cut one', 33, Buffer.concat([GOOD, GOOD.subarray(0, 40)])],
  ['text', 62, Buffer.from('this is not a block at all; '.repeat(20))],
  ['ones', 128, Buffer.alloc(1_000, 255)],
  ['absurdly many columns', 128, Buffer.concat([varuint(2 ** 30), varuint(1), text('url')])],
  ['absurdly many rows', 128, column('event_id', 'UUID', Buffer.alloc(16), 2 ** 40)],
  ['more rows than values', 33, column('url', 'String', text('x'), 5)],
  ['a name of absurd length', 131, Buffer.concat([varuint(1), varuint(1), varuint(2 ** 35)])],
  ['a string longer than the block', 33, column('url', 'String', varuint(1_000))],
  ['a string of absurd length', 131, column('url', 'String', varuint(2 ** 40))],
  ['an array of absurd length', 241, column('url', 'Array(String)', u64(2n ** 40n))],
  ['an unknown type', 50, column('url', 'Strinng', text('x'))],
  ['a type that is not written to its end', 62, column('url', 'LowCardinality(', text('x'))],
  ['a type with an unknown time zone', 36, column('occurred_at', "DateTime64(3, 'UPC')", u64(1))],
  ['a type that lacks a parameter', 42, column('url', 'FixedString', text('x'))],
  ['a type nested too deep', 306, column('url', `${'Array('.repeat(5_000)}String${')'.repeat(5_000)}`, u64(0))],
  ['a type with an impossible parameter', 223, column('properties', 'JSON(max_dynamic_paths=100000)', u64(0))],
  ['an array where an address is due', 43, column('ip', 'Array(String)', Buffer.concat([u64(1), text('x')]))],
  ['a number where JSON is due', 53, column('properties', 'UInt64', u64(5))],
  ['text that is no UUID', 376, column('event_id', 'String', text('not an id'))],
  ['text that is no time', 41, column('received_at', 'String', text('yesterday'))],
  ['text that is no JSON', 117, column('properties', 'String', text('{"a":'))],
  ['a dictionary index out of range', 117, column('type', LOW_CARDINALITY, dictionary(9))],
  ['a dictionary of an unknown version', 117, column('type', LOW_CARDINALITY, dictionary(0, 1, 7))],
  ['a dictionary of absurd size', 241, column('type', LOW_CARDINALITY, dictionary(0, 2n ** 50n))],
  ['JSON of an unknown version', 117, json([0], [], 9)],
  ['JSON with absurdly many entries', 241, json([2n ** 40n], [text('a'), X])],
  ['JSON whose rows end before they begin', 117, json([2, 1], [text('a'), text('b'), X, X])],
]

test.each(DAMAGED)(
  '%s is answered with code %i, by the insert and by the dry run, and nothing is stored',
  async (what, code, body) => {
    const request = { body: [body], bodyBytes: body.byteLength }
    const outcome = await insertNative(target, { ...request, token: `damaged/${what}` })
    expect(outcome.outcome === 'failed' && outcome.failure.exceptionCode).toBe(code)
    expect((await dryRun(request))?.exceptionCode).toBe(code)
    expect(errorClass(code)).toBe(code === 241 ? 'retry' : 'unreadable')
    expect((await server.query('SELECT count() FROM events', { database: target.database })).trim()).toBe('0')
  },
)

test('every code of the table is provoked here', () => {
  const provoked = new Set(DAMAGED.map(([, code]) => code))
  expect([...UNREADABLE_CODES.keys()].filter((code) => !provoked.has(code))).toEqual([])
})

test('a code that nobody knows, and a failure without a code, are tried again', () => {
  expect(errorClass(undefined)).toBe('retry')
  expect(errorClass(99_999)).toBe('retry')
  for (const code of [60, 81, 159, 164, 202, 209, 210, 241, 242, 252, 319, 497, 516]) {
    expect(errorClass(code)).toBe('retry')
  }
})

test('what the encoder writes can be read in a dry run, which stores nothing', async () => {
  expect(await dryRun(controlBody(0))).toBeUndefined()
  expect(await dryRun({ body: [GOOD], bodyBytes: GOOD.byteLength })).toBeUndefined()
  expect((await server.query('SELECT count() FROM events', { database: target.database })).trim()).toBe('0')
})
