/** How often ClickHouse merges events: seldom while a day is written, and once more when it is over. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { InsertTarget } from '../../src/sink/insert.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { insertEvents, preparedTarget, until } from './sink-fixture.ts'

const DAY_MS = 86_400_000
const MERGED_WITHIN_MS = 60_000
const NOW = Date.now()

let clickhouse: TestClickHouse
let target: InsertTarget

beforeAll(async () => {
  clickhouse = await startTestClickHouse()
  target = await preparedTarget(clickhouse)
})
afterAll(() => clickhouse.stop())

async function query(sql: string): Promise<string> {
  return (await clickhouse.query(sql, { database: target.database })).trim()
}

/** One segment, of so many events received on each of these days. */
async function insert(token: string, daysAgo: readonly number[], eventsADay: number): Promise<void> {
  const events = daysAgo.flatMap((days) =>
    Array.from({ length: eventsADay }, (_, index) => {
      const at = NOW - days * DAY_MS
      const ids = { userId: `user-${index}`, sessionId: `${days}/${index}` }
      const properties = { plan: 'pro', index }
      return { ...ids, path: `/${index}`, properties, occurredAt: at, receivedAt: at }
    }),
  )
  expect(await insertEvents(target, events, token)).toEqual({ outcome: 'inserted' })
}

/** Names of the parts of events received on that day. */
async function parts(daysAgo: number): Promise<string[]> {
  const day = new Date(NOW - daysAgo * DAY_MS).toISOString().slice(0, 10)
  const names =
    await query(`SELECT name FROM system.parts WHERE active AND database = '${target.database}' AND table = 'events'
    AND partition = '${day}' ORDER BY name`)
  return names === '' ? [] : names.split('\n')
}

/** Events stored, and counted in every aggregate; all are pageviews. */
async function counts(): Promise<number[]> {
  const row = await query(`SELECT (SELECT count() FROM events), (SELECT sum(events) FROM event_counts_per_minute),
    (SELECT sum(events) FROM event_counts_per_hour), (SELECT sum(events) FROM event_counts_per_day),
    (SELECT sum(events) FROM activity_counts_per_day), (SELECT sum(events) FROM sessions),
    (SELECT sum(pageviews) FROM page_counts_per_day), (SELECT sum(pageviews) FROM referrer_counts_per_day)`)
  return row.split('\t').map(Number)
}

function everywhere(events: number): number[] {
  return Array.from({ length: 8 }, () => events)
}

test('ClickHouse is told to merge events seldom, and a day as a whole when nothing was inserted into it for an hour', async () => {
  const table = await query(
    `SELECT create_table_query FROM system.tables WHERE database = '${target.database}' AND name = 'events' FORMAT TSVRaw`,
  )
  for (const setting of [
    'merge_selector_base = 20',
    'min_age_to_force_merge_seconds = 3600',
    'min_age_to_force_merge_on_partition_only = 1',
  ])
    expect(table).toMatch(new RegExp(`\\b${setting}\\b`))
})

test('days become one part each by themselves, once; nothing is lost, and batches that are sent again are still known', async () => {
  const days = [3, 2, 0]
  const segments = async () => {
    // Two parts of a day that differ are never merged otherwise: together they are less than twice the larger one.
    await insert('merges/large', days, 100)
    await insert('merges/small', days, 1)
  }
  await segments()
  for (const day of days) expect(await parts(day)).toHaveLength(2)
  expect(await counts()).toEqual(everywhere(303))

  // What ClickHouse does after an hour it does now.
  await query('ALTER TABLE events MODIFY SETTING min_age_to_force_merge_seconds = 1')
  const areMerged = async (each: readonly number[]) =>
    (await Promise.all(each.map(parts))).every(({ length }) => length === 1)
  await until(() => areMerged(days), MERGED_WITHIN_MS)
  const merged = await Promise.all(days.map(parts))
  expect(await counts()).toEqual(everywhere(303))
  await segments()
  expect(await counts()).toEqual(everywhere(303))
  expect(await Promise.all(days.map(parts))).toEqual(merged)

  // ClickHouse begins with the day that has been quiet longest: when it has come to this one, it has left the merged ones alone.
  await insert('merges/more', [1], 100)
  await insert('merges/last', [1], 1)
  await until(() => areMerged([1]), MERGED_WITHIN_MS)
  expect(await Promise.all(days.map(parts))).toEqual(merged)
  expect(await counts()).toEqual(everywhere(404))
})
