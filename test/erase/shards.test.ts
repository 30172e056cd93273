import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { layoutOf } from '../../src/erase/layout.ts'
import { openStore } from '../../src/erase/store.ts'
import { deletion } from '../../src/erase/tables.ts'
import type { Event } from '../../src/event.ts'
import { isProblem } from '../../src/problem.ts'
import { migrate } from '../../src/sink/migrations.ts'
import { runCli } from '../cli/run-cli.ts'
import { LOGGER } from '../sink/sink-fixture.ts'
import { queryClickHouse } from '../support/collector.ts'
import { randomFrom } from '../support/random.ts'
import { type Shards, startShards } from '../support/shards.ts'
import { countsOf, type EraseTarget, findEverywhere, numbered, statesOf, Workspace } from './erase-fixture.ts'
import { randomPeople } from './random-people.ts'

const TWO = { name: 'two', isReplicated: false }
const ONE = { name: 'one', isReplicated: false }
const QUERY_LOG = '<query_log><database>system</database><table>query_log</table></query_log>'
const SHARD_2 = /shard 2 \(127\.0\.0\.1:\d+\) of cluster two/

let shards: Shards
let directory: string
let workspaces = 0

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'penstock-erase-shards-'))
  shards = await startShards(2, { two: [1, 1], one: [1] }, QUERY_LOG)
  for (const index of [0, 1]) await prepare(index, 'penstock')
})

afterAll(async () => {
  await shards?.stop()
  rmSync(directory, { recursive: true, force: true })
})

function urlOf(index: number): string {
  return shards.urls[index] ?? ''
}

async function prepare(index: number, database: string, cluster = TWO): Promise<void> {
  const clickhouse = { url: urlOf(index), user: 'default', password: '', database, cluster }
  expect(await migrate({ clickhouse, logger: LOGGER })).toHaveProperty('applied')
}

/** What is inserted goes to this shard; what is asked is asked of the first one. */
function targetOf(shard: number, database = 'penstock', url = urlOf(0)): EraseTarget {
  return { url, user: 'default', password: '', database, cluster: TWO, shard }
}

/** A workspace of the cluster, once for each shard that is inserted into. */
function newWorkspace(database = 'penstock', url = urlOf(0)): readonly [Workspace, Workspace] {
  workspaces += 1
  const of = (shard: number) =>
    new Workspace(targetOf(shard, database, url), `w${workspaces}`, join(directory, String(workspaces)), shards.urls)
  return [of(1), of(2)]
}

/** Passes requests on to one shard and the other, in turn. */
function startBalancer() {
  let requests = 0
  return Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 120,
    async fetch(request) {
      const { pathname, search } = new URL(request.url)
      requests += 1
      const { method, headers } = request
      const body = method === 'POST' ? await request.arrayBuffer() : null
      return fetch(`${urlOf(requests % 2)}${pathname}${search}`, { method, headers, body, decompress: false })
    },
  })
}

/** The same asked of the tables of each shard. */
function atEach(sql: string, database = 'penstock_shard'): Promise<string[]> {
  return Promise.all([0, 1].map(async (index) => (await queryClickHouse(urlOf(index), sql, database)).trim()))
}

const tablesOfIds = () => atEach(`SHOW TABLES LIKE 'erasing%'`)
const mutations = () => atEach(`SELECT count() FROM system.mutations WHERE database = 'penstock_shard'`)

/** Where ids are in anything that is stored at one of the shards. */
async function foundAtEach(words: readonly string[]): Promise<string[][]> {
  return Promise.all([0, 1].map((index) => findEverywhere({ ...home(), url: urlOf(index) }, words)))
}

function home(): EraseTarget {
  return { ...targetOf(1), database: 'penstock_shard' }
}

/** Numbered events, with the shard that each is at. */
async function insertAt([one, two]: readonly [Workspace, Workspace], events: readonly [1 | 2, Partial<Event>][]) {
  const all = numbered(events.map(([, event]) => event))
  const of = (shard: number) => all.filter((_, n) => events[n]?.[0] === shard)
  await one.insert(of(1))
  await two.insert(of(2))
}

describe('a person on two shards', () => {
  test('is found and removed with what only another shard tells, and shared sessions are made of what is left at both', async () => {
    const [workspace, second] = newWorkspace()
    const tag = crypto.randomUUID().slice(0, 8)
    const [ada, laptop, email] = [`ada-${tag}`, `laptop-${tag}`, `${tag}@shop.test`]
    const [shared, nameless, mixed, old] = ['shared', 'nameless', 'mixed', 'old'].map((name) => `${name}-${tag}`)
    const alias = (userId: string, previousId: string) => ({ type: 'alias', userId, properties: { previousId } })
    const sessions = { shared: { sessionId: shared ?? '' }, old: { sessionId: old ?? '' } }
    await insertAt(
      [workspace, second],
      [
        [1, { ...sessions.old, anonymousId: laptop, type: 'click' }],
        [2, { ...sessions.old, anonymousId: laptop, type: 'click' }],
      ],
    )
    await atEach(`ALTER TABLE events DELETE WHERE session_id = '${old}' SETTINGS mutations_sync = 1`)
    await insertAt(
      [workspace, second],
      [
        [1, { userId: ada, anonymousId: laptop, ...sessions.shared }],
        [2, { anonymousId: laptop }], // a device that only the other shard ties to her
        [2, { userId: 'bob', ...sessions.shared, path: '/first', occurredAt: Date.now() - 60_000 }],
        [1, { userId: 'bob', ...sessions.shared, path: '/last' }],
        [2, { userId: ada, ...sessions.shared }],
        [1, { userId: ada, anonymousId: 'kiosk' }],
        [2, { userId: 'bob', anonymousId: 'kiosk' }],
        [1, { anonymousId: 'kiosk' }], // that others use it, too, only the other shard tells
        [2, { sessionId: nameless ?? '' }],
        [1, { sessionId: nameless ?? '', userId: ada }],
        [1, { sessionId: mixed ?? '' }],
        [2, { sessionId: mixed ?? '', userId: 'bob' }],
        [2, { sessionId: mixed ?? '', userId: ada }],
        [1, { type: 'identify', userId: ada, properties: { email } }],
        [2, { type: 'identify', userId: ada, properties: { plan: 'pro' } }],
        [2, { type: `mail to ${email}`, userId: 'bob' }],
        [1, alias(ada, 'ada-before')],
        [2, { userId: 'ada-before' }],
        [2, { userId: ada, receivedAt: Date.now() - 3 * 86_400_000 }], // a partition that the other shard has not
      ],
    )
    const counts = await countsOf(workspace)
    const { findings, outcome } = await workspace.erase({ users: [ada] }, { texts: 'remove' })
    expect(findings).toMatchObject({
      rows: { events: 11, user_traits: 6 },
      anonymousIds: 2,
      sharedSessions: 2,
      sharedDevices: [{ anonymous_id: 'kiosk', is_given: 0, events: 1 }],
      aliases: [{ userId: 'ada-before', events: 1 }],
    })
    expect(findings.texts.listed).toContainEqual({ table: 'events_per_day', column: 'type', text: `mail to ${email}` })
    expect(outcome).toMatchObject({ removed: findings.rows, textsRemoved: 3, sessionsRestored: 2, problems: [] })
    expect(await workspace.numbers()).toEqual([2, 3, 6, 7, 10, 11, 15, 17])
    const session = (id = '') =>
      workspace.query(
        `SELECT user_id, events, entry_path, exit_path FROM sessions WHERE workspace_id = '${workspace.id}' AND session_id = '${id}'`,
      )
    expect(await session(shared)).toBe('bob\t2\t/first\t/last\n')
    expect(await session(mixed)).toStartWith('bob\t2\t')
    expect([await session(nameless), await session(old)]).toEqual(['', ''])
    expect(await foundAtEach([ada, laptop, email])).toEqual([[], [`events: ${email}`]]) // bob's
    expect(await tablesOfIds()).toEqual(['', ''])
    const others = (text: string) => text.split('\n').filter((line) => !line.includes(email))
    expect(await countsOf(workspace)).toEqual(counts.map((text) => others(text).join('\n')))

    const before = await mutations()
    const again = await workspace.erase({ users: [ada] })
    expect(again.outcome).toMatchObject({ removed: {}, problems: [] })
    expect(await mutations()).toEqual(before)
    expect(await workspace.numbers()).toHaveLength(8)

    await atEach('SYSTEM FLUSH LOGS')
    const texts = 'SELECT query AS text FROM system.query_log UNION ALL SELECT command FROM system.mutations'
    const isKept = ([first, ...rest]: string) =>
      atEach(`SELECT countIf(position(text, concat('${first}', '${rest.join('')}')) > 0) > 0 FROM (${texts})`)
    expect(await isKept(workspace.id)).toEqual(['1', '1'])
    for (const id of [ada, laptop, email]) expect(await isKept(id)).toEqual(['0', '0'])
  })

  test('of random people one is removed, and all of the others stays as it was, also through a load balancer', async () => {
    const random = randomFrom(0x54a2d)
    await using balancer = startBalancer()
    const [workspace, second] = newWorkspace('penstock', balancer.url.origin)
    const { events, erased, own, devices } = randomPeople(random)
    const all = events.map((event) => ({ event, at: random() < 0.5 ? workspace : second }))
    for (let first = 0; first < all.length; first += 20) {
      const some = all.slice(first, first + 20)
      for (const at of [workspace, second])
        await at.insert(some.flatMap((each) => (each.at === at ? [each.event] : [])))
    }
    const counts = await countsOf(workspace)
    const { outcome } = await workspace.erase({ users: [erased] }, { texts: 'keep' })
    expect(outcome.problems).toEqual([])
    const left = events.flatMap((event, n) => (own.has(n) ? [] : [{ ...event, n }]))
    expect(await workspace.numbers()).toEqual(left.map(({ n }) => n))
    expect(await countsOf(workspace)).toEqual(counts)
    const [untouched] = newWorkspace()
    await untouched.insert(left)
    expect(await statesOf(workspace)).toEqual(await statesOf(untouched))
    expect(await foundAtEach([erased, ...devices])).toEqual([[], []])
  })
})

describe('a shard that is away', () => {
  test('is named before anything is done, and again by every statement, also for a user whose profile leaves such shards out', async () => {
    const [workspace, second] = newWorkspace()
    await insertAt(
      [workspace, second],
      [
        [1, { userId: 'ada' }],
        [2, { userId: 'ada' }],
      ],
    )
    const before = await mutations()
    const leavingOut = { ...targetOf(1), url: `${urlOf(0)}/?ch_skip_unavailable_shards=1` }
    const store = await openStore(leavingOut, shards.urls)
    if (isProblem(store)) throw new Error(store.message)
    await shards.kill9(1)
    await expect(workspace.erase({ users: ['ada'] })).rejects.toThrow(SHARD_2)
    await expect(store.rows(`SELECT count() FROM ${store.layout.table('events')}`)).rejects.toThrow(SHARD_2)
    await expect(store.everywhere('SELECT 1')).rejects.toThrow(SHARD_2)
    await store.close()
    await shards.start(1)
    expect([await tablesOfIds(), await mutations()]).toEqual([['', ''], before])
    await workspace.erase({ users: ['ada'] })
    expect(await workspace.numbers()).toEqual([])
  })

  test('in the middle breaks the run off; the next one goes on with what that had found, at whichever shard it is', async () => {
    const [workspace, second] = newWorkspace()
    await insertAt(
      [workspace, second],
      [
        [1, { userId: 'ada', sessionId: 's' }],
        [2, { userId: 'ada', sessionId: 's' }],
        [2, { userId: 'bob', sessionId: 's' }],
        [1, { anonymousId: 'tablet' }],
      ],
    )
    const broken = workspace.erase({ users: ['ada'] }, {}, () => shards.kill9(1))
    await expect(broken).rejects.toThrow(SHARD_2)
    await shards.start(1)
    const [left = '', same] = await tablesOfIds()
    expect(left).toMatch(/^erasing_\w+$/)
    expect(same).toBe(left)
    // As after a run that broke off while it wrote its ids, and then one that did while it dropped them.
    await queryClickHouse(urlOf(1), `INSERT INTO ${left} VALUES ('device', '', 'tablet')`, 'penstock_shard')
    const silence = `ALTER TABLE ${left} DELETE WHERE kind = 'alive' SETTINGS mutations_sync = 1`
    await queryClickHouse(urlOf(1), silence, 'penstock_shard')
    await queryClickHouse(urlOf(0), `DROP TABLE ${left} SYNC`, 'penstock_shard')
    const { outcome } = await workspace.erase({ users: ['ada'] })
    expect(outcome.problems).toEqual([])
    expect(await workspace.numbers()).toEqual([2])
    expect(await workspace.query(`SELECT user_id, events FROM sessions WHERE workspace_id = '${workspace.id}'`)).toBe(
      'bob\t1\n',
    )
    expect(await tablesOfIds()).toEqual(['', ''])
  })
})

test('two runs for the same person at one time take turns, whichever shard each of them asks', async () => {
  const [workspace, second] = newWorkspace()
  const other = newWorkspace('penstock', urlOf(1))[0]
  await insertAt(
    [workspace, second],
    [
      [1, { userId: 'ada', sessionId: 's' }],
      [2, { userId: 'bob', sessionId: 's' }],
    ],
  )
  const runs = [workspace, new Workspace(other.target, workspace.id, other.dataDir, other.shardUrls)]
  const results = await Promise.all(runs.map((run) => run.erase({ users: ['ada'] })))
  expect(results.map(({ outcome }) => outcome.problems)).toEqual([[], []])
  expect(await workspace.numbers()).toEqual([1])
  expect(await workspace.query(`SELECT user_id, events FROM sessions WHERE workspace_id = '${workspace.id}'`)).toBe(
    'bob\t1\n',
  )
  expect(await tablesOfIds()).toEqual(['', ''])
})

test('a mutation whose ids are gone is taken back at its shard, and not one of the same number at another', async () => {
  for (const index of [0, 1]) await prepare(index, 'orphans')
  const [workspace, second] = newWorkspace('orphans')
  await insertAt(
    [workspace, second],
    [
      [1, { userId: 'bob' }],
      [2, { userId: 'bob' }],
    ],
  )
  const run = (index: number, sql: string) => queryClickHouse(urlOf(index), sql, 'orphans_shard')
  await atEach('SYSTEM STOP MERGES events', 'orphans_shard')
  const gone = 'erasing_0123456789abcdef'
  await run(1, `CREATE TABLE ${gone} (id String) ENGINE = MergeTree ORDER BY id`)
  const orphan = `DELETE WHERE user_id IN (SELECT id FROM orphans_shard.${gone})`
  await run(1, `ALTER TABLE events ${orphan} SETTINGS mutations_sync = 0`)
  await run(1, `DROP TABLE ${gone} SYNC`)
  await run(0, `ALTER TABLE events DELETE WHERE user_id = 'x' SETTINGS mutations_sync = 0`)
  const pending = () =>
    atEach(`SELECT mutation_id FROM system.mutations WHERE database = 'orphans_shard' AND NOT is_done`, 'orphans_shard')
  const [innocent = '', alike = ''] = await pending()
  expect(innocent).not.toBe('')
  expect(alike).toBe(innocent)
  await workspace.find({ users: ['ada'] })
  expect(await pending()).toEqual([innocent, ''])
  await atEach('SYSTEM START MERGES events', 'orphans_shard')
})

describe('the command', () => {
  const environment = (database = 'penstock', cluster = 'two') => ({
    PATH: '/usr/bin:/bin',
    HOME: directory,
    DATA_DIR: join(directory, String(workspaces)),
    CLICKHOUSE_URL: urlOf(0),
    CLICKHOUSE_DATABASE: database,
    CLICKHOUSE_CLUSTER: cluster,
    CLICKHOUSE_CLUSTER_REPLICATED: 'false',
  })
  const erase = (env: Record<string, string>, ...args: string[]) =>
    runCli(['erase', '--tenant', 'tenant', '--workspace', `w${workspaces}`, '--user', 'ada', '--yes', ...args], env)
  const naming = (...urls: string[]) => urls.flatMap((url) => ['--shard', url])

  test('removes from all shards when each is named', async () => {
    const [workspace, second] = newWorkspace()
    await insertAt(
      [workspace, second],
      [
        [1, { userId: 'ada' }],
        [2, { userId: 'ada' }],
        [2, { userId: 'bob' }],
      ],
    )
    const { exitCode, stdout, stderr } = await erase(environment(), '--json', ...naming(urlOf(1), urlOf(0)))
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    expect(JSON.parse(stdout)).toMatchObject({ verified: true, removed: { events: 2 } })
    expect(await workspace.numbers()).toEqual([2])
  })

  test('wants the address of each shard, of no other server, and tables there', async () => {
    await prepare(0, 'halfway')
    await prepare(0, 'alone', ONE)
    const all = naming(...shards.urls)
    const expected: [Promise<{ stderr: string; exitCode: number }>, RegExp][] = [
      [erase(environment()), /not named by --shard \S+ shard 1 \(127.0.0.1:\d+\) and shard 2 /],
      [erase(environment(), ...naming(urlOf(0))), new RegExp(`not named by --shard \\S+ ${SHARD_2.source}`)],
      [erase(environment(), ...naming(urlOf(0), 'http://127.0.0.1:1')), /--shard http:\/\/127.0.0.1:1 does not answer/],
      [erase(environment('alone', 'one'), ...all), new RegExp(`--shard ${urlOf(1)} is no shard of cluster one`)],
      [erase(environment('halfway'), ...all), new RegExp(`no tables at ${SHARD_2.source}`)],
      [erase(environment('penstock', 'three'), ...all), /CLICKHOUSE_CLUSTER is "three", but/],
    ]
    for (const [run, message] of expected) {
      const { exitCode, stderr } = await run
      expect(stderr).toMatch(message)
      expect([exitCode, stderr.trim().split('\n').length]).toEqual([1, 1])
    }
  })
})

test('with replicas every statement that changes something says ON CLUSTER, and ClickHouse can read it', async () => {
  const cluster = { name: 'main', isReplicated: true }
  const layout = layoutOf({ url: '', user: '', password: '', database: 'penstock', cluster })
  const create = `CREATE TABLE IF NOT EXISTS erasing_1 (id String) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 0 COMMENT 'of ["a","b"]'`
  const statements = {
    [layout.idsTable(create)]:
      "CREATE TABLE IF NOT EXISTS erasing_1 ON CLUSTER `main` (id String) ENGINE = ReplicatedMergeTree('/clickhouse/tables/main/all/penstock_shard/erasing_1', '{shard}-{replica}') ORDER BY id SETTINGS replicated_deduplication_window = 0, replicated_deduplication_window_seconds = 604800 COMMENT 'of [\"a\",\"b\"]'",
    [deletion(layout, 'events', 'x = 1', ['20260101'])]:
      "ALTER TABLE `penstock_shard`.`events` ON CLUSTER `main` DELETE IN PARTITION ID '20260101' WHERE x = 1",
    [layout.spread('erasing_1') ?? '']: 'SYSTEM SYNC REPLICA ON CLUSTER `main` `penstock_shard`.`erasing_1`',
    [layout.caughtUp('events') ?? '']: 'SYSTEM SYNC REPLICA ON CLUSTER `main` `penstock_shard`.`events`',
    [`KILL MUTATION${layout.onCluster} WHERE 1 SYNC`]: 'KILL MUTATION ON CLUSTER `main` WHERE 1 SYNC',
    [`DROP TABLE IF EXISTS ${layout.target('erasing_1')} SYNC`]:
      'DROP TABLE IF EXISTS `penstock_shard`.`erasing_1` ON CLUSTER `main` SYNC',
  }
  for (const [made, wanted] of Object.entries(statements)) {
    expect(made).toBe(wanted)
    const literal = made.replaceAll('\\', '\\\\').replaceAll("'", "\\'")
    expect(await queryClickHouse(urlOf(0), `SELECT formatQuery('${literal}')`, 'system')).toContain('ON CLUSTER main')
  }
  expect(layout.system('mutations')).toBe("clusterAllReplicas('main', system.mutations)")
  expect(layout.each('SELECT 1')).toBe("cluster('main', view(SELECT 1))")
})
