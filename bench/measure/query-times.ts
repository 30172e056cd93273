/** How long a query takes, and how much it reads. */
import { type JourneyQuery, readJourney } from '../../src/journey.ts'
import { isProblem, reasonOf } from '../../src/problem.ts'
import { createClickHouse } from '../../src/sink/clickhouse.ts'
import type { Row } from '../scenario.ts'
import type { ClickHouse } from '../system/clickhouse.ts'
import type { Query } from '../workload/queries.ts'

/** Of slow ones, at least so many runs, and no more when they have taken so long. */
const RUNS_MIN = 3
const PATIENCE_MS = 30_000
const ANSWER_WITHIN_MS = 120_000

/** A query that reads the table of events, whose time grows with them, or only aggregates. */
export const READS_EVENTS = 'events'
export const READS_AGGREGATES = 'aggregates'

/** What a query was found to be. */
export interface QueryTimes {
  readonly row: Row
  /** Why it did not run. */
  readonly failure?: string
}

/** Runs a query once to warm up, then `runs` times, or as often as there is time for. */
export async function timeQuery(clickhouse: ClickHouse, { name, sql }: Query, runs: number): Promise<QueryTimes> {
  try {
    const source = await sourceOf(clickhouse, sql)
    const figures = await timed(runs, () => runQuery(clickhouse, sql))
    return { row: { label: `${name} [${source}]`, figures } }
  } catch (error) {
    return { row: { label: `${name} [failed]`, figures: {} }, failure: `${name}: ${reasonOf(error).slice(0, 300)}` }
  }
}

/** One page of the journeys of some users, by the very function that answers `GET /users/:userId/journey`. */
export async function timeJourneys(
  clickhouse: ClickHouse,
  queries: readonly JourneyQuery[],
  name: string,
): Promise<Row> {
  const { url, database } = clickhouse
  const { client, close, ping } = createClickHouse({ url, user: 'default', password: '', database })
  let read: Read = { rows: 0, bytes: 0 }
  const query = (async (params) => {
    const result = await client.query({
      ...params,
      clickhouse_settings: { ...params.clickhouse_settings, wait_end_of_query: 1 },
    })
    read = readOf(String(result.response_headers['x-clickhouse-summary']))
    return result
  }) as typeof client.query
  const counting = { client: Object.assign(Object.create(client), { query }), close, ping }
  let run = 0
  try {
    const figures = await timed(queries.length, async () => {
      const journey = await readJourney(counting, queries[run++ % queries.length] as JourneyQuery)
      if (isProblem(journey)) throw new Error(journey.message)
      return read
    })
    return { label: `${name} [${READS_EVENTS}]`, figures }
  } finally {
    await close()
  }
}

interface Read {
  readonly rows: number
  readonly bytes: number
}

async function timed(runs: number, run: () => Promise<Read>): Promise<Row['figures']> {
  await run()
  const begun = performance.now()
  const times: number[] = []
  let most: Read = { rows: 0, bytes: 0 }
  while (times.length < runs && (times.length < RUNS_MIN || performance.now() - begun < PATIENCE_MS)) {
    const started = performance.now()
    const read = await run()
    times.push(performance.now() - started)
    if (read.rows > most.rows) most = read
  }
  times.sort((one, other) => one - other)
  const at = (share: number) => times[Math.ceil(times.length * share) - 1] as number
  return { runs: times.length, p50Ms: at(0.5), p95Ms: at(0.95), rowsRead: most.rows, readMiB: most.bytes / 1024 ** 2 }
}

async function runQuery({ url, database }: ClickHouse, sql: string): Promise<Read> {
  const response = await fetch(`${url}/?database=${database}&wait_end_of_query=1&default_format=JSONCompact`, {
    method: 'POST',
    body: sql,
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(text.trim())
  return readOf(response.headers.get('x-clickhouse-summary') ?? '{}')
}

function readOf(summary: string): Read {
  const { read_rows, read_bytes } = JSON.parse(summary) as { read_rows?: string; read_bytes?: string }
  return { rows: Number(read_rows ?? 0), bytes: Number(read_bytes ?? 0) }
}

/** Views are looked through: what counts is the tables that the plan reads. */
async function sourceOf(clickhouse: ClickHouse, sql: string): Promise<string> {
  const plan = await clickhouse.query(`EXPLAIN PLAN ${sql.replace(/\bFORMAT\s+\w+\s*$/i, '')}`)
  return plan.includes(`(${clickhouse.database}.events)`) ? READS_EVENTS : READS_AGGREGATES
}
