/** What `bench queries` loads and asks, small. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { verifyCounts } from '../../bench/measure/counts.ts'
import { timeJourneys, timeQuery } from '../../bench/measure/query-times.ts'
import { ClickHouse, migrateDatabase } from '../../bench/system/clickhouse.ts'
import { cookbookQueries } from '../../bench/workload/queries.ts'
import { checkRoom, type Loaded, loadEvents } from '../../bench/workload/query-events.ts'
import { startTestClickHouse } from '../support/clickhouse.ts'

const server = await startTestClickHouse()
afterAll(() => server.stop())

let clickhouse: ClickHouse
let loaded: Loaded
beforeAll(async () => {
  clickhouse = new ClickHouse(server.url, () => server.pid ?? 0, await server.createDatabase())
  await migrateDatabase(clickhouse)
  loaded = await loadEvents(clickhouse, 10_000, () => undefined)
})

test('about as many events as wanted are loaded, counted alike in every aggregate', async () => {
  expect(loaded.events).toBeGreaterThan(9_000)
  expect(loaded.events).toBeLessThan(11_000)
  await verifyCounts(clickhouse, loaded.events)
  expect(await clickhouse.number('SELECT count() FROM sessions')).toBe(loaded.sessions)
})

test('they lie in thirty days, most of them in the one workspace, and their sessions are whole', async () => {
  expect(await clickhouse.number('SELECT uniq(toDate(received_at)) FROM events')).toBeGreaterThanOrEqual(30)
  const share = await clickhouse.number("SELECT countIf(workspace_id = 'shop') / count() FROM events")
  expect(share).toBeGreaterThan(0.8)
  const mixed = 'SELECT session_id FROM events GROUP BY session_id HAVING uniq(anonymous_id, tenant_id, user_agent) > 1'
  expect(await clickhouse.number(`SELECT count() FROM (${mixed})`)).toBe(0)
  expect(await clickhouse.number(`SELECT count() FROM events WHERE received_at < occurred_at`)).toBe(0)
})

test('a query is told by what it reads, and one that fails by its reason', async () => {
  const time = (sql: string) => timeQuery(clickhouse, { name: 'it', sql }, 2)
  expect(await time('SELECT count() FROM events WHERE path = 1::String')).toMatchObject({
    row: { label: 'it [events]', figures: { runs: 2, rowsRead: loaded.events } },
  })
  expect(await time('SELECT sum(events) FROM event_counts_per_day')).toMatchObject({
    row: { label: 'it [aggregates]', figures: { p50Ms: expect.any(Number), p95Ms: expect.any(Number) } },
  })
  expect(await time('SELECT nothing FROM events')).toMatchObject({
    row: { label: 'it [failed]' },
    failure: expect.stringContaining('nothing'),
  })
})

test('a journey is read by the function of the collector', async () => {
  const userId = await clickhouse.query("SELECT user_id FROM users WHERE tenant_id = 'demo' LIMIT 1 FORMAT TSVRaw")
  const query = { tenantId: 'demo', workspaceId: 'shop', userId, limit: 10 }
  const { label, figures } = await timeJourneys(clickhouse, [query, query], 'journey')
  expect(label).toBe('journey [events]')
  expect(figures.runs).toBe(2)
  expect(figures.rowsRead).toBeGreaterThan(0)
})

test('the queries of the cookbook are those that ask something', () => {
  for (const { sql } of cookbookQueries('user-1')) expect(sql).toMatch(/\b(SELECT|FROM)\b/i)
})

test('a disk without room is told before', () => {
  expect(() => checkRoom(1e15)).toThrow('are free')
})
