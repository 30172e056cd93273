import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AGGREGATES, INTERNAL_TABLES, NAMELESS_AGGREGATES, PERSONAL_TABLES } from '../../src/erase/tables.ts'
import type { Event } from '../../src/event.ts'
import { segmentFileName } from '../../src/log/segment.ts'
import { DeadLetters } from '../../src/sink/dead-letters.ts'
import type { InsertTarget } from '../../src/sink/insert.ts'
import { preparedTarget } from '../sink/sink-fixture.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { randomFrom } from '../support/random.ts'
import { blockOf, countsOf, findEverywhere, numbered, statesOf, Workspace } from './erase-fixture.ts'
import { randomPeople } from './random-people.ts'

let server: TestClickHouse
let target: InsertTarget
let directory: string
let workspaces = 0

beforeAll(async () => {
  server = await startTestClickHouse()
  target = await preparedTarget(server)
  directory = mkdtempSync(join(tmpdir(), 'penstock-erase-'))
})

afterAll(async () => {
  await server.stop()
  rmSync(directory, { recursive: true, force: true })
})

function newWorkspace(): Workspace {
  workspaces += 1
  return new Workspace(target, `workspace-${workspaces}`, join(directory, String(workspaces)))
}

describe('who the person is', () => {
  test('events of the user, of the device before the login, and of the session without any id', async () => {
    const workspace = newWorkspace()
    const session = crypto.randomUUID()
    await workspace.insert(
      numbered([
        { userId: 'ada', anonymousId: 'laptop', sessionId: session },
        { anonymousId: 'laptop' },
        { sessionId: session },
        { userId: 'ada' },
        { userId: 'bob', anonymousId: 'phone' },
        { anonymousId: 'phone' },
        { anonymousId: 'nobody' },
        {},
      ]),
    )
    const { outcome, findings } = await workspace.erase({ users: ['ada'] })
    expect(findings).toMatchObject({ rows: { events: 4 }, anonymousIds: 1, sharedDevices: [], aliases: [] })
    expect(outcome).toMatchObject({ removed: { events: 4 }, problems: [] })
    expect(await workspace.numbers()).toEqual([4, 5, 6, 7])
  })

  test('events without user of a device that others use too stay, unless these are erased as well or the device is named', async () => {
    const workspace = newWorkspace()
    await workspace.insert(
      numbered([
        { userId: 'ada', anonymousId: 'kiosk' },
        { anonymousId: 'kiosk' },
        { userId: 'bob', anonymousId: 'kiosk' },
        { userId: 'cleo', anonymousId: 'door' },
        { anonymousId: 'door' },
        { userId: 'dora', anonymousId: 'door' },
      ]),
    )
    const { findings } = await workspace.erase({ users: ['ada', 'cleo', 'dora'] })
    expect(findings.sharedDevices).toEqual([{ anonymous_id: 'kiosk', is_given: 0, events: 1 }])
    expect(await workspace.numbers()).toEqual([1, 2])
    const again = await workspace.erase({ users: ['ada'], anonymousIds: ['kiosk'] })
    expect(again.findings.sharedDevices).toEqual([{ anonymous_id: 'kiosk', is_given: 1, events: 1 }])
    expect(await workspace.numbers()).toEqual([2])
  })

  test('somebody who never logged in is known by the anonymous id', async () => {
    const workspace = newWorkspace()
    const session = crypto.randomUUID()
    await workspace.insert(
      numbered([{ anonymousId: 'tablet', sessionId: session }, { sessionId: session }, { anonymousId: 'other' }]),
    )
    await workspace.erase({ anonymousIds: ['tablet'] })
    expect(await workspace.numbers()).toEqual([2])
  })

  test('what an alias event says was anonymous before is the person; another user that it names is told and stays', async () => {
    const workspace = newWorkspace()
    const alias = (userId: string, previousId: string) => ({ type: 'alias', userId, properties: { previousId } })
    await workspace.insert(
      numbered([
        alias('ada', 'visitor'),
        { anonymousId: 'visitor' },
        alias('ada', 'ada-before'),
        { userId: 'ada-before' },
        alias('ada-after', 'ada'),
        alias('eve', 'stolen'),
        alias('ada', 'stolen'),
        { anonymousId: 'stolen' },
      ]),
    )
    const { findings } = await workspace.erase({ users: ['ada'] })
    expect(findings.aliases).toEqual([
      { userId: 'ada-after', events: 1 },
      { userId: 'ada-before', events: 1 },
    ])
    expect(await workspace.numbers()).toEqual([3, 4, 5, 7])
  })

  test('ids are taken as they are, whatever is in them, and only in their workspace', async () => {
    const workspace = newWorkspace()
    const other = newWorkspace()
    const strange = `'\\ \`"{}%_\n\t--;ü😀`
    const events = numbered([{ userId: strange, anonymousId: strange }, { userId: 'x' }])
    await workspace.insert(events)
    await other.insert(events)
    await workspace.erase({ users: [strange] })
    expect(await workspace.numbers()).toEqual([1])
    expect(await other.numbers()).toEqual([0, 1])
  })

  test('a workspace of which there is nothing is an error, a person of whom there is nothing is not', async () => {
    const workspace = newWorkspace()
    await expect(workspace.erase({ users: ['ada'] })).rejects.toThrow(
      `there is nothing of workspace tenant/${workspace.id}`,
    )
    await workspace.insert(numbered([{ userId: 'bob' }]))
    expect((await workspace.erase({ users: ['ada'] })).outcome).toMatchObject({ removed: {}, problems: [] })
  })
})

describe('what is removed', () => {
  test('every table of the database is known to the erasure', async () => {
    const tables = await server.query(
      `SELECT name FROM system.tables WHERE database = '${target.database}' AND engine NOT LIKE '%View' ORDER BY name`,
    )
    const counted = [...Object.keys(AGGREGATES), ...NAMELESS_AGGREGATES]
    const known: string[] = [...PERSONAL_TABLES, ...counted, ...INTERNAL_TABLES]
    expect(
      tables
        .trim()
        .split('\n')
        .filter((name) => !known.includes(name)),
    ).toEqual([])
  })

  test('traits go with the events, and counts stay', async () => {
    const workspace = newWorkspace()
    await workspace.insert(
      numbered([
        { type: 'identify', userId: 'ada', properties: { email: 'ada@shop.test', plan: 'pro' } },
        { type: 'identify', userId: 'bob', properties: { email: 'bob@shop.test' } },
      ]),
    )
    const before = await countsOf(workspace)
    const { outcome } = await workspace.erase({ users: ['ada'] })
    expect(outcome.removed).toMatchObject({ events: 1, user_traits: 4 })
    expect(await workspace.query(`SELECT user_id FROM users WHERE workspace_id = '${workspace.id}'`)).toBe('bob\n')
    expect(await countsOf(workspace)).toEqual(before)
  })

  test('a run that only looks changes nothing and leaves nothing behind', async () => {
    const workspace = newWorkspace()
    await workspace.insert(numbered([{ userId: 'ada' }, { userId: 'bob' }]))
    expect(await workspace.find({ users: ['ada'] })).toMatchObject({ rows: { events: 1 } })
    expect(await workspace.numbers()).toEqual([0, 1])
    expect(await server.query(`SHOW TABLES FROM ${target.database} LIKE 'erasing%'`)).toBe('')
  })

  test('no id is left in the text of a mutation', async () => {
    const workspace = newWorkspace()
    const user = `user-${crypto.randomUUID()}`
    await workspace.insert(numbered([{ userId: user, anonymousId: `device of ${user}` }]))
    await workspace.erase({ users: [user] })
    const found = `countIf(position(command, '${user}') > 0), countIf(database = '${target.database}') > 0`
    expect(await server.query(`SELECT ${found} FROM system.mutations`)).toBe('0\t1\n')
  })

  test('rows of aggregates whose text names the person go only when that is said', async () => {
    const workspace = newWorkspace()
    await workspace.insert(
      numbered([
        { type: 'identify', userId: 'u_42', properties: { email: 'ada@shop.test' } },
        { type: 'welcome u_42', userId: 'u_42' },
        { type: 'mail to ADA%40shop.test', userId: 'bob' },
        { type: 'welcome u_421', userId: 'u_421' },
      ]),
    )
    const types = () =>
      workspace.query(
        `SELECT arraySort(groupUniqArray(type)) FROM events_per_hour WHERE workspace_id = '${workspace.id}' AND type != 'identify'`,
      )
    const { outcome, findings } = await workspace.erase({ users: ['u_42'] })
    expect(findings.texts.listed.filter(({ table }) => table === 'events_per_day')).toEqual([
      { table: 'events_per_day', column: 'type', text: 'mail to ADA%40shop.test' },
      { table: 'events_per_day', column: 'type', text: 'welcome u_42' },
    ])
    expect(outcome.problems).toMatchObject([{ problem: 'texts_undecided' }])
    expect(await types()).toContain('welcome u_42')
    const again = await workspace.erase({ users: ['u_42'] }, { texts: 'remove' })
    expect(again.outcome).toMatchObject({ textsRemoved: 3, problems: [] })
    expect(await types()).toBe(`['mail to ADA%40shop.test','welcome u_421']\n`) // the address is not known any more
  })

  test.each([
    ['have the id within another word', '/product/42', 1],
    ['may name the person as well', '/product/42/', 120_001],
  ])('however many texts %s, none that names the person stays', async (_, prefix, total) => {
    const workspace = newWorkspace()
    await workspace.insert(numbered([{ userId: '42', type: 'pageview', path: '/users/42' }, { userId: '43' }]))
    await workspace.query(`INSERT INTO pages_per_day (tenant_id, workspace_id, day, path, pageviews)
      SELECT 'tenant', '${workspace.id}', today(), concat('${prefix}', toString(number + 1000000)), 1 FROM numbers(120000)`)
    const { findings, outcome } = await workspace.erase({ users: ['42'] }, { texts: 'remove' })
    expect(findings.texts.total).toBe(total)
    expect(findings.texts.listed).toHaveLength(Math.min(total, 100_000))
    expect(outcome).toMatchObject({ textsRemoved: total, problems: [] })
    const left = `SELECT countIf(path LIKE '/product/%'), countIf(path = '/users/42') FROM pages_per_day`
    expect(await workspace.query(`${left} WHERE workspace_id = '${workspace.id}'`)).toBe(`${120_001 - total}\t0\n`)
  })
})

test('a mutation of an earlier run whose ids are gone, as after a power cut, is taken back: it would hold up every later one', async () => {
  const workspace = newWorkspace()
  await workspace.insert(numbered([{ userId: 'ada' }, { userId: 'bob' }]))
  await workspace.query('CREATE TABLE erasing_0123456789abcdef (id String) ENGINE = MergeTree ORDER BY id')
  await workspace.query('SYSTEM STOP MERGES events')
  const ids = `(SELECT id FROM ${target.database}.erasing_0123456789abcdef)`
  await workspace.query(`ALTER TABLE events DELETE WHERE user_id IN ${ids} SETTINGS mutations_sync = 0`)
  await workspace.query('DROP TABLE erasing_0123456789abcdef SYNC')
  await workspace.query('SYSTEM START MERGES events')
  const { outcome } = await workspace.erase({ users: ['ada'] })
  expect(outcome).toMatchObject({ removed: { events: 1 }, problems: [] })
  expect(await workspace.numbers()).toEqual([1])
})

describe('what is not in ClickHouse yet', () => {
  test('segments that are in a log are waited for, and when they do not go nothing is erased', async () => {
    const workspace = newWorkspace()
    await workspace.insert(numbered([{ userId: 'ada' }]))
    mkdirSync(join(workspace.dataDir, 'log-3'))
    const segment = join(workspace.dataDir, 'log-3', segmentFileName(7, 'sealed'))
    writeFileSync(segment, '')
    const config = { durability: 'fsync', host: '127.0.0.1', port: 1, workers: 1, flushIntervalMs: 10 } as const
    const unflushed = { config: { ...config, dataDir: workspace.dataDir }, collectors: [], waitMs: 100 }
    await expect(workspace.erase({ users: ['ada'] }, { unflushed })).rejects.toThrow('1 segments in')
    expect(await workspace.numbers()).toEqual([0])
    const erasing = workspace.erase({ users: ['ada'] })
    await workspace.insert(numbered([{}, { userId: 'ada' }]))
    rmSync(segment)
    expect((await erasing).outcome.problems).toEqual([])
    expect(await workspace.numbers()).toEqual([0])
  })

  test('without any log nobody knows what is on its way', async () => {
    const workspace = newWorkspace()
    await workspace.insert(numbered([{ userId: 'ada' }]))
    rmSync(join(workspace.dataDir, 'log'), { recursive: true })
    await expect(workspace.erase({ users: ['ada'] })).rejects.toThrow('there is no log in')
  })

  test('dead letters with events of the person keep it from being complete, until they are dropped', async () => {
    const workspace = newWorkspace()
    const letters = new DeadLetters(join(workspace.dataDir, 'dead-letters'))
    const keep = (ordinal: number, events: Partial<Event>[]) =>
      letters.keep({
        segmentToken: 'log/1',
        ordinal,
        rows: events.length,
        code: '117',
        message: 'refused',
        block: blockOf(events.map((event) => ({ tenantId: 'tenant', workspaceId: workspace.id, ...event }))),
      })
    await workspace.insert(numbered([{ userId: 'ada', anonymousId: 'laptop' }]))
    await keep(0, [{ userId: 'ada', url: 'https://a' }, { userId: 'bob' }, { userId: 'bob', anonymousId: 'laptop' }])
    await keep(1, [{ userId: 'adam' }, { userId: 'bob' }, { properties: { user: 'ada' } }])
    await keep(2, [{ userId: 'ada', workspaceId: 'another' }])
    const { outcome, findings } = await workspace.erase({ users: ['ada'] })
    expect(findings.deadLetters.map(({ name, own }) => [name, own])).toEqual([['log-1-0', 1]])
    expect(outcome.problems).toMatchObject([{ problem: 'dead_letters' }])
    await keep(3, [{ anonymousId: 'laptop' }]) // known from the run before only
    for (let looks = 0; looks < 2; looks += 1) {
      const { deadLetters } = await workspace.find({ users: ['ada'] })
      expect(deadLetters.map(({ name }) => name)).toEqual(['log-1-0', 'log-1-3'])
    }
    const again = await workspace.erase({ users: ['ada'] }, { dropDeadLetters: true })
    expect(again.outcome).toMatchObject({ deadLettersDropped: ['log-1-0', 'log-1-3'], problems: [] })
    expect(await letters.names()).toEqual(['log-1-1', 'log-1-2'])
    expect(await server.query(`SHOW TABLES FROM ${target.database} LIKE 'erasing%'`)).toBe('')
  })

  test('a dead letter that is half written may hold some; a minute later it was left by a crash, and is removed', async () => {
    const workspace = newWorkspace()
    await workspace.insert(numbered([{ userId: 'ada' }]))
    mkdirSync(join(workspace.dataDir, 'dead-letters'))
    const name = 'log-1-0.dead-letter.0123456789ab.draft'
    const draft = join(workspace.dataDir, 'dead-letters', name)
    writeFileSync(draft, 'ada')
    const { outcome, findings } = await workspace.erase({ users: ['ada'] }, { dropDeadLetters: true })
    expect(findings.deadLetters).toMatchObject([{ name, isDraft: true }])
    expect(outcome.problems).toMatchObject([{ problem: 'dead_letters' }])
    const before = new Date(Date.now() - 61_000)
    utimesSync(draft, before, before)
    expect((await workspace.find({ users: ['ada'] })).deadLetters).toHaveLength(1)
    expect((await workspace.erase({ users: ['ada'] })).outcome.problems).toEqual([])
    expect(existsSync(draft)).toBe(false)
  })
})

describe('random people on random devices', () => {
  const random = randomFrom(0xe7a5e)

  test.each([1, 2])(
    'of one of them nothing is left in any column of any table, of the others everything (%i)',
    async () => {
      const workspace = newWorkspace()
      const { events, erased, own, devices } = randomPeople(random)
      // In several batches, so that some parts hold the person alone, some others, some both.
      for (let first = 0; first < events.length; first += 12) await workspace.insert(events.slice(first, first + 12))
      const rest = () =>
        workspace.query(
          `SELECT * EXCEPT (received_at) FROM events WHERE workspace_id = '${workspace.id}' ORDER BY event_id FORMAT JSONEachRow`,
        )
      const before = { counts: await countsOf(workspace), rows: (await rest()).trim().split('\n') }

      const { outcome } = await workspace.erase({ users: [erased] }, { texts: 'keep' })
      expect(outcome.problems).toEqual([])
      const left = events.flatMap((event, n) => (own.has(n) ? [] : [{ ...event, n }]))
      expect(await workspace.numbers()).toEqual(left.map(({ n }) => n))
      const kept = new Set(left.map(({ n }) => n))
      const isKept = (line: string) => kept.has(Number(/"n":"?(\d+)/.exec(line)?.[1]))
      expect((await rest()).trim().split('\n')).toEqual(before.rows.filter(isKept))
      expect(await countsOf(workspace)).toEqual(before.counts)
      const untouched = newWorkspace()
      await untouched.insert(left)
      expect(await statesOf(workspace)).toEqual(await statesOf(untouched))
      expect(await findEverywhere(target, [erased, ...devices])).toEqual([])
    },
  )
})
