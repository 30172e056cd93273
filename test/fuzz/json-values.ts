/** JSON bodies: valid ones out of JSON Schema, the same with one thing wrong, and wild ones. */
import fc from 'fast-check'
import type { Draw } from './draw.ts'

/** The part of JSON Schema that the OpenAPI document uses. */
export interface Schema {
  readonly type?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly minItems?: number
  readonly anyOf?: readonly Schema[]
  readonly const?: unknown
  readonly examples?: readonly unknown[]
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly $ref?: string
}

/** What a property of this name has to be beyond what its schema says. */
export type Hints = Readonly<Record<string, fc.Arbitrary<unknown>>>

const ARRAY_ITEMS_MAX = 4
const NUMBER_MAX = 1e6
const KEY_CHARS_MAX = 256

const CRUEL_TEXTS: readonly string[] = [
  ...['', ' ', '\0', 'a\0b', '\ud800', '\udfff\ud800', '😀', '\ufeff', '\ufffd', '\u202e', '\r\nX-Injected: 1'],
  ...['__proto__', 'constructor', 'toString', 'null', 'NaN', '%00', '%s%n', '../../etc/passwd', '<script>'],
  ...["'; DROP TABLE events; --", '\\', '"', '{"a":1}', '0'.repeat(36), 'A'.repeat(100), 'x'.repeat(101)],
  ...['x'.repeat(256), 'x'.repeat(257), 'ä'.repeat(5_121), 'x'.repeat(10_240), 'x'.repeat(10_241), '😀'.repeat(2_600)],
  ...['1899-12-31T23:59:59Z', '1900-01-01', '2299-12-31T23:59:59.999Z', '2300-01-01', '2026-02-30', '9999-99-99'],
  ...['2026-11-20T23:59:60Z', '2026-11-20T10:00:00+24:00', '2026-11-20T10:00:00.123456789Z', '20261120T100000Z'],
  ...[
    '018F2F5E-5C1A-7C3E-9D2B-3F4A5B6C7D8E',
    '00000000-0000-0000-0000-000000000000',
    '018f2f5e5c1a7c3e9d2b3f4a5b6c7d8e',
  ],
  ...[
    '::1',
    '999.1.1.1',
    '1.2.3.4:80',
    'http://[::1',
    'https://a b/',
    'javascript:alert(1)',
    `https://x/${'y'.repeat(5_000)}`,
  ],
]

const CRUEL_KEYS: readonly string[] = [
  ...['', '__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'length', '0', '-1', 'then', 'toJSON'],
  ...['a.b', '.', '..', 'a..b', '.a', 'a.', ' ', '\0', '\ufffd', '😀', '%2E', '`', "'", '"', '\\', '\n'],
  ...['\ud800', '\ud801', '\udfff', 'a\ud800', 'a\udc00'],
  ...['k'.repeat(256), 'k'.repeat(257), 'tenant_id', 'workspace_id'],
]
/** These mean something in one protocol or another. */
const MEANT_KEYS: readonly string[] = ['siteId', 'writeKey', 'events', 'batch', 'event', 'type', 'id', 'eventId']
const ANY_KEYS = [...CRUEL_KEYS, ...MEANT_KEYS]

const DEPTH = 100_000

/** What `JSON.stringify` does not write; stands in a value as a text made by `raw`. */
const RAW_TOKENS: readonly string[] = [
  ...[
    'NaN',
    'Infinity',
    '-Infinity',
    '1e400',
    '-1e400',
    '-0',
    '1e-400',
    '0.1e1',
    '01',
    '+1',
    '.5',
    '1.',
    '0x10',
    '1_0',
  ],
  ...['12345678901234567890', '18446744073709551615', '18446744073709551616', '-9223372036854775808', '9'.repeat(400)],
  ...['9007199254740993', '-9223372036854775809', '1e308', '5e-324', 'undefined', 'True', "'x'", '/*c*/1', '', '1 2'],
  ...[
    '{"a":1,"a":2}',
    '{"a":{"b":1},"a.b":2}',
    '{"a":[{"\\ud800":1,"\\ud801":2,"\\ufffd":{"b":3}},[{"a.b":1,"a%2Eb":2}]]}',
    '{"":{"":{"":0}}}',
    '{"__proto__":{"x":1},"constructor":{"prototype":1}}',
  ],
  ...['"\\ud800"', '"\\u0000"', '"\\x41"', '"\t"', '"\\', '"', '[1,]', '{"a":1,}', '[[],{},[{}],[[]],null]', '\ufeff1'],
  ...['['.repeat(33) + ']'.repeat(33), `${'{"a":'.repeat(40)}1${'}'.repeat(40)}`, `[${'0,'.repeat(2_500)}0]`],
]
/** These are large: they come seldom. */
const DEEP_TOKENS: readonly string[] = [
  '['.repeat(DEPTH) + ']'.repeat(DEPTH),
  `${'{"a":'.repeat(DEPTH / 2)}1${'}'.repeat(DEPTH / 2)}`,
  '['.repeat(DEPTH),
]
const TOKENS = [...RAW_TOKENS, ...DEEP_TOKENS]
const raw = (index: number) => `@raw@${index}@`

const STORABLE_KEYS = CRUEL_KEYS.filter(({ length }) => length <= KEY_CHARS_MAX)
const key = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('a', 'b', 'plan', 'price', 'items', 'ä', 'long key') },
  { weight: 2, arbitrary: fc.constantFrom(...STORABLE_KEYS) },
  fc.string({ unit: 'binary', maxLength: 12 }),
)
const scalar = fc.oneof(
  fc.constantFrom(null, true, false, 0, -1, 1.5, 1e308, 2 ** 53, -(2 ** 63), 'text', ...CRUEL_TEXTS),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
)

/** Any object that may be stored. */
const dictionary: fc.Arbitrary<unknown> = fc.dictionary(
  key,
  fc.oneof({ weight: 4, arbitrary: scalar }, fc.jsonValue({ maxDepth: 4 })),
  { maxKeys: 6 },
)

const wild = fc.oneof(fc.jsonValue({ maxDepth: 6 }), scalar, fc.array(dictionary, { maxLength: 5 }), dictionary)

/** A value that the schema allows. */
export function validValue(schema: Schema, hints: Hints, draw: Draw, name = ''): unknown {
  const hint = hints[name]
  if (hint !== undefined) return draw.sample(hint)
  if ('const' in schema) return schema.const
  if (schema.anyOf !== undefined) return validValue(draw.pick(schema.anyOf), hints, draw, name)
  const { examples = [] } = schema
  switch (schema.type) {
    case 'object':
      return Object.keys(schema.properties ?? {}).length === 0 ? draw.sample(dictionary) : objectOf(schema, hints, draw)
    case 'array': {
      const length = draw.integer(schema.minItems ?? 0, ARRAY_ITEMS_MAX)
      return Array.from({ length }, () => validValue(schema.items ?? {}, hints, draw))
    }
    case 'string': {
      if (examples.length > 0 && draw.chance(0.5)) return draw.pick(examples)
      const { minLength = 0, maxLength = 200 } = schema
      return draw.sample(fc.string({ unit: 'binary', minLength, maxLength: Math.min(maxLength, 40) }))
    }
    case 'integer':
      return draw.integer(schema.minimum ?? 0, schema.maximum ?? NUMBER_MAX)
    case 'number':
      return draw.sample(fc.double({ min: schema.minimum ?? 0, max: schema.maximum ?? NUMBER_MAX, noNaN: true }))
    case 'boolean':
      return draw.chance(0.5)
    case 'null':
      return null
    default:
      return draw.sample(wild)
  }
}

function objectOf({ properties = {}, required = [] }: Schema, hints: Hints, draw: Draw): Record<string, unknown> {
  const object: Record<string, unknown> = {}
  for (const [name, schema] of Object.entries(properties))
    if (required.includes(name) || draw.chance(0.5)) define(object, name, validValue(schema, hints, draw, name))
  const more = draw.pick(STORABLE_KEYS)
  if (draw.chance(0.05)) define(object, more, draw.sample(scalar))
  return object
}

/** Any JSON at all. */
export function wildValue(draw: Draw): unknown {
  return draw.sample(wild)
}

/** The value with one thing in it taken away, put in another's place, added, or called by another name. Changes it. */
export function spoil(value: unknown, draw: Draw): unknown {
  const places: [holder: object, key: string][] = []
  gather(value, places)
  if (places.length === 0 || draw.chance(0.03)) return spoiled(draw)
  const [holder, name] = draw.pick(places)
  const fields = holder as Record<string, unknown>
  switch (
    draw.weighted([[2, 'delete'] as const, [6, 'replace'] as const, [2, 'add'] as const, [1, 'rename'] as const])
  ) {
    case 'delete':
      if (Array.isArray(holder)) holder.splice(Number(name), 1)
      else delete fields[name]
      break
    case 'replace':
      define(holder, name, spoiled(draw))
      break
    case 'add':
      if (Array.isArray(holder)) holder.push(spoiled(draw))
      else define(holder, draw.pick(ANY_KEYS), spoiled(draw))
      break
    case 'rename': {
      const renamed = fields[name]
      if (!Array.isArray(holder)) delete fields[name]
      define(holder, Array.isArray(holder) ? name : draw.pick(ANY_KEYS), renamed)
    }
  }
  return value
}

function gather(value: unknown, places: [object, string][]): void {
  if (typeof value !== 'object' || value === null || places.length > 500) return
  for (const name of Object.keys(value)) {
    places.push([value, name])
    gather((value as Record<string, unknown>)[name], places)
  }
}

/** As JSON has it: `__proto__` is a key like any other. */
function define(object: object, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true })
}

function spoiled(draw: Draw): unknown {
  return draw.weighted<() => unknown>([
    [
      4,
      () => draw.pick<unknown>([null, true, false, 0, -1, 1.5, 2 ** 53, -1e308, [], {}, [[]], [null], { toString: 1 }]),
    ],
    [4, () => draw.pick(CRUEL_TEXTS)],
    [3, () => raw(draw.integer(0, RAW_TOKENS.length - 1))],
    [0.05, () => raw(draw.integer(RAW_TOKENS.length, TOKENS.length - 1))],
    [2, () => draw.sample(dictionary)],
    [1, () => draw.sample(wild)],
    [0.1, () => Object.fromEntries(Array.from({ length: 2_001 }, (_, n) => [`k${n}`, n]))],
  ])()
}

/** The value as JSON text, with what stands for tokens that JSON has not. */
export function toText(value: unknown): string {
  return (JSON.stringify(value) ?? 'null').replaceAll(/"@raw@(\d+)@"/g, (_, index) => TOKENS[Number(index)] ?? '')
}

/** Bytes changed, inserted, cut away or repeated. */
export function spoilBytes(bytes: Uint8Array, draw: Draw): Uint8Array {
  let spoilt = Buffer.from(bytes)
  for (let count = draw.integer(1, 3); count > 0; count--) {
    const at = draw.integer(0, spoilt.length)
    const [head, tail] = [spoilt.subarray(0, at), spoilt.subarray(at)]
    const byte = Buffer.from([draw.integer(0, 255)])
    switch (draw.pick(['change', 'insert', 'cut', 'repeat'] as const)) {
      case 'change':
        spoilt = Buffer.concat([head, byte, tail.subarray(1)])
        break
      case 'insert':
        spoilt = Buffer.concat([head, byte, tail])
        break
      case 'cut':
        spoilt = Buffer.from(head)
        break
      case 'repeat':
        spoilt = Buffer.concat([head, tail, tail.subarray(0, draw.integer(0, 255))])
    }
  }
  return spoilt
}
