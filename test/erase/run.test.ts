import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Run } from '../../src/erase/run.ts'
import { openStore, type Store } from '../../src/erase/store.ts'
import { isProblem } from '../../src/problem.ts'
import type { InsertTarget } from '../../src/sink/insert.ts'
import { preparedTarget } from '../sink/sink-fixture.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { waitUntil } from '../support/collector.ts'
import { numbered, statesOf, Workspace } from './erase-fixture.ts'

let server: TestClickHouse
let target: InsertTarget
let store: Store
let directory: string
let workspaces = 0

beforeAll(async () => {
  server = await startTestClickHouse()
  target = await preparedTarget(server)
  const opened = await openStore(target)
  if (isProblem(opened)) throw new Error(opened.message)
  store = opened
  directory = mkdtempSync(join(tmpdir(), 'penstock-erase-run-'))
})

afterAll(async () => {
  await store?.close()
  await server.stop()
  rmSync(directory, { recursive: true, force: true })
})

function newWorkspace(): Workspace {
  workspaces += 1
  return new Workspace(target, `workspace-${workspaces}`, join(directory, String(workspaces)))
}

/** A run of another process, for user ada. */
async function otherRun({ id }: Workspace): Promise<Run> {
  const run = new Run(store, { tenantId: 'tenant', workspaceId: id })
  expect(await run.begin([{ kind: 'user', scope: '', id: 'ada' }])).toBeUndefined()
  return run
}

const tables = () => server.query(`SHOW TABLES FROM ${target.database} LIKE 'erasing%'`)

test.each([0, 50, 200])(
  'two runs for the same person, one %i ms after the other, both remove all and verify it',
  async (ms) => {
    const workspace = newWorkspace()
    const session = crypto.randomUUID()
    const times = { occurredAt: Date.now(), receivedAt: Date.now() }
    const events = numbered([
      { userId: 'ada', anonymousId: 'laptop', sessionId: session },
      { anonymousId: 'laptop' },
      { userId: 'bob', sessionId: session },
      ...Array.from({ length: 100 }, (_, n) => ({ userId: n % 2 === 0 ? 'ada' : `other-${n}` })),
    ])
    await workspace.insert(events.map((event) => ({ ...event, ...times })))
    const first = workspace.erase({ users: ['ada'] })
    await Bun.sleep(ms)
    const results = await Promise.all([first, workspace.erase({ users: ['ada'] })])
    expect(results.map(({ outcome }) => outcome.problems)).toEqual([[], []])
    const left = events.filter(({ userId }) => userId !== 'ada' && userId !== undefined)
    expect(await workspace.numbers()).toHaveLength(left.length)
    const untouched = newWorkspace()
    await untouched.insert(left.map((event) => ({ ...event, ...times })))
    expect(await statesOf(workspace)).toEqual(await statesOf(untouched))
    expect(await tables()).toBe('')
  },
)

test('a run waits for one that removes rows, and goes on with what that has found when it ends before it is done', async () => {
  const workspace = newWorkspace()
  await workspace.insert(numbered([{ userId: 'ada' }, { anonymousId: 'laptop' }, { userId: 'bob' }]))
  const other = await otherRun(workspace)
  expect(await other.takeTurn()).toBe(false)
  let isDone = false
  const waiting = workspace.erase({ users: ['ada'] }).finally(() => {
    isDone = true
  })
  const isWaiting = async () => (await tables()).trim().split('\n').length === 2
  await waitUntil('the second run has a table', isWaiting)
  await Bun.sleep(2_000)
  expect([isDone, await workspace.numbers()]).toEqual([false, [0, 1, 2]])
  await other.insert([{ kind: 'device', scope: '', id: 'laptop' }])
  await other.leave()
  expect((await waiting).outcome.problems).toEqual([])
  expect(await workspace.numbers()).toEqual([2])
  expect(await tables()).toBe('')
})

test('a run that only looks is not waited for, and keeps its table', async () => {
  const workspace = newWorkspace()
  await workspace.insert(numbered([{ userId: 'ada' }, { userId: 'bob' }]))
  const other = await otherRun(workspace)
  expect((await workspace.erase({ users: ['ada'] })).outcome.problems).toEqual([])
  expect((await tables()).trim()).toBe(other.table)
  await other.drop()
})

test('a run that was killed is known by its silence', async () => {
  const workspace = newWorkspace()
  await workspace.insert(numbered([{ userId: 'ada' }, { anonymousId: 'laptop' }, { userId: 'bob' }]))
  const killed = await otherRun(workspace)
  await killed.takeTurn()
  await killed.insert([{ kind: 'device', scope: '', id: 'laptop' }])
  const name = 'erasing_00000000000000aa'
  await workspace.query(`CREATE TABLE ${name} CLONE AS ${killed.table}`)
  const [row] = await store.rows<{ comment: string }>(
    `SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = '${killed.table}'`,
  )
  await workspace.query(`ALTER TABLE ${name} MODIFY COMMENT '${row?.comment}'`)
  await killed.drop()
  await workspace.query(`ALTER TABLE ${name} DELETE WHERE kind = 'alive' SETTINGS mutations_sync = 1`)
  expect((await workspace.erase({ users: ['ada'] })).outcome.problems).toEqual([])
  expect(await workspace.numbers()).toEqual([2])
  expect(await tables()).toBe('')
})
