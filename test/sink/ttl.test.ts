/** What becomes of events after 90 days: ClickHouse drops them by itself, and all that was counted of them stays. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { InsertTarget } from '../../src/sink/insert.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { insertEvents, preparedTarget, until } from './sink-fixture.ts'

const DAY_MS = 86_400_000
const EVENTS = 50

let clickhouse: TestClickHouse
let target: InsertTarget

beforeAll(async () => {
  clickhouse = await startTestClickHouse()
  target = await preparedTarget(clickhouse)
})
afterAll(() => clickhouse.stop())

async function number(sql: string): Promise<number> {
  return Number(await clickhouse.query(sql, { database: target.database }))
}

/** One segment of events that were received so many days ago. */
async function insert(daysAgo: number, token: string): Promise<void> {
  const receivedAt = Date.now() - daysAgo * DAY_MS
  const events = Array.from({ length: EVENTS }, (_, index) => ({
    type: index % 2 === 0 ? 'pageview' : 'identify',
    sessionId: `${daysAgo}/${index % 5}`,
    userId: `user-${daysAgo}`,
    path: '/',
    properties: { plan: 'pro' },
    occurredAt: receivedAt,
    receivedAt,
  }))
  expect(await insertEvents(target, events, token)).toEqual({ outcome: 'inserted' })
}

/** What every aggregate says of the two segments. */
async function aggregates(): Promise<number[]> {
  const sums = [
    'SELECT sum(events) FROM event_counts_per_minute',
    'SELECT sum(events) FROM event_counts_per_hour',
    'SELECT sum(events) FROM event_counts_per_day',
    'SELECT sum(events) FROM activity_counts_per_day',
    'SELECT sum(events) FROM sessions',
    'SELECT 2 * sum(pageviews) FROM page_counts_per_day',
    'SELECT 2 * sum(pageviews) FROM referrer_counts_per_day',
    `SELECT ${EVENTS} * count() FROM users`,
  ]
  const found: number[] = []
  for (const sql of sums) found.push(await number(sql))
  return found
}

test('events older than 90 days go by ClickHouse’s own TTL, younger ones and every aggregate stay, and an old batch sent again does not come back', async () => {
  await insert(91, 'ttl/old')
  await insert(88, 'ttl/young')
  const events = "SELECT count() FROM events WHERE user_id = 'user-91'"
  // ClickHouse looks for itself when it next thinks of merging; it is only told to do so at once.
  await clickhouse.query('OPTIMIZE TABLE events FINAL', { database: target.database })
  await until(async () => (await number(events)) === 0)
  expect(await number("SELECT count() FROM events WHERE user_id = 'user-88'")).toBe(EVENTS)
  const both = Array.from({ length: 8 }, () => 2 * EVENTS)
  expect(await aggregates()).toEqual(both)

  await insert(91, 'ttl/old')
  expect(await aggregates()).toEqual(both)
  expect(await number(events)).toBe(0)
})
