/** Bodies of all kinds: as nearly all are, with all that JSON allows in them, and with something broken. */
import fc from 'fast-check'
import { randomFrom } from '../support/random.ts'

/** Keys with escapes are left: few of them, or nothing is taken. */
const keys = fc.oneof(
  {
    weight: 300,
    arbitrary: fc.constantFrom(
      'a',
      'b',
      'plan',
      'price',
      'items',
      'x y',
      'position',
      'ä',
      'a longer key than that',
      'a.b',
      '',
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom('.', '__proto__', 'constructor', '0', '12', '-1', '%', '%2E', '"', '\\', '\n', '😀'),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 10 }) },
)

const texts = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom(
    '',
    'x'.repeat(125),
    'ü'.repeat(70),
    'x'.repeat(300),
    '\ud83d',
    '\ude00',
    '\u0000',
    '\\"/\b\f\n\r\t',
    'true',
    '\ufffd',
  ),
)

/** Those beyond 2^53 are left. */
const numbers = fc.oneof(
  { weight: 60, arbitrary: fc.integer({ min: -1000, max: 1000 }) },
  { weight: 20, arbitrary: fc.maxSafeInteger() },
  { weight: 60, arbitrary: fc.double({ noNaN: true, min: -1e15, max: 1e15 }) },
  { weight: 60, arbitrary: fc.double({ noNaN: true, min: 0, max: 1 }) },
  { weight: 60, arbitrary: fc.integer({ min: 0, max: 1e6 }).map((cents) => cents / 100) },
  { weight: 1, arbitrary: fc.double({ noNaN: true, noDefaultInfinity: true }) },
)

const { value, object } = fc.letrec<{ value: unknown; object: object }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    texts,
    numbers,
    fc.boolean(),
    fc.constant(null),
    fc.array(fc.oneof(numbers, fc.constant(null)), { maxLength: 4 }),
    fc.array(fc.oneof(texts, fc.constant(null)), { maxLength: 4 }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.array(tie('object'), { maxLength: 3 }),
    tie('object'),
  ),
  object: fc.dictionary(keys, tie('value'), { maxKeys: 7, noNullPrototype: true }),
}))

const times = fc
  .date({ min: new Date('1899-12-01T00:00:00Z'), max: new Date('2026-11-20T12:00:02Z'), noInvalidDate: true })
  .map((date) => date.toISOString())
const uuids = fc.uuid().map((uuid) => (uuid.charCodeAt(3) % 3 === 0 ? uuid.toUpperCase() : uuid))
const addresses = fc.oneof(
  fc.webUrl({ withQueryParameters: true, withFragments: true }),
  fc.constantFrom(
    '',
    '/',
    '/a?b',
    '//h/p',
    'https://www.shop.example/ä?ö',
    'https://u:p@H.example:8080/',
    'https://1.2.3.4/',
    'http://[::1]/',
    'app://x',
    'x',
  ),
  fc.string({ maxLength: 20 }).map((text) => `https://${text}`),
)

const context = fc
  .tuple(
    fc.record(
      {
        ip: fc.oneof(fc.ipV4(), fc.ipV6()),
        user_agent: fc.constantFrom('curl/8', 'Mozilla/5.0 (Windows NT 10.0) Chrome/141.0', 'Googlebot/2.1', ''),
        locale: fc.constantFrom('de-AT', 'en', 'ü', ''),
        page_url: addresses,
        page_title: texts,
        referrer: addresses,
      },
      { requiredKeys: [] },
    ),
    object,
  )
  .map(([own, rest]) => ({ ...rest, ...own }))

/** An event as a client may send it, with an id, and now and then something in it that is not allowed. */
const draft = fc
  .tuple(
    fc.record(
      {
        type: fc.oneof(
          { weight: 6, arbitrary: fc.constantFrom('pageview', 'click', 'Order Completed', 'ü') },
          fc.string({ minLength: 1, maxLength: 99 }),
        ),
        timestamp: times,
        session_id: uuids,
        event_id: fc.oneof(uuids, fc.string({ minLength: 1, maxLength: 30 })),
        user_id: fc.string({ minLength: 1, maxLength: 30 }),
        anonymous_id: fc.string({ minLength: 1, maxLength: 30 }),
        schema_version: fc.constantFrom('1', '2.0'),
        properties: object,
        context,
      },
      { requiredKeys: ['type', 'timestamp', 'session_id', 'event_id', 'properties'] },
    ),
    fc.oneof(
      { weight: 15, arbitrary: fc.constant(undefined) },
      {
        weight: 1,
        arbitrary: fc.tuple(
          fc.constantFrom('type', 'timestamp', 'session_id', 'user_id', 'properties', 'context', 'more'),
          value,
        ),
      },
    ),
  )
  .map(([good, wrong]) => (wrong === undefined ? good : { ...good, [wrong[0]]: wrong[1] }))

/** Writes JSON as no machine does: with white space, escapes that need not be, and numbers in other forms. */
function write(value: unknown, random: () => number): string {
  const space = () => (random() < 0.03 ? ([' ', '\n', '\t', '\r', '  '][Math.floor(random() * 5)] ?? '') : '')
  const text = (from: string) =>
    JSON.stringify(from).replace(/[a-zé/]/g, (character) => {
      if (random() > 0.01) return character
      return character === '/' ? '\\/' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
    })
  const key = (from: string) => (random() < 0.002 ? text(from) : JSON.stringify(from))
  const number = (from: number) => {
    if (Object.is(from, -0)) return '-0'
    const other = random()
    if (other < 0.02) return from.toExponential()
    return other < 0.04 && Number.isInteger(from) ? `${from}.0` : String(from)
  }
  const one = (from: unknown): string => {
    if (typeof from === 'string') return text(from)
    if (typeof from === 'number') return number(from)
    if (typeof from !== 'object' || from === null) return JSON.stringify(from)
    if (Array.isArray(from)) return `[${space()}${from.map((element) => one(element) + space()).join(`,${space()}`)}]`
    const members = Object.entries(from).map(
      ([name, member]) => `${key(name)}${space()}:${space()}${one(member)}${space()}`,
    )
    return `{${space()}${members.join(`,${space()}`)}}`
  }
  return one(value)
}

/** Events, each as JSON text. */
export const eventTexts: fc.Arbitrary<string[]> = fc
  .tuple(fc.array(draft, { minLength: 1, maxLength: 6 }), fc.integer())
  .map(([drafts, seed]) => drafts.map((one) => write(one, randomFrom(seed))))

const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  kind: fc.constantFrom('replace' as const, 'insert' as const, 'remove' as const, 'repeat' as const, 'end' as const),
  byte: fc.oneof(
    fc.constantFrom(...Buffer.from('{}[]",:\\0-.eE19tfn \n\r\t\x00\x7f')),
    fc.integer({ min: 0, max: 255 }),
  ),
  length: fc.integer({ min: 1, max: 12 }),
})

/** What a body becomes on a bad way: a few bytes other, more, fewer, or twice. */
export const damage: fc.Arbitrary<(bytes: Buffer) => Buffer> = fc
  .array(edit, { minLength: 1, maxLength: 2 })
  .map((edits) => (bytes) => {
    let damaged = bytes
    for (const { at, kind, byte, length } of edits) {
      const place = Math.floor(at * damaged.length)
      const before = damaged.subarray(0, place)
      const behind = damaged.subarray(place)
      if (kind === 'replace') damaged = Buffer.concat([before, Buffer.from([byte]), behind.subarray(1)])
      else if (kind === 'insert') damaged = Buffer.concat([before, Buffer.from([byte]), behind])
      else if (kind === 'remove') damaged = Buffer.concat([before, behind.subarray(length)])
      else if (kind === 'repeat') damaged = Buffer.concat([before, behind.subarray(0, length), behind])
      else damaged = before
    }
    return damaged
  })
