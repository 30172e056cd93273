import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { canonicalJson, parseJson, parseJsonExactly } from '../src/json.ts'
import { jsonErrorPosition } from '../src/json-position.ts'

describe('the position of an error', () => {
  test.each([
    ['', 0],
    ['   ', 3],
    ['{', 1],
    ['}', 0],
    ['[1,', 3],
    ['[1,]', 3],
    ['[,1]', 1],
    ['[1 2]', 3],
    ['[1}', 2],
    ['{"a"}', 4],
    ['{"a":}', 5],
    ['{"a":1,}', 7],
    ['{a:1}', 1],
    ['{1:2}', 1],
    ['{"a" "b"}', 5],
    ['{"a":1]', 6],
    ['"abc', 4],
    ['"a\tb"', 2],
    ['"\\u12g4"', 1],
    ['"\\', 1],
    ['"\\u00e', 1],
    ['"\\u00eA\\/\\', 9],
    ['01', 1],
    ['1.', 1],
    ['.5', 0],
    ['+1', 0],
    ['-', 0],
    ['1e', 1],
    ['-1.5e+7x', 7],
    ['1E-', 1],
    ['[10,-0.25e3,', 12],
    ['truefalse', 4],
    ['True', 0],
    ['nul', 0],
    ['[null,false,true,]', 17],
    ['[0\u0000', 2],
    ['NaN', 0],
    ['Infinity', 0],
    ['{} {}', 3],
    ['[1] // no comments', 4],
    ["['a']", 1],
    ['\u00a0[]', 0],
    ['{"😀":x}', 6],
  ])('of %j is %i', (text, position) => {
    expect(parseJson(text)).toHaveProperty('malformed')
    expect(jsonErrorPosition(text)).toBe(position)
  })

  test('is where random JSON was broken by a character that can stand nowhere, and told as line and column', () => {
    const json = fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.stringify(value, undefined, 1))
    fc.assert(
      fc.property(json, fc.nat(), (text, where) => {
        const at = where % (text.length + 1)
        const broken = `${text.slice(0, at)}\u0001${text.slice(at)}`
        // In a literal or number, or behind a backslash, the error already begins where that does.
        const position = jsonErrorPosition(broken)
        expect(position).toBeLessThanOrEqual(at)
        expect(position).toBeGreaterThanOrEqual(at - 25)
        const lines = broken.slice(0, position).split('\n')
        const told = `at position ${position} (line ${lines.length}, column ${(lines.at(-1) ?? '').length + 1})`
        expect(parseJson(broken)).toEqual({ malformed: expect.stringContaining(told) })
      }),
      { numRuns: 500 },
    )
  })

  test('is found in every text that the engine refuses, within the text', () => {
    const mutated = fc
      .tuple(fc.json({ maxDepth: 3 }), fc.nat(), fc.nat(), fc.string({ maxLength: 2 }))
      .map(([text, from, count, put]) => {
        const at = from % (text.length + 1)
        return text.slice(0, at) + put + text.slice(at + (count % 3))
      })
    fc.assert(
      fc.property(mutated, (text) => {
        if ('value' in parseJson(text)) return
        const position = jsonErrorPosition(text)
        expect(position).toBeWithin(0, text.length + 1)
        // Nothing before it is wrong: with what is missing behind it, it would be JSON. So no shorter beginning is refused earlier.
        expect(jsonErrorPosition(text.slice(0, position))).toBeLessThanOrEqual(position)
      }),
      { numRuns: 2_000 },
    )
  })

  test('takes no stack: a million brackets are no trouble', () => {
    expect(jsonErrorPosition('['.repeat(1_000_000))).toBe(1_000_000)
  })
})

test('a byte order mark is passed over, and positions count from behind it', () => {
  expect(parseJson('\ufeff[1]')).toEqual({ value: [1] })
  expect(parseJsonExactly('\ufeff[1]')).toEqual([1])
  expect(parseJson('\ufeff[x')).toEqual({ malformed: expect.stringContaining('at position 1 (') })
})

describe('exact parsing', () => {
  test('gives integers beyond 2^53 that fit 64 bits as bigint, everything else as JSON.parse does', () => {
    const text =
      '[9007199254740991,9007199254740992,-9007199254740993,9223372036854775807,-9223372036854775808,18446744073709551615]'
    expect(parseJsonExactly(text)).toEqual([
      9007199254740991,
      9007199254740992n,
      -9007199254740993n,
      9223372036854775807n,
      -9223372036854775808n,
      18446744073709551615n,
    ])
    const floats = '[18446744073709551616,-9223372036854775809,1e20,9007199254740993.0,9007199254740993e0,1.5,-0]'
    expect(parseJsonExactly(floats)).toEqual(JSON.parse(floats))
  })

  test('keeps every 64-bit integer, wherever it stands', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }), (integer) => {
        const exact = parseJsonExactly(`{"a":{"b":[${integer}]},"text":"${integer}"}`) as {
          a: { b: [number | bigint] }
          text: string
        }
        expect(BigInt(exact.a.b[0])).toBe(integer)
        expect(exact.text).toBe(String(integer))
      }),
    )
  })

  test('takes no stack: a value may be as deep as JSON.parse takes it', () => {
    for (const deep of ['['.repeat(200_000) + ']'.repeat(200_000), `${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}`])
      expect(parseJsonExactly(`[9007199254740993,${deep}]`)).toMatchObject({ 0: 9007199254740993n })
  })

  test('leaves digits in texts and keys alone, and those of keys like __proto__ are found', () => {
    const text =
      '{"9007199254740993":"9007199254740993\\\\","a\\"":-9007199254740993,"__proto__":{"b":18446744073709551615}}'
    const exact = parseJsonExactly(text) as Record<string, unknown>
    expect(Object.entries(exact)).toEqual([
      ['9007199254740993', '9007199254740993\\'],
      ['a"', -9007199254740993n],
      ['__proto__', { b: 18446744073709551615n }],
    ])
  })

  test('changes nothing else in JSON', () => {
    const asNumber = (_key: string, value: unknown) => (typeof value === 'bigint' ? Number(value) : value)
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(JSON.stringify(parseJsonExactly(text), asNumber)).toBe(JSON.stringify(JSON.parse(text)))
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('canonicalJson', () => {
  test('gives equal values the same text, whatever the order of their keys', () => {
    const one = JSON.parse('{"b":[1,{"y":null,"x":"ä\\"\\u0000"}],"a":{"10":1,"9":true},"__proto__":{"d":1,"c":2}}')
    const other = JSON.parse('{"__proto__":{"c":2,"d":1},"a":{"9":true,"10":1},"b":[1.0,{"x":"ä\\"\\u0000","y":null}]}')
    expect(canonicalJson(one)).toBe(canonicalJson(other))
    expect(JSON.parse(canonicalJson(one))).toEqual(one)
    expect(canonicalJson([])).toBe('[]')
    expect(canonicalJson({})).toBe('{}')
    expect(canonicalJson({ big: 2n ** 63n })).toBe('{"big":9223372036854775808}')
  })

  test('gives different values different texts', () => {
    const values = [
      [1, 2],
      [2, 1],
      [[1], 2],
      ['1', 2],
      { 1: 2 },
      { 1: '2' },
      {},
      [],
      null,
      'null',
      { a: {} },
      { a: [] },
    ]
    expect(new Set(values.map(canonicalJson)).size).toBe(values.length)
  })
})
