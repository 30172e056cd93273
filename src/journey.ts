/**
 * One user's events, newest first, out of ClickHouse: for reading, not part of their way in.
 *
 * Paged by (occurred_at, event_id): a page begins behind the last event of the one before, so events that arrive meanwhile move nothing.
 * The filter on `user_id` (see `clickhouse/0003_users.sql`) and the day partitions keep the query from reading everybody's events.
 *
 * A page ends by its number of events or by its bytes, whichever comes first. ClickHouse makes the texts of all its events at once: when that
 * is more than it may hold it is asked again, for as many as fit by their sizes. That takes longer, so usual pages are not read so.
 */
import { ClickHouseError } from '@clickhouse/client'
import { cursorAt, type Position, positionOf } from './journey-cursor.ts'
import { type Problem, problem, reasonOf } from './problem.ts'
import type { ClickHouse } from './sink/clickhouse.ts'

export interface JourneyQuery {
  /** Tenant and workspace of the key: nobody sees another's events. */
  readonly tenantId: string
  readonly workspaceId: string
  readonly userId: string
  /** Not before this time, in milliseconds since the epoch. */
  readonly from?: number | undefined
  /** Before this time, in milliseconds since the epoch. */
  readonly to?: number | undefined
  /** Events at most, from 1. */
  readonly limit: number
  /** `nextCursor` of the page before, to the same question. */
  readonly cursor?: string | undefined
}

export interface Journey {
  /** Each a JSON object, as text: integers beyond 2^53 would not outlive being parsed. Fields that are empty are left out. */
  readonly events: readonly string[]
  /** Leads to older events; undefined when there are none. */
  readonly nextCursor: string | undefined
}

/** `too_much_asked`: for what ClickHouse may use. Its message and that of `clickhouse_unavailable` have ClickHouse's own words in them: for the log. */
export type JourneyProblem = Problem<'invalid_cursor' | 'clickhouse_unavailable' | 'too_much_asked'>

const MiB = 1024 * 1024

/** Of the events in a page, as JSON; one event may be larger. */
export const PAGE_BYTES_MAX = 8 * MiB

/** Bounds of the query in ClickHouse. A page of 1,000 events takes some 10 MB. */
const EXECUTION_SECONDS_MAX = 10
const THREADS_MAX = 2
/** One way to read a page: of how many events, cut by their sizes or not, and what ClickHouse may hold for it. */
interface Try {
  readonly eventsMax: number
  readonly isCut: boolean
  readonly memoryBytesMax: number
}
/** Each after the one before was too much. */
const TRIES: readonly Try[] = [
  { eventsMax: Number.POSITIVE_INFINITY, isCut: false, memoryBytesMax: 128 * MiB },
  { eventsMax: Number.POSITIVE_INFINITY, isCut: true, memoryBytesMax: 1024 * MiB },
  { eventsMax: 32, isCut: true, memoryBytesMax: 1024 * MiB },
  { eventsMax: 1, isCut: false, memoryBytesMax: 1024 * MiB },
]
/** ClickHouse's codes for a query that wants more than it may use: memory, and time. */
const MEMORY_LIMIT_EXCEEDED = '241'
const TIMEOUT_EXCEEDED = '159'
/** The client gives up when ClickHouse should have. */
const ANSWER_TIMEOUT_MS = (EXECUTION_SECONDS_MAX + 2) * 1000

/** An event is received about when it happened or later, never a day before: days that were over by then need not be looked at. */
const RECEIVED_BEFORE_MS_MAX = 86_400_000

const SETTINGS = {
  max_execution_time: EXECUTION_SECONDS_MAX,
  timeout_overflow_mode: 'throw',
  max_threads: THREADS_MAX,
  // The user first, and the filter before any reading: of 50 million events 32 of one user in 57 ms instead of 71 (83 ms of CPU instead of 108).
  optimize_move_to_prewhere: 0,
  use_skip_indexes_on_data_read: 0,
  json_type_escape_dots_in_keys: 1,
  output_format_json_quote_64bit_integers: 0,
  output_format_json_escape_forward_slashes: 0,
} as const

/** Reads one page. Never rejects. */
export async function readJourney(clickhouse: ClickHouse, query: JourneyQuery): Promise<Journey | JourneyProblem> {
  const after = query.cursor === undefined ? undefined : positionOf(query.cursor, query)
  if (query.cursor !== undefined && after === undefined)
    return problem('invalid_cursor', 'cursor is not one that was given for this user, from and to')
  if (query.userId === '') return { events: [], nextCursor: undefined } // events of nobody
  const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS)
  let tooMuch = ''
  for (const how of TRIES) {
    try {
      return await readPage(clickhouse, query, after, how, signal)
    } catch (error) {
      const code = error instanceof ClickHouseError ? error.code : undefined
      if (code !== MEMORY_LIMIT_EXCEEDED && code !== TIMEOUT_EXCEEDED)
        return problem('clickhouse_unavailable', `the journey could not be read from ClickHouse: ${reasonOf(error)}`)
      tooMuch = reasonOf(error)
      if (code === TIMEOUT_EXCEEDED) break
    }
  }
  return problem('too_much_asked', `the journey is more than ClickHouse may use for one query: ${tooMuch}`)
}

/** Throws what the client throws. */
async function readPage(
  clickhouse: ClickHouse,
  query: JourneyQuery,
  after: Position | undefined,
  { eventsMax, isCut, memoryBytesMax }: Try,
  signal: AbortSignal,
): Promise<Journey> {
  const limit = Math.min(query.limit, eventsMax)
  const result = await clickhouse.client.query({
    query: select(query, after, isCut),
    query_params: { ...parameters(query, after), rows: limit + 1 }, // one more tells whether there are older ones
    format: 'JSONEachRow',
    clickhouse_settings: { ...SETTINGS, max_memory_usage: String(memoryBytesMax) },
    abort_signal: signal,
  })
  const events: string[] = []
  let bytes = 0
  let last: Row | undefined
  try {
    for await (const rows of result.stream<Row>()) {
      for (const told of rows) {
        const row = told.json()
        const text = eventText(row)
        bytes += Buffer.byteLength(text)
        if (last !== undefined && (events.length === limit || bytes > PAGE_BYTES_MAX))
          return { events, nextCursor: cursorAfter(last, query) }
        events.push(text)
        last = row
      }
    }
  } finally {
    result.close() // ends a query whose rows are not all wanted
  }
  if (last === undefined || (last.found ?? 0) <= events.length) return { events, nextCursor: undefined }
  return { events, nextCursor: cursorAfter(last, query) }
}

/** Columns that are texts, in the order in which they are told. */
const TEXT_COLUMNS = [
  'protocol',
  'session_id',
  'user_id',
  'anonymous_id',
  'url',
  'path',
  'referrer',
  'referrer_host',
  'title',
  'locale',
  'user_agent',
  'browser',
  'os',
  'device',
  'schema_version',
] as const

interface Row extends Readonly<Record<(typeof TEXT_COLUMNS)[number], string>> {
  readonly id: string
  readonly message_id: string
  readonly type: string
  readonly occurred_ms: number
  readonly received_ms: number
  readonly address: string
  /** JSON texts. */
  readonly properties_text: string
  readonly context_text: string
  /** Of a page that was cut: the rows before it was, one more than the page may have among them. */
  readonly found?: number
}

/** The SQL: whatever a client says is in the parameters. */
function select(query: JourneyQuery, after: Position | undefined, isCut: boolean): string {
  const conditions = [
    'tenant_id = {tenantId:String}',
    'workspace_id = {workspaceId:String}',
    ...(query.from === undefined
      ? []
      : [
          'occurred_at >= fromUnixTimestamp64Milli({from:Int64})',
          'received_at >= fromUnixTimestamp64Milli({receivedFrom:Int64})',
        ]),
    ...(query.to === undefined ? [] : ['occurred_at < fromUnixTimestamp64Milli({to:Int64})']),
    ...(after === undefined
      ? []
      : [
          'occurred_at <= fromUnixTimestamp64Milli({afterMs:Int64})',
          '(occurred_at, event_id) < (fromUnixTimestamp64Milli({afterMs:Int64}), {afterId:UUID})',
        ]),
  ]
  const rows = `FROM events PREWHERE user_id = {userId:String} WHERE ${conditions.join(' AND ')}
    ORDER BY ${NEWEST_FIRST} LIMIT {rows:UInt32}`
  if (!isCut) return `SELECT ${TOLD} ${rows}`
  return `SELECT ${TOLD}, found FROM (
      SELECT *, sum(bytes) OVER (ORDER BY ${NEWEST_FIRST} ROWS UNBOUNDED PRECEDING) AS running_bytes, count() OVER () AS found
      FROM (SELECT ${COLUMNS}, byteSize(properties) + byteSize(context) AS bytes ${rows})
    ) WHERE running_bytes - bytes <= ${PAGE_BYTES_MAX} ORDER BY ${NEWEST_FIRST}`
}

const NEWEST_FIRST = 'occurred_at DESC, event_id DESC'
const COLUMNS = `event_id, message_id, type, occurred_at, received_at, ip, ${TEXT_COLUMNS.join(', ')}, properties, context`
const TOLD = `toString(event_id) AS id, message_id, type, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    toUnixTimestamp64Milli(received_at) AS received_ms, toString(ip) AS address, ${TEXT_COLUMNS.join(', ')},
    toJSONString(properties) AS properties_text, toJSONString(context) AS context_text`

function parameters(query: JourneyQuery, after: Position | undefined): Record<string, string | number> {
  return {
    tenantId: query.tenantId,
    workspaceId: query.workspaceId,
    userId: query.userId.toWellFormed(), // as it is stored
    ...(query.from === undefined
      ? {}
      : { from: query.from, receivedFrom: Math.max(0, query.from - RECEIVED_BEFORE_MS_MAX) }),
    ...(query.to === undefined ? {} : { to: query.to }),
    ...(after === undefined ? {} : { afterMs: after.occurredAt, afterId: after.eventId }),
  }
}

function cursorAfter(row: Row, query: JourneyQuery): string {
  return cursorAt({ occurredAt: row.occurred_ms, eventId: row.id }, query)
}

function eventText(row: Row): string {
  const event: Record<string, string> = {
    event_id: row.message_id === '' ? row.id : row.message_id,
    type: row.type,
    occurred_at: new Date(row.occurred_ms).toISOString(),
    received_at: new Date(row.received_ms).toISOString(),
  }
  for (const name of TEXT_COLUMNS) if (row[name] !== '') event[name] = row[name]
  if (row.address !== '::') event.ip = row.address.replace(/^::ffff:(?=[\d.]+$)/, '')
  const context = row.context_text === '{}' ? '' : `,"context":${row.context_text}`
  return `${JSON.stringify(event).slice(0, -1)},"properties":${row.properties_text}${context}}`
}
