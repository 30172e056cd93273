import { afterEach, expect, test } from 'bun:test'
import { migrate } from '../../src/sink/migrations.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { eventBody, insertEvents } from '../support/event-bodies.ts'

let server: TestClickHouse | undefined

afterEach(async () => {
  await server?.stop()
  server = undefined
})

async function start(options?: { own: boolean }): Promise<{ server: TestClickHouse; database: string }> {
  server = await startTestClickHouse(options)
  const database = await server.createDatabase()
  const clickhouse = { url: server.url, user: 'default', password: '', database }
  expect(await migrate({ clickhouse, logger: createLogger({ level: 'silent' }) })).toHaveProperty('applied')
  return { server, database }
}

/**
 * Rows stored, and events counted per minute, hour, day, over all types and in sessions; pageviews stored, and counted in sessions, per page and per referrer,
 * three times each, because a third of the events of a body are pageviews.
 */
async function counts(server: TestClickHouse, database: string): Promise<number[]> {
  const sql = `SELECT (SELECT count() FROM events), (SELECT sum(events) FROM event_counts_per_minute),
    (SELECT sum(events) FROM event_counts_per_hour), (SELECT sum(events) FROM event_counts_per_day),
    (SELECT sum(events) FROM activity_counts_per_day), (SELECT sum(events) FROM sessions),
    3 * (SELECT countIf(type = 'pageview') FROM events), 3 * (SELECT sum(pageviews) FROM sessions),
    3 * (SELECT sum(pageviews) FROM page_counts_per_day), 3 * (SELECT sum(pageviews) FROM referrer_counts_per_day)`
  return (await server.query(sql, { database })).trim().split('\t').map(Number)
}

/** What \`counts\` gives when all is there once. */
function everywhere(events: number): number[] {
  return Array.from({ length: 10 }, () => events)
}

test('a body sent again with its token is stored and counted once; another token is another body', async () => {
  const { server, database } = await start()
  const body = await eventBody(server, 'again', 9_999)
  for (let attempt = 0; attempt < 3; attempt += 1)
    expect(await insertEvents(server.url, database, body, 'log/1')).toBe(0)
  expect(await counts(server, database)).toEqual(everywhere(9_999))
  expect(await insertEvents(server.url, database, body, 'log/2')).toBe(0)
  expect(await counts(server, database)).toEqual(everywhere(19_998))
})

test('bodies with the same rows in the aggregates are counted each', async () => {
  const { server, database } = await start()
  const body = await eventBody(server, 'same', 99)
  for (let number = 0; number < 5; number += 1) await insertEvents(server.url, database, body, `log/${number}`)
  expect(await counts(server, database)).toEqual(everywhere(495))
})

test('the same body sent five times at once is stored and counted once', async () => {
  const { server, database } = await start()
  const body = await eventBody(server, 'at-once', 21_000)
  await Promise.all(Array.from({ length: 5 }, () => insertEvents(server.url, database, body, 'log/1')))
  expect(await counts(server, database)).toEqual(everywhere(21_000))
})

test.each([
  'events',
  'events_per_minute',
  'events_per_hour',
  'events_per_day',
  'activity_per_day',
  'session_states',
  'pages_per_day',
  'referrers_per_day',
])('an insert that fails in a view behind %s is completed by the next try with its token', async (table) => {
  const { server, database } = await start()
  const body = await eventBody(server, 'broken', 9_999)
  await server.query('CREATE TABLE nowhere (n UInt8) ENGINE = MergeTree ORDER BY n', { database })
  const broken = `CREATE MATERIALIZED VIEW broken TO nowhere AS SELECT throwIf(1, 'broken') AS n FROM ${table}`
  await server.query(broken, { database })
  for (let attempt = 0; attempt < 2; attempt += 1) {
    expect(await insertEvents(server.url, database, body, 'log/1')).toBe(395) // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
  }
  await server.query('DROP VIEW broken SYNC', { database })
  expect(await insertEvents(server.url, database, body, 'log/1')).toBe(0)
  expect(await insertEvents(server.url, database, body, 'log/1')).toBe(0)
  expect(await counts(server, database)).toEqual(everywhere(9_999))
})

test('users and sessions are counted distinct, and empty ones not at all', async () => {
  const { server, database } = await start()
  const rows = [
    { user_id: 'u1', anonymous_id: 'a1', session_id: 's1' },
    { user_id: 'u1', anonymous_id: 'a2', session_id: 's1' },
    { user_id: '', anonymous_id: 'a3', session_id: 's2' },
    { user_id: '', anonymous_id: '', session_id: '' },
  ].map((ids) =>
    JSON.stringify({ type: 'click', occurred_at: '2026-11-20 10:00:00', received_at: '2026-11-20 10:00:01', ...ids }),
  )
  await server.query(`INSERT INTO events FORMAT JSONEachRow ${rows.join('\n')}`, { database })
  for (const counts of [
    'event_counts_per_minute',
    'event_counts_per_hour',
    'event_counts_per_day',
    'activity_counts_per_day',
  ]) {
    const stored = await server.query(`SELECT events, users, sessions FROM ${counts}`, { database })
    expect(stored.trim()).toBe('4\t2\t2')
  }
})

test('who does things of several types in several batches is one user of the day over all types', async () => {
  const { server, database } = await start()
  for (const [token, type] of ['click', 'search', 'click'].entries()) {
    const row = {
      type,
      user_id: 'u1',
      session_id: `s${token}`,
      occurred_at: '2026-11-20 10:00:00',
      received_at: '2026-11-20 10:00:01',
    }
    await server.query(`INSERT INTO events FORMAT JSONEachRow ${JSON.stringify(row)}`, { database })
  }
  const stored = await server.query('SELECT day, events, users, sessions FROM activity_counts_per_day', { database })
  expect(stored.trim()).toBe('2026-11-20\t3\t1\t3')
})

test('kill -9 of ClickHouse in the middle of inserts over two partitions: every row once, every count once', async () => {
  const { server, database } = await start({ own: true })
  const rounds = 4
  const rows = 60_000
  let interrupted = 0
  for (let round = 0; round < rounds; round += 1) {
    const body = await eventBody(server, `round-${round}`, rows)
    const firstTry = insertEvents(server.url, database, body, `log/${round}`).catch(() => 'interrupted' as const)
    await Bun.sleep(20 + round * 35)
    process.kill(server.pid ?? 0, 'SIGKILL')
    if ((await firstTry) === 'interrupted') interrupted += 1
    while ((await insertEvents(server.url, database, body, `log/${round}`).catch(() => 'away')) !== 0)
      await Bun.sleep(50)
    const total = rows * (round + 1)
    expect(await counts(server, database)).toEqual(everywhere(total))
  }
  expect(interrupted).toBeGreaterThan(0)
  const perRound =
    'SELECT message_id, count(), uniqExact(event_id), uniq(toDate(received_at)) FROM events GROUP BY message_id ORDER BY message_id'
  const expected = Array.from({ length: rounds }, (_, round) => `round-${round}\t${rows}\t${rows}\t2`)
  expect((await server.query(perRound, { database })).trim().split('\n')).toEqual(expected)
  expect(
    (await server.query("SELECT sum(users) FROM event_counts_per_day WHERE workspace_id = 'ws0'", { database })).trim(),
  ).toBe('20000')
})
