/** The exact count at the end of every scenario: what was acknowledged is stored once, and counted once in every aggregate. */
import { copiesAmong } from '../load/generator.ts'
import type { LoadResult } from '../load/result.ts'
import type { ClickHouse } from '../system/clickhouse.ts'

/** An event was lost, doubled or miscounted, or an answer was not what it should be: the scenario has failed. */
export class CountMismatch extends Error {}

/** Tables whose events add up to those in `events`, by the column that counts. */
const COUNTS = {
  events: 'SELECT count() FROM events',
  events_per_minute: 'SELECT sum(events) FROM events_per_minute',
  events_per_hour: 'SELECT sum(events) FROM events_per_hour',
  events_per_day: 'SELECT sum(events) FROM events_per_day',
  activity_per_day: 'SELECT sum(events) FROM activity_per_day',
  session_states: 'SELECT sum(events) FROM session_states',
} as const

/** Tables whose pageviews add up to those in `events`; all events of the benchmark have a session. */
const PAGEVIEW_TABLES = ['session_states', 'pages_per_day', 'referrers_per_day'] as const

/**
 * Throws `CountMismatch` unless the table and every aggregate hold exactly the acknowledged events.
 * @param acknowledged without the copies of others
 */
export async function verifyCounts(clickhouse: ClickHouse, acknowledged: number): Promise<void> {
  const counts: Record<string, number> = {}
  for (const [table, sql] of Object.entries(COUNTS)) counts[table] = await clickhouse.number(sql)
  const stored = await clickhouse.number("SELECT countIf(type IN ('pageview', 'page_view')) FROM events")
  for (const table of PAGEVIEW_TABLES) {
    const counted = await clickhouse.number(`SELECT sum(pageviews) FROM ${table}`)
    if (counted !== stored)
      throw new CountMismatch(
        `events has ${stored} pageviews, but ${table} has ${counted} (${signed(counted - stored)})`,
      )
  }
  const wrong = Object.entries(counts).filter(([, count]) => count !== acknowledged)
  if (wrong.length === 0) return
  const found = wrong.map(([table, count]) => `${table} has ${count} (${signed(count - acknowledged)})`)
  throw new CountMismatch(`acknowledged ${acknowledged} events, but ${found.join(', ')}`)
}

/** Parts in which ids are counted: all of some million at one time would want as much memory as ClickHouse may take here. */
const ID_PARTS = 8

/** Throws `CountMismatch` when two events are stored with the same id. */
export async function verifyIds(clickhouse: ClickHouse): Promise<void> {
  for (let part = 0; part < ID_PARTS; part++) {
    const sql = `SELECT count() - uniqExact(event_id) FROM events WHERE cityHash64(event_id) % ${ID_PARTS} = ${part}`
    const doubled = await clickhouse.number(sql)
    if (doubled > 0) throw new CountMismatch(`${doubled} events are stored with an id that another one has`)
  }
}

/** What the load generator saw and what Penstock counted of the same load. */
export interface Answered {
  readonly load: LoadResult
  readonly eventsPerRequest: number
  readonly connections: number
  /** Events that Penstock says it accepted, and how many of them it found to be copies. */
  readonly accepted: number
  readonly duplicates?: number
  /** The generator sent every request twice. */
  readonly hasCopies?: boolean
}

/**
 * What is wrong between the two, undefined when nothing is. A generator that stops leaves at most one request of each connection
 * unanswered, which may have been accepted.
 */
export function contradiction(answered: Answered): string | undefined {
  const { load, eventsPerRequest, connections, accepted, duplicates = 0, hasCopies = false } = answered
  if (load.refused > 0) return `${load.refused} of ${load.requests} requests were refused`
  if (load.broken > 0) return `${load.broken} connections broke or waited too long`
  const least = load.requests * eventsPerRequest
  const most = least + connections * eventsPerRequest
  if (accepted < least || accepted > most)
    return `the generator counted ${load.requests} answers (${least} to ${most} events), Penstock accepted ${accepted} events`
  if (!hasCopies)
    return duplicates > 0 ? `${duplicates} events were taken for copies, but all of them were new` : undefined
  // Those that were left behind at the end may be originals, whose copies never came, or copies.
  const copies = copiesAmong(load.requests) * eventsPerRequest
  if (Math.abs(duplicates - copies) > most - least)
    return `of ${load.requests} requests ${copies} events were copies, Penstock found ${duplicates}`
  return undefined
}

/** Throws `CountMismatch` when generator and Penstock disagree. */
export function verifyAnswers(answered: Answered): void {
  const wrong = contradiction(answered)
  if (wrong !== undefined) throw new CountMismatch(wrong)
}

function signed(difference: number): string {
  return difference > 0 ? `+${difference}` : String(difference)
}
