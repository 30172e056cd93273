import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AGGREGATES, INTERNAL_TABLES, NAMELESS_AGGREGATES, PERSONAL_TABLES } from '../../src/erase/tables.ts'
import type { Event } from '../../src/event.ts'
import { segmentFileName } from '../../src/log/segment.ts'
import { DeadLetters } from '../../src/sink/dead-letters.ts'
import type { InsertTarget } from '../../src/sink/insert.ts'
import { preparedTarget } from '../sink/sink-fixture.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { blockOf, findEverywhere, Workspace } from './erase-fixture.ts'

setDefaultTimeout(120_000)

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

/** Events numbered in `properties.n`, each in a session of its own when it names none. */
function numbered(events: readonly Partial<Event>[]): Partial<Event>[] {
  return events.map((event, n) => ({
    sessionId: crypto.randomUUID(),
    ...event,
    properties: { n, ...event.properties },
  }))
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
    expect(findings.texts.filter(({ table }) => table === 'events_per_day')).toEqual([
      { table: 'events_per_day', column: 'type', text: 'mail to ADA%40shop.test' },
      { table: 'events_per_day', column: 'type', text: 'welcome u_42' },
    ])
    expect(outcome.problems).toMatchObject([{ problem: 'texts_undecided' }])
    expect(await types()).toContain('welcome u_42')
    const again = await workspace.erase({ users: ['u_42'] }, { texts: 'remove' })
    expect(again.outcome).toMatchObject({ textsRemoved: 3, problems: [] })
    expect(await types()).toBe(`['mail to ADA%40shop.test','welcome u_421']\n`) // the address is not known any more
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
})

describe('random people on random devices', () => {
  const random = mulberry32(0xe7a5e)
  const pick = <Value>(values: readonly Value[]): Value => values[Math.floor(random() * values.length)] as Value

  test.each([1, 2])(
    'of one of them nothing is left in any column of any table, of the others everything (%i)',
    async () => {
      const workspace = newWorkspace()
      const startedAt = Date.now() - 3_600_000
      const tag = crypto.randomUUID().slice(0, 8)
      const users = Array.from({ length: 4 }, (_, index) => `user-${tag}-${index}`)
      const devices = Array.from({ length: 7 }, (_, index) => `device-${tag}-${index}`)
      const sessions = Array.from({ length: 9 }, () => crypto.randomUUID())
      const erased = users[0] as string
      const events = numbered(
        Array.from({ length: 60 }, () => {
          const userId = random() < 0.5 ? pick(users) : ''
          const anonymousId = random() < 0.5 ? pick(devices) : ''
          const sessionId = random() < 0.7 ? pick(sessions) : crypto.randomUUID()
          const type = pick(['identify', 'pageview', 'page_view', 'click'])
          const address = userId === '' ? {} : { path: `/of/${userId.length}`, title: userId }
          return {
            userId,
            occurredAt: startedAt + Math.floor(random() * 3_600_000),
            anonymousId,
            sessionId,
            type,
            ...address,
            properties: { email: `mail-${userId}-${anonymousId}@x.test` },
          }
        }),
      )
      // In several batches, so that some parts hold the person alone, some others, some both.
      for (let first = 0; first < events.length; first += 12) await workspace.insert(events.slice(first, first + 12))
      const counts = () => countsOf(workspace)
      const rest = () =>
        workspace.query(
          `SELECT * EXCEPT (received_at) FROM events WHERE workspace_id = '${workspace.id}' ORDER BY event_id FORMAT JSONEachRow`,
        )
      const before = { counts: await counts(), rows: (await rest()).trim().split('\n') }
      const expected = modelOf(events, erased)

      const { outcome } = await workspace.erase({ users: [erased] }, { texts: 'keep' })
      expect(outcome.problems).toEqual([])
      const left = events.flatMap((event, n) => (expected.own.has(n) ? [] : [{ ...event, n }]))
      expect(await workspace.numbers()).toEqual(left.map(({ n }) => n))
      const kept = new Set(left.map(({ n }) => n))
      const isKept = (line: string) => kept.has(Number(/"n":"?(\d+)/.exec(line)?.[1]))
      expect((await rest()).trim().split('\n')).toEqual(before.rows.filter(isKept))
      expect(await counts()).toEqual(before.counts)
      const untouched = newWorkspace()
      await untouched.insert(left)
      expect(await statesOf(workspace)).toEqual(await statesOf(untouched))
      expect(await findEverywhere(target, [erased, ...expected.devices])).toEqual([])
    },
  )

  /** Which events are the person's, told in another way than the program does it. */
  function modelOf(events: readonly Partial<Event>[], user: string): { own: Set<number>; devices: string[] } {
    const usersOf = (device: string) =>
      new Set(events.flatMap((event) => (event.anonymousId === device && event.userId ? [event.userId] : [])))
    const isHers = (device = '') => device !== '' && usersOf(device).size === 1 && usersOf(device).has(user)
    const hasIds = (event: Partial<Event>) => Boolean(event.userId) || Boolean(event.anonymousId)
    const isOwn = (event: Partial<Event>) => (event.userId ? event.userId === user : isHers(event.anonymousId))
    const own = events.map((event) => {
      if (hasIds(event)) return isOwn(event)
      const beside = events.filter((other) => other.sessionId === event.sessionId && hasIds(other))
      return beside.length > 0 && beside.every(isOwn)
    })
    const devices = new Set(events.flatMap(({ anonymousId }) => (isHers(anonymousId) ? [anonymousId ?? ''] : [])))
    return { own: new Set(own.flatMap((is, n) => (is ? [n] : []))), devices: [...devices] }
  }
})

/** Sessions and users. */
async function statesOf(workspace: Workspace): Promise<string[]> {
  const views = ['sessions', 'users'].map((view) =>
    workspace.query(
      `SELECT * EXCEPT (workspace_id) FROM ${view} WHERE workspace_id = '${workspace.id}' ORDER BY ALL FORMAT JSONEachRow`,
    ),
  )
  return (await Promise.all(views)).flatMap((text) => text.trim().split('\n'))
}

/** What the aggregates say, as numbers. */
async function countsOf(workspace: Workspace): Promise<string[]> {
  const views = (await workspace.query(`SHOW TABLES LIKE '%_counts_per_%'`)).trim().split('\n')
  const counts = views.map((view) =>
    workspace.query(`SELECT * FROM ${view} WHERE workspace_id = '${workspace.id}' ORDER BY ALL`),
  )
  return Promise.all(counts)
}

/** A generator of numbers from 0 to 1 that starts the same in every run. */
function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
