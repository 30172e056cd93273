import type { JourneyQuery } from '../../src/journey.ts'
import { DAY_MS } from '../../src/seed/calendar.ts'
import { verifyCounts } from '../measure/counts.ts'
import { timeJourneys, timeQuery } from '../measure/query-times.ts'
import type { Row, Scenario } from '../scenario.ts'
import { type ClickHouse, migrateDatabase, startOwnClickHouse } from '../system/clickhouse.ts'
import { cookbookQueries, dashboardQueries } from '../workload/queries.ts'
import { checkRoom, DAYS, loadEvents, TENANT, WORKSPACE } from '../workload/query-events.ts'

const EVENTS = 50_000_000
const EVENTS_SHORT = 20_000
const RUNS = 20
const RUNS_SHORT = 1
const MERGES_DEADLINE_MS = 300_000
const JOURNEY_EVENTS = 100

/** What people ask, of very many events. */
export const queries: Scenario = {
  name: 'queries',
  title: 'thirty days of a shop in the tables: how long the queries of the dashboards, the cookbook and journeys take',
  isInShort: true,
  isOnRequest: true,
  async run(bench) {
    const wanted = bench.events ?? (bench.isShort ? EVENTS_SHORT : EVENTS)
    const runs = bench.isShort ? RUNS_SHORT : RUNS
    checkRoom(wanted)
    const { clickhouse } = await startOwnClickHouse(bench.resources)
    await migrateDatabase(clickhouse)
    const begun = performance.now()
    const { events, sessions, untilMs } = await loadEvents(clickhouse, wanted, bench.say)
    const seconds = (performance.now() - begun) / 1000
    await verifyCounts(clickhouse, events)
    await mergeDaysThatAreOver(clickhouse, untilMs)
    const isMerged = bench.isShort || (await clickhouse.mergesIdle(MERGES_DEADLINE_MS))
    bench.say(`${events} events of ${sessions} sessions were loaded in ${seconds.toFixed(0)} s`)

    const rows: Row[] = []
    const failures: string[] = []
    const users = await usersOf(clickhouse, runs)
    const cookbook = cookbookQueries(users[0] ?? '')
    for (const query of [...(await dashboardQueries(clickhouse, untilMs)), ...cookbook]) {
      const { row, failure } = await timeQuery(clickhouse, query, runs)
      rows.push(row)
      if (failure !== undefined) failures.push(failure)
    }
    for (const days of [undefined, 7]) {
      const from = days === undefined ? undefined : untilMs - days * DAY_MS
      const asked = users.map((userId): JourneyQuery => ({ ...WHERE, userId, limit: JOURNEY_EVENTS, from }))
      rows.push(await timeJourneys(clickhouse, asked, `journey, ${days ?? DAYS} d`))
    }
    rows.push({ label: 'all', figures: { events, loadedEventsPerSecond: events / seconds, failures: failures.length } })
    const bytes = await clickhouse.query(BYTES)
    return {
      rows,
      notes: [
        ...failures,
        `on disk: ${bytes.replaceAll('\n', ', ')}; events in ${await clickhouse.query(PARTS)} parts`,
        ...(isMerged ? [] : ['merges had not ended when the queries began']),
        ...(cookbook.length === 0 ? ['there is no cookbook (docs/sql.md)'] : []),
      ],
    }
  },
}

const WHERE = { tenantId: TENANT, workspaceId: WORKSPACE }

const BYTES = `
  SELECT concat(table, ' ', formatReadableSize(sum(bytes_on_disk))) FROM system.parts
  WHERE active AND database = currentDatabase() AND rows > 100 GROUP BY table ORDER BY sum(bytes_on_disk) DESC FORMAT TSVRaw`

const PARTS = `SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = 'events'`

/**
 * Merges each day before that of `untilMs` into one part, as ClickHouse does by itself when nothing was inserted into it for an hour (migration 0011).
 * Here its parts are minutes old; in a deployment they would be hours and days. The parts of the last day stay as they are.
 */
async function mergeDaysThatAreOver(clickhouse: ClickHouse, untilMs: number): Promise<void> {
  const today = new Date(untilMs).toISOString().slice(0, 10)
  const over = `SELECT DISTINCT partition_id FROM system.parts
    WHERE active AND database = currentDatabase() AND table = 'events' AND partition < '${today}' FORMAT TSVRaw`
  const ids = (await clickhouse.query(over)).split('\n')
  for (const id of ids) await clickhouse.query(`OPTIMIZE TABLE events PARTITION ID '${id}' FINAL`)
}

/** Known users, some with few events and some with many. */
async function usersOf(clickhouse: ClickHouse, count: number): Promise<readonly string[]> {
  const sql = `SELECT user_id FROM user_traits WHERE tenant_id = '${TENANT}' AND trait = '' ORDER BY cityHash64(user_id)
    LIMIT ${count} FORMAT TSVRaw`
  return (await clickhouse.query(sql)).split('\n')
}
