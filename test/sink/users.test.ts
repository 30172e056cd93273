/** What `identify` events make of table `user_traits` and view `users`. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import type { Event } from '../../src/event.ts'
import type { JsonObject } from '../../src/native/json-column.ts'
import type { InsertTarget } from '../../src/sink/insert.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { insertEvents, preparedTarget } from './sink-fixture.ts'

let clickhouse: TestClickHouse
let target: InsertTarget

beforeAll(async () => {
  clickhouse = await startTestClickHouse()
  target = await preparedTarget(clickhouse)
})
beforeEach(async () => {
  await query('TRUNCATE TABLE events')
  await query('TRUNCATE TABLE user_traits')
})
afterAll(() => clickhouse.stop())

function query(sql: string): Promise<string> {
  return clickhouse.query(sql, { database: target.database })
}

let inserts = 0

/** Inserts events as one segment, as the flusher does; gives ClickHouse's code when it fails. */
async function tryInsert(events: readonly Partial<Event>[], token: string): Promise<string> {
  const done = await insertEvents(target, events, token)
  return done.outcome === 'inserted' ? 'inserted' : done.failure.code
}

async function insert(events: readonly Partial<Event>[], token = `users/${inserts++}`): Promise<void> {
  expect(await tryInsert(events, token)).toBe('inserted')
}

function identify(userId: string, traits: object, changes: Partial<Event> = {}): Partial<Event> {
  return { type: 'identify', userId, properties: traits as JsonObject, ...changes }
}

interface User {
  readonly user_id: string
  readonly traits: Record<string, unknown>
  readonly first_seen: string
  readonly last_seen: string
}

async function users(condition = '1'): Promise<User[]> {
  const columns = 'tenant_id, workspace_id, user_id, toJSONString(traits) AS traits, first_seen, last_seen'
  const body = await query(`SELECT ${columns} FROM users WHERE ${condition} ORDER BY ALL FORMAT JSONEachRow`)
  const rows = body.split('\n').filter(Boolean)
  return rows.map((row) => JSON.parse(row)).map((row) => ({ ...row, traits: JSON.parse(row.traits) }))
}

async function traitsOf(userId: string): Promise<Record<string, unknown> | undefined> {
  return (await users(`user_id = '${userId}'`))[0]?.traits
}

const DAY_MS = 86_400_000
const T0 = Date.UTC(2026, 10, 20, 8)

test('a later identify adds and replaces traits and leaves the others as they were', async () => {
  await insert([identify('ada', { email: 'ada@example.com', plan: 'free', age: 36 }, { occurredAt: T0 })])
  await insert([identify('ada', { plan: 'pro', vip: true }, { occurredAt: T0 + DAY_MS })])
  expect(await users()).toEqual([
    {
      tenant_id: 'tenant',
      workspace_id: 'workspace',
      user_id: 'ada',
      traits: { age: 36, email: 'ada@example.com', plan: 'pro', vip: true },
      first_seen: '2026-11-20 08:00:00.000',
      last_seen: '2026-11-21 08:00:00.000',
    } as User,
  ])
})

test('the latest by the time of the event wins, however late it comes, within one insert and over several, before and after merges', async () => {
  const at = (occurredAt: number) => ({ occurredAt })
  await insert([
    identify('ada', { plan: 'third' }, at(T0 + 3)),
    identify('ada', { plan: 'first', team: 'a' }, at(T0 + 1)),
  ])
  await insert([identify('ada', { plan: 'second', team: 'b' }, at(T0 + 2))])
  const expected = { plan: 'third', team: 'b' }
  expect(await traitsOf('ada')).toEqual(expected)
  await query('OPTIMIZE TABLE user_traits FINAL')
  expect(await traitsOf('ada')).toEqual(expected)
  expect(await query('SELECT count() FROM user_traits')).toBe('3\n') // two traits, and that there was an identify
})

test('of two at the same time the one received later wins', async () => {
  await insert([identify('ada', { plan: 'b' }, { occurredAt: T0, receivedAt: T0 + 2 })])
  await insert([identify('ada', { plan: 'c' }, { occurredAt: T0, receivedAt: T0 + 1 })])
  expect(await traitsOf('ada')).toEqual({ plan: 'b' })
})

test('an object is replaced as a whole, and a null changes nothing', async () => {
  const address = { city: 'Graz', zip: '8010' }
  await insert([identify('ada', { address, plan: 'pro' }, { occurredAt: T0 })])
  await insert([identify('ada', { address: { city: 'Wien' }, plan: null }, { occurredAt: T0 + 1 })])
  expect(await traitsOf('ada')).toEqual({ address: { city: 'Wien' }, plan: 'pro' })
  await insert([identify('ada', { address: 'Linz', plan: '' }, { occurredAt: T0 + 2 })])
  expect(await traitsOf('ada')).toEqual({ address: 'Linz', plan: '' })
})

test('the questions in the documentation are answered', async () => {
  const ids = { tenantId: 'acme', workspaceId: 'shop' }
  await insert([
    identify('user-42', { email: 'ada@example.com', plan: 'pro' }, { ...ids, occurredAt: T0 }),
    { ...ids, type: 'pageview', sessionId: 'visit', path: '/', occurredAt: T0 },
  ])
  const document = readFileSync(join(import.meta.dir, '../../docs/tables.md'), 'utf8')
  const answers: string[] = []
  for (const [, sql = ''] of document.matchAll(/```sql\n(.*?)```/gs)) answers.push(await query(sql))
  const seen = '2026-11-20 08:00:00.000'
  expect(answers).toEqual([
    'direct\t2\t0\t0.5\n',
    '1\t2\n',
    '',
    '/\t1\n',
    `user-42\tada@example.com\tpro\t${seen}\t${seen}\n`,
    '"pro"\t1\n',
  ])
})

test('an identify without traits makes a user', async () => {
  await insert([identify('ada', {}), identify('', { email: 'nobody@example.com' }), { type: 'click', userId: 'eve' }])
  expect((await users()).map(({ user_id, traits }) => [user_id, traits])).toEqual([['ada', {}]])
})

test('users of tenants and workspaces with the same id are different users', async () => {
  for (const tenantId of ['a', 'b'])
    for (const workspaceId of ['x', 'y'])
      await insert([identify('ada', { at: `${tenantId}${workspaceId}` }, { tenantId, workspaceId })])
  expect((await users()).map(({ traits }) => traits.at)).toEqual(['ax', 'ay', 'bx', 'by'])
  expect((await users(`tenant_id = 'b' AND workspace_id = 'x'`)).map(({ traits }) => traits.at)).toEqual(['bx'])
})

test('a segment sent again computes nothing again, and one of which a view failed is completed', async () => {
  const events = [identify('ada', { n: 1 }), identify('bob', { n: 2, list: [1] })]
  for (let attempt = 0; attempt < 3; attempt++) await insert(events, 'again/1')
  expect(await query('SELECT count(), count(DISTINCT user_id, trait) FROM user_traits')).toBe('5\t5\n')

  await query('CREATE TABLE nowhere (n UInt8) ENGINE = MergeTree ORDER BY n')
  await query('CREATE MATERIALIZED VIEW broken TO nowhere AS SELECT throwIf(1) AS n FROM user_traits')
  const later = [identify('ada', { n: 3 }, { occurredAt: Date.now() })]
  expect(await tryInsert(later, 'again/2')).toBe('395') // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
  await query('DROP VIEW broken SYNC')
  await insert(later, 'again/2')
  expect(await traitsOf('ada')).toEqual({ n: 3 })
  expect(await query("SELECT count() FROM events WHERE user_id = 'ada'")).toBe('2\n')
})

test('floats that look like integers of more than 64 bits are read again', async () => {
  const wide = { large: 1e20, low: -9.3e18 }
  await insert([identify('plain', wide), identify('inner', { ...wide, inner: { wide, list: [1e20, 1.5, 1e20] } })])
  expect(await traitsOf('plain')).toEqual(wide)
  expect(await traitsOf('inner')).toEqual({ ...wide, inner: { wide, list: [1e20, 1.5, 1e20] } })
})

test('integers of 64 bits, dots in keys and strings that look like something else are kept as they were sent', async () => {
  const plain = {
    wide: 9223372036854775807n,
    unsigned: 18446744073709551615n,
    'a.b': 1,
    date: '2026-11-20',
    number: '12',
  }
  const texts = {
    time: '2026-11-20T08:00:00Z',
    yes: 'true',
    quote: '"\\\n\u0000',
    slash: 'https://a/b',
    empty: '',
    '😀': 'ä',
  }
  for (const [user, more] of [
    ['plain', {}],
    ['inner', { inner: { 'c.d': 9223372036854775807n, x: [1.5, null, 2] } }],
  ] as const) {
    await insert([identify(user, { ...plain, ...texts, ...more })])
    const text = (await query(`SELECT toJSONString(traits) FROM users WHERE user_id = '${user}' FORMAT TSVRaw`)).trim()
    expect(text).toContain('"wide":9223372036854775807')
    expect(text).toContain('"unsigned":18446744073709551615')
    expect(text).toContain('"a.b":1')
    expect(JSON.parse(text)).toMatchObject(texts)
    if (user === 'inner') expect(text).toContain('"inner":{"c.d":9223372036854775807,"x":[1.5,null,2]}')
  }
  expect(await query("SELECT traits.date, traits.inner.x FROM users WHERE user_id = 'inner'")).toBe(
    '2026-11-20\t[1.5,NULL,2]\n',
  )
})

const key = fc.oneof(
  fc.constantFrom('a', 'b', 'plan', 'email'),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 6 }),
)
const scalar = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.integer(),
  fc.boolean(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
)
const value = fc.oneof(
  { weight: 4, arbitrary: scalar },
  fc.array(fc.integer(), { maxLength: 3 }),
  fc.array(fc.string({ maxLength: 3 }), { maxLength: 3 }),
  fc.dictionary(key, fc.oneof(scalar, fc.dictionary(key, scalar, { minKeys: 1, maxKeys: 2 })), {
    minKeys: 1,
    maxKeys: 3,
  }),
)
const traits = fc.dictionary(key, value, { maxKeys: 5 })

test('random identifies in random order leave each trait at its latest value', async () => {
  const history = fc.array(traits, { minLength: 1, maxLength: 6 })
  await fc.assert(
    fc.asyncProperty(
      fc.array(history, { minLength: 1, maxLength: 20 }),
      fc.boolean(),
      async (histories, isTogether) => {
        await query('TRUNCATE TABLE user_traits')
        const events = histories.flatMap((steps, user) =>
          steps.map((step, index) => identify(`user-${user}`, step, { occurredAt: T0 + index, receivedAt: T0 })),
        )
        const mixed = events.sort(
          (a, b) => Bun.hash.crc32(JSON.stringify(a.properties)) - Bun.hash.crc32(JSON.stringify(b.properties)),
        )
        const middle = isTogether ? 0 : Math.ceil(mixed.length / 2)
        for (const part of [mixed.slice(0, middle), mixed.slice(middle)]) if (part.length > 0) await insert(part)
        const found = new Map((await users()).map((user) => [user.user_id, user.traits]))
        for (const [user, steps] of histories.entries())
          expect(found.get(`user-${user}`)).toEqual(JSON.parse(JSON.stringify(Object.assign({}, ...steps))))
      },
    ),
    { numRuns: 10, endOnFailure: true },
  )
})

test('nothing that a client sends stops the insert, or the reading of users', async () => {
  const hostile: object[] = [
    { '': 1, '.': 2, '..': 3, 'a.': 4, '.a': 5 },
    { a: 1, 'a.b': 2, 'a%2Eb': 3, '%2E': 4 },
    { a: { b: 1, '': 2, '.': 3 }, 'a.b': 4 },
    { __proto__x: 1, constructor: { prototype: 1 }, '"': '"', '\\': '\\', '\n': '\n', '\u0000': '\u0000', "'": "'" },
    { list: [[], [[]], [{}], [{ '': 1, 'a.b': 2, a: { b: 3 } }], null, 1, 'x', true, [null]] },
    { nulls: [null, null], objects: [{ a: 1 }, null, { a: [{ b: null }] }], empty: [] },
    { big: 123456789012345680000, minus: -0, tiny: 5e-324, huge: 1.7976931348623157e308 },
    { lone: '\ud800', '\udfff': 'a\udc00' },
    { deep: Array.from({ length: 29 }).reduce<object>((inner) => ({ x: inner }), { y: 1 }) },
    Object.fromEntries(Array.from({ length: 1999 }, (_, number) => [`trait ${number}`, number])),
    { inner: Object.fromEntries(Array.from({ length: 1990 }, (_, number) => [`trait ${number}`, { number }])) },
  ]
  await insert(hostile.map((properties, number) => identify(`hostile-${number}`, properties)))
  await insert(hostile.map((properties) => identify('all', properties)))
  expect(await users()).toHaveLength(hostile.length + 1)

  const anything = fc
    .jsonValue({ maxDepth: 5, stringUnit: 'grapheme' })
    .filter((json) => typeof json === 'object' && json !== null && !Array.isArray(json))
  await fc.assert(
    fc.asyncProperty(fc.array(anything, { minLength: 1, maxLength: 40 }), async (objects) => {
      await insert(objects.map((properties, number) => identify(`user-${number % 10}`, properties as object)))
      expect((await users()).length).toBeGreaterThan(0)
    }),
    { numRuns: 10, endOnFailure: true },
  )
})
