import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PERSONAL_TABLES } from '../../src/erase/tables.ts'
import type { EmbeddedClickHouse } from '../../src/sink/embedded-clickhouse.ts'
import { type CliResult, runCli, runJson } from '../cli/run-cli.ts'
import { type Collector, type CollectorHome, startCollector, waitUntil } from '../support/collector.ts'
import { newHomeWithoutEngine } from '../support/engine.ts'
import { makeDraft } from '../support/event-drafts.ts'
import { blockOf, findEverywhere, Workspace } from './erase-fixture.ts'

setDefaultTimeout(180_000)

const MAIN = join(import.meta.dir, '../../src/main.ts')
const DEFAULT = ['--tenant', 'default', '--workspace', 'default']

let home: CollectorHome
let engine: EmbeddedClickHouse
let collector: Collector

beforeAll(async () => {
  const made = newHomeWithoutEngine({ FLUSH_INTERVAL_MS: '200' })
  home = made.home
  engine = made.startEngine()
  collector = await startCollector({ home })
  // From its next start on ClickHouse clears up every second, and not after minutes.
  const often =
    'old_parts_lifetime = 1, cleanup_delay_period = 1, cleanup_delay_period_random_add = 0, max_cleanup_delay_period = 1'
  for (const table of PERSONAL_TABLES) await collector.query(`ALTER TABLE ${table} MODIFY SETTING ${often}`)
})

afterAll(async () => {
  await collector.stop()
  await engine.stop()
  home.remove()
})

const target = () => ({ url: home.clickhouseUrl, user: 'default', password: '', database: 'penstock' })
const erase = (...args: string[]) => runCli(['erase', ...DEFAULT, ...args], home.env)
const eraseJson = (...args: string[]) => runJson(home.env, 'erase', ...DEFAULT, ...args)

function expectOneLineError(result: CliResult, part: string): void {
  expect(result.stderr).toContain(part)
  expect(result.stderr.trim().split('\n')).toHaveLength(1)
  expect(result.exitCode).toBe(1)
}

test('what was accepted a moment ago is waited for, removed, and does not come back when everything is killed', async () => {
  const [user, device, other] = ['ada', 'laptop', 'bob'].map((name) => `${name}-${crypto.randomUUID()}`) as [
    string,
    string,
    string,
  ]
  const type = `seen-${crypto.randomUUID()}`
  const events = [
    { user_id: user, anonymous_id: device },
    { anonymous_id: device },
    { user_id: other },
    { user_id: user, type: 'identify' },
  ]
  const sent = await collector.postEvents(events.map((event) => makeDraft({ type, ...event })))
  expect(sent.status).toBe(201)
  const report = await eraseJson('--user', user, '--yes')
  expect(report).toMatchObject({
    verified: true,
    removed: { session_states: 3, events: 3, user_traits: 1 },
    anonymous_ids: 1,
    problems: [],
  })
  await collector.kill9()
  await killEngine()
  collector = await startCollector({ home, env: { FLUSH_INTERVAL_MS: '600000' } })
  await collector.flushed()
  expect(await findEverywhere(target(), [user, device])).toEqual([])
  expect(await collector.query(`SELECT user_id FROM events WHERE type = '${type}'`)).toBe(`${other}\n`)
  expect(await collector.query(`SELECT sum(events) FROM events_per_minute WHERE type = '${type}'`)).toBe('3\n')
  // Of so few rows nothing is compressed: an id in a file would be found.
  await waitUntil(
    'the parts that had the rows are off the disk',
    () => filesWith(user).length + filesWith(device).length === 0,
  )
  expect(filesWith(other)).not.toEqual([])
})

test('events that cannot reach ClickHouse keep it from saying that it is done', async () => {
  await collector.postEvents([makeDraft({ user_id: 'late' })]) // with the interval of above, it stays in the log
  await collector.kill9()
  const log = join(home.env.DATA_DIR ?? '', 'log')
  expect(readdirSync(log).some((name) => name.endsWith('.open'))).toBe(true)
  expectOneLineError(await erase('--user', 'late', '--yes', '--wait', '1s'), 'do not reach ClickHouse')
  collector = await startCollector({ home })
  expect(await eraseJson('--user', 'late', '--yes')).toMatchObject({ verified: true, removed: { events: 1 } })
})

test('a stored segment whose file waits to be written over keeps nobody waiting', async () => {
  const log = join(home.env.DATA_DIR ?? '', 'log')
  const many = Array.from({ length: 100 }, () => makeDraft({ user_id: 'eve', properties: { text: 'x'.repeat(1_000) } }))
  expect((await collector.postEvents(many)).status).toBe(201)
  await waitUntil('the file is spare', () => readdirSync(log).some((name) => name.endsWith('.spare')))
  const report = await eraseJson('--user', 'eve', '--yes', '--wait', '5s')
  expect(report).toMatchObject({ verified: true, removed: { events: 100 } })
})

test('a collector elsewhere is waited for by its address, and one that does not answer is an error', async () => {
  await collector.postEvents([makeDraft({ user_id: 'elsewhere' })])
  const elsewhere = { ...home.env, DATA_DIR: join(home.directory, 'elsewhere') }
  const run = (...args: string[]) => runCli(['erase', ...DEFAULT, '--user', 'elsewhere', '--yes', ...args], elsewhere)
  expectOneLineError(await run(), 'there is no log in')
  expectOneLineError(await run('--collector', 'http://127.0.0.1:1'), 'does not answer')
  const result = await run('--collector', collector.url, '--json')
  expect(result).toMatchObject({ exitCode: 0, stderr: '' })
  expect(JSON.parse(result.stdout)).toMatchObject({ verified: true, removed: { events: 1 } })
})

test('a dry run says what there is and removes nothing; a list names many people', async () => {
  await collector.postEvents(['one', 'two', 'three'].map((user) => makeDraft({ user_id: user })))
  await collector.flushed()
  const list = join(home.directory, 'users.txt')
  writeFileSync(list, 'one\r\ntwo\n\n')
  const dry = await erase('--users-from', list, '--user', 'one', '--dry-run')
  expect(dry).toMatchObject({ exitCode: 0, stderr: '' })
  expect(dry.stdout).toContain('Found of 2 users')
  expect(await collector.query(`SELECT count() FROM events WHERE user_id IN ('one', 'two')`)).toBe('2\n')
  const done = await erase('--users-from', list, '--yes')
  expect(done).toMatchObject({ exitCode: 0, stderr: '' })
  for (const part of ['Removed of 2 users', 'What stays:', 'backups']) expect(done.stdout).toContain(part)
  expect(await collector.query(`SELECT user_id FROM events WHERE user_id IN ('one', 'two', 'three')`)).toBe('three\n')
})

test('a path that may name the person wants a decision, before anything is removed', async () => {
  const page = { page_url: 'https://shop.test/users/u_77/orders' }
  await collector.postEvents([
    makeDraft({ user_id: 'u_77', context: page }),
    makeDraft({ user_id: 'u_78', context: page }),
  ])
  expectOneLineError(await erase('--user', 'u_77', '--yes'), 'pages_per_day: path "/users/u_77/orders"')
  expect(await collector.query(`SELECT count() FROM events WHERE user_id = 'u_77'`)).toBe('1\n')
  expect(await eraseJson('--user', 'u_77', '--yes', '--paths', 'remove')).toMatchObject({
    verified: true,
    texts_removed: 1,
  })
  expect(await collector.query(`SELECT count() FROM pages_per_day WHERE path LIKE '%u_77%'`)).toBe('0\n')
})

test('at a terminal it shows what there is and asks; anything but yes removes nothing', async () => {
  await collector.postEvents([makeDraft({ user_id: 'asked' })])
  const events = () => collector.query(`SELECT count() FROM events WHERE user_id = 'asked'`)
  const no = await eraseAtTerminal('\r', '--user', 'asked')
  expect(no.exitCode).toBe(1)
  expect(no.text).toContain('Found of user asked')
  expect(no.text).toContain('error: not confirmed: nothing is removed')
  expect((await eraseAtTerminal('\x03', '--user', 'asked')).exitCode).toBe(1)
  expect(await events()).toBe('1\n')
  const yes = await eraseAtTerminal('y\r', '--user', 'asked')
  expect(yes.exitCode).toBe(0)
  expect(yes.text).toContain('Removed of user asked')
  expect(await events()).toBe('0\n')
})

/** Runs the command at a terminal of its own and gives the answer once it is asked for. */
async function eraseAtTerminal(answer: string, ...args: string[]): Promise<{ exitCode: number; text: string }> {
  let text = ''
  let isAnswered = false
  const child = Bun.spawn([process.execPath, '--no-env-file', MAIN, 'erase', ...DEFAULT, ...args], {
    env: home.env,
    terminal: {
      data(terminal, data) {
        text += new TextDecoder().decode(data)
        if (isAnswered || !text.includes('[y/N]')) return
        isAnswered = true
        terminal.write(answer)
      },
    },
  })
  const exitCode = await child.exited
  child.terminal?.close()
  return { exitCode, text }
}

describe('wrong input is an error of one line:', () => {
  test.each([
    [['--user', 'x'], 'wants --yes, or a terminal'],
    [['--user', 'x', '--json'], 'wants --yes, or a terminal'],
    [['--yes'], 'say whom to erase'],
    [['--user', '', '--yes'], 'an id is empty'],
    [['--users-from', '/nowhere', '--yes'], '--users-from cannot be read'],
    [['--users-from', '/dev/null', '--yes'], 'names nobody'],
    [['--user', 'x', '--paths', 'drop', '--yes'], '--paths is "drop", but wants remove or keep'],
    [['--user', 'x', '--wait', 'long', '--yes'], '--wait is "long"'],
    [['--user', 'x', '--collector', 'host:3000', '--yes'], '--collector is "host:3000"'],
    [['--user', 'x', '--shard', 'host:8123', '--yes'], '--shard is "host:8123"'],
    [['--user', 'x', '--shard', 'http://host:8123', '--yes'], '--shard is not wanted'],
    [['--user', 'x', '--tenant', 'nobody', '--yes'], 'there is nothing of workspace nobody/default'],
  ])('%j', async (args, part) => expectOneLineError(await erase(...args), part))

  test('a cluster that the server does not know', async () => {
    const env = { ...home.env, CLICKHOUSE_CLUSTER: 'events' }
    expectOneLineError(
      await runCli(['erase', ...DEFAULT, '--user', 'x', '--yes'], env),
      'CLICKHOUSE_CLUSTER is "events"',
    )
  })

  test('no ClickHouse', async () => {
    const env = { ...home.env, CLICKHOUSE_URL: 'http://127.0.0.1:1' }
    expectOneLineError(
      await runCli(['erase', ...DEFAULT, '--user', 'x', '--yes'], env),
      'nothing is removed; ClickHouse at http://127.0.0.1:1',
    )
  })
})

describe('a batch that is sent again after its rows were erased', () => {
  const WORKSPACE = 'again'
  const batches = () => ({
    alone: blockOf([{ ...event('ada', 0), receivedAt: Date.now() - 10 * 86_400_000 }]), // a partition of its own: never merged
    mixed: blockOf([event('ada', 1), event('bob', 2)]),
    others: blockOf([event('bob', 3)]),
  })
  const event = (userId: string, n: number) => ({
    tenantId: 'tenant',
    workspaceId: WORKSPACE,
    sessionId: `session-of-${userId}`,
    userId,
    properties: { n },
  })

  test('is taken for a duplicate, also after a kill; once its emptied part is dropped it is stored in events alone', async () => {
    const workspace = new Workspace(target(), WORKSPACE, join(home.directory, 'again'))
    const bodies = batches()
    const sendAll = async () => {
      for (const [token, body] of Object.entries(bodies)) await workspace.send(body, token)
    }
    const counted = () =>
      workspace.query(
        `SELECT (SELECT sum(events) FROM events_per_day WHERE workspace_id = '${WORKSPACE}'),
          (SELECT sum(events) FROM sessions WHERE workspace_id = '${WORKSPACE}')`,
      )
    await sendAll()
    // ClickHouse drops an emptied part at its next clearing up; here not before that is wanted.
    for (const table of ['events', 'session_states'])
      await workspace.query(`ALTER TABLE ${table} MODIFY SETTING remove_empty_parts = 0`)
    await workspace.erase({ users: ['ada'] })
    expect([await workspace.numbers(), await counted()]).toEqual([[2, 3], '4\t2\n'])
    await sendAll()
    await killEngine()
    await sendAll()
    expect([await workspace.numbers(), await counted()]).toEqual([[2, 3], '4\t2\n'])
    await workspace.insert([event('bob', 4)], 'new')
    expect(await workspace.numbers()).toEqual([2, 3, 4])

    const emptyParts = () =>
      workspace.query(
        `SELECT count() FROM system.parts WHERE database = 'penstock' AND table = 'events' AND rows = 0 AND active`,
      )
    expect(await emptyParts()).not.toBe('0\n')
    await workspace.query(`ALTER TABLE events MODIFY SETTING remove_empty_parts = 1`)
    await waitUntil('the emptied parts are dropped', async () => (await emptyParts()) === '0\n')
    await killEngine()
    await sendAll()
    // This is why the command waits for the log: nothing in it can be sent again after the erasure.
    expect(await workspace.numbers()).toEqual([0, 2, 3, 4])
    await workspace.erase({ users: ['ada'] })
    expect(await workspace.numbers()).toEqual([2, 3, 4])
    expect(await counted()).toBe('5\t3\n')
  })
})

/** Files of the collector and of ClickHouse that hold a text. */
function filesWith(text: string): string[] {
  const { stdout } = Bun.spawnSync(['grep', '-rlF', text, home.directory])
  return stdout.toString().split('\n').filter(Boolean)
}

async function killEngine(): Promise<void> {
  const { pid } = engine
  if (pid === undefined) throw new Error('no engine')
  process.kill(pid, 'SIGKILL')
  await waitUntil('the engine has been started again', () => engine.pid !== undefined && engine.pid !== pid)
  await engine.ready()
}

test('the directory of dead letters is not made by looking for some', () => {
  expect(existsSync(join(home.env.DATA_DIR ?? '', 'dead-letters'))).toBe(false)
})
