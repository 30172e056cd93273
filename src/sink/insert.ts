/**
 * Sends Native blocks to ClickHouse: one body, one insert, one token.
 *
 * The settings are the same at every try of every insert, and all that decides into which parts a body is cut is among them:
 * ClickHouse recognises a repeated insert by its token and the number of the part. A body becomes one block in ClickHouse's
 * memory, however large (`min_insert_block_size_bytes=0`: only the rows count, and no segment has as many), so
 * - it is one part per partition, and
 * - nothing of it is written before all of it has been read: a body that cannot be read has left nothing behind.
 * A body that ends too early, because this process dies or hangs up, is not stored either, also when it ends between two blocks.
 *
 * `query_id` is the token: while a try that we have lost sight of still runs, the next is refused with code 216 and tried later.
 *
 * Into a cluster the insert goes to a Distributed table, with the number of a shard: the server that is asked sends the blocks on to that shard
 * and answers when they are stored there. Token and settings go with them, so all of the above holds at the shard too: one part, tables
 * and views that know the token, and nothing of a body that was not sent to its end. Never by the queue of asynchronous inserts: that would
 * put several bodies together before they are sent on, under one token.
 *
 * Needs ClickHouse 26.2 (the migrations need 26.4): `deduplicate_insert` is named because a user's profile may have switched it off; before 26.1 servers
 * refuse `async_insert` with deduplication in views.
 */
import { INSTANCE_MACRO } from './engine-setup.ts'
import type { HttpAnswer } from './http-answer.ts'
import { type ExchangeProblem, exchange } from './http-exchange.ts'

/** Where inserts go and who we are there. */
export interface InsertTarget {
  /** Of the HTTP interface, such as http://127.0.0.1:8123. */
  readonly url: string
  readonly user: string
  readonly password: string
  readonly database: string
  /** `database` is that of a cluster, and inserts are for this shard of it; from 1. */
  readonly shard?: number
  /** The name of the engine that it has to be (`INSTANCE_MACRO`): while ours is away, another Penstock's may have the port. Undefined: whoever is there. */
  readonly instance?: string
  /** Longest wait for the connection, or for some progress of the body. Default 30,000. */
  readonly sendTimeoutMs?: number
  /** Longest wait for the answer after the body. Default 150,000, more than `wait_for_async_insert_timeout`. */
  readonly answerTimeoutMs?: number
}

/** One insert. */
export interface InsertRequest {
  /** Native blocks. Not read any more once the insert has resolved. */
  readonly body: AsyncIterable<Uint8Array> | readonly Uint8Array[]
  /** Exactly the bytes of `body`. */
  readonly bodyBytes: number
  /** Deduplication token; the same body at every use. */
  readonly token: string
  /** Of the span of this try, for ClickHouse's own spans (W3C Trace Context). It is no setting: tries may differ in it. */
  readonly traceparent?: string | undefined
  readonly signal?: AbortSignal
}

/** Why a statement failed. */
export interface StatementFailure {
  /** ClickHouse's error code; undefined when it said none. */
  readonly exceptionCode: number | undefined
  /** The error code in decimal, `http_<status>`, or why there was no answer: see ExchangeProblem. */
  readonly code: string
  /** For people. Never decides anything. */
  readonly message: string
}

/** `inserted`: ClickHouse confirmed it, now or at a try before. */
export type InsertOutcome =
  | { readonly outcome: 'inserted' }
  | { readonly outcome: 'failed'; readonly failure: StatementFailure }

/** `code` of a failure: another engine than `instance` is there. */
export const ANOTHER_SERVER = 'another_server'

/** `code` of a failure: the server that was asked does not reach the shard, which is as good as no answer at all. */
export const SHARD_AWAY = 'shard_away'

/**
 * What a server says of another one that it does not reach: SOCKET_TIMEOUT, NETWORK_ERROR, ALL_CONNECTION_TRIES_FAILED. When the connection
 * breaks in the middle it says 32, which is among the codes for what cannot be read: then the flusher asks, and learns that it can be.
 */
const AWAY_CODES: ReadonlySet<number> = new Set([209, 210, 279])

/** The table that events go to. */
export const EVENTS_TABLE = 'events'

const WAIT_FOR_ASYNC_INSERT_SECONDS = 120
const SEND_TIMEOUT_MS = 30_000
const ANSWER_TIMEOUT_MS = 150_000
const MESSAGE_LENGTH_MAX = 2_000

const EXCEPTION_CODE = 'x-clickhouse-exception-code'

/** What decides how a body is read and cut into blocks. */
export const READING_SETTINGS = {
  max_insert_block_size: '1048449',
  min_insert_block_size_rows: '1048449',
  min_insert_block_size_bytes: '0',
  max_insert_threads: '1',
  input_format_native_allow_types_conversion: '1',
} as const

const INSERT_SETTINGS = {
  ...READING_SETTINGS,
  async_insert: '1',
  wait_for_async_insert: '1',
  wait_for_async_insert_timeout: String(WAIT_FOR_ASYNC_INSERT_SECONDS),
  deduplicate_insert: 'enable',
  insert_deduplicate: '1',
  async_insert_deduplicate: '1',
  deduplicate_blocks_in_dependent_materialized_views: '1',
  materialized_views_ignore_errors: '0',
} as const

/**
 * For one shard. `async_insert`, see the head of this file. An insert that the server would put aside to send later, or that it would
 * drop because the shard is away, was not stored.
 */
function settingsFor(shard: number): Record<string, string> {
  return {
    insert_shard_id: String(shard),
    distributed_foreground_insert: '1',
    skip_unavailable_shards: '0',
    async_insert: '0',
  }
}

/** Inserts the body into `events`; never rejects. */
export async function insertNative(target: InsertTarget, request: InsertRequest): Promise<InsertOutcome> {
  const notThere = await missesInstance(target, request.signal)
  if (notThere !== undefined) return { outcome: 'failed', failure: notThere }
  const failure = await sendStatement(target, {
    ...request,
    query: `INSERT INTO ${EVENTS_TABLE} FORMAT Native`,
    settings: {
      ...INSERT_SETTINGS,
      ...(target.shard === undefined ? {} : settingsFor(target.shard)),
      query_id: request.token,
      insert_deduplication_token: request.token,
    },
  })
  if (failure === undefined) return { outcome: 'inserted' }
  const isAway = target.shard !== undefined && AWAY_CODES.has(failure.exceptionCode ?? 0)
  return { outcome: 'failed', failure: isAway ? { ...failure, exceptionCode: undefined, code: SHARD_AWAY } : failure }
}

/** The embedded engine alone has a name; another server answers without one, or not at all. */
async function missesInstance(target: InsertTarget, signal?: AbortSignal): Promise<StatementFailure | undefined> {
  if (target.instance === undefined) return undefined
  const query = `SELECT substitution FROM system.macros WHERE macro = '${INSTANCE_MACRO}' FORMAT TSVRaw`
  const answer = await askText(target, query, signal)
  if ('failure' in answer) return answer.failure
  if (answer.text.trim() === target.instance) return undefined
  return {
    exceptionCode: undefined,
    code: ANOTHER_SERVER,
    message: `at ${target.url} is another ClickHouse, ours is away`,
  }
}

/** A statement with a body. */
export interface Statement {
  /** Undefined: the body is the statement. */
  readonly query?: string
  readonly settings: Readonly<Record<string, string>>
  readonly body: AsyncIterable<Uint8Array> | readonly Uint8Array[]
  readonly bodyBytes: number
  readonly traceparent?: string | undefined
  readonly signal?: AbortSignal
}

/** Runs a statement whose success answers nothing; returns what went wrong, undefined when it went well. */
export async function sendStatement(target: InsertTarget, statement: Statement): Promise<StatementFailure | undefined> {
  return failureOf(await send(target, statement))
}

/** Runs a query and returns the text of its result. */
export async function askText(
  target: InsertTarget,
  query: string,
  signal?: AbortSignal,
): Promise<{ readonly text: string } | { readonly failure: StatementFailure }> {
  const body = new TextEncoder().encode(query)
  const aborting = signal === undefined ? {} : { signal }
  const answer = await send(target, { settings: {}, body: [body], bodyBytes: body.byteLength, ...aborting })
  if ('status' in answer && answer.status === 200 && !answer.headers.has(EXCEPTION_CODE)) return { text: answer.body }
  return { failure: failureOf(answer) ?? { exceptionCode: undefined, code: 'empty_answer', message: 'no result' } }
}

function send(target: InsertTarget, statement: Statement): Promise<HttpAnswer | ExchangeProblem> {
  const url = new URL(target.url)
  url.searchParams.set('database', target.database)
  if (statement.query !== undefined) url.searchParams.set('query', statement.query)
  // The status of the answer is decided at the end only, so that no error follows a 200.
  url.searchParams.set('wait_end_of_query', '1')
  for (const [name, value] of Object.entries(statement.settings)) url.searchParams.set(name, value)
  return exchange({
    url,
    headers: {
      authorization: `Basic ${Buffer.from(`${target.user}:${target.password}`).toString('base64')}`,
      'user-agent': 'penstock',
      'content-type': 'application/octet-stream',
      ...(statement.traceparent === undefined ? {} : { traceparent: statement.traceparent }),
    },
    body: statement.body,
    bodyBytes: statement.bodyBytes,
    sendTimeoutMs: target.sendTimeoutMs ?? SEND_TIMEOUT_MS,
    answerTimeoutMs: target.answerTimeoutMs ?? ANSWER_TIMEOUT_MS,
    ...(statement.signal === undefined ? {} : { signal: statement.signal }),
  })
}

/** Reads an answer; a 200 with a body carries an error that came late. Other codes than 200 are no success, a redirect included. */
export function failureOf(answer: HttpAnswer | ExchangeProblem): StatementFailure | undefined {
  if ('problem' in answer) return { exceptionCode: undefined, code: answer.problem, message: answer.message }
  const header = answer.headers.get(EXCEPTION_CODE)
  const body = answer.body.trim()
  if (answer.status === 200 && header === undefined && body === '') return undefined
  const digits = /^\d+$/.exec(header ?? '')?.[0] ?? /Code: (\d+)\. DB::/.exec(body)?.[1]
  const exceptionCode = digits === undefined ? undefined : Number(digits)
  const code = digits ?? `http_${answer.status}`
  return { exceptionCode, code, message: body.slice(0, MESSAGE_LENGTH_MAX) || `HTTP status ${answer.status}` }
}
