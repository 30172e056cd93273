/**
 * Brings the tables in ClickHouse up to the version of the code: applies the files in `clickhouse/` that the database lacks,
 * in the order of their numbers, each once.
 *
 * - `schema_migrations` holds a row for every migration that was applied completely. A row is the last step.
 * - ClickHouse has no transactions: a process may end in the middle of a file. So every statement of a migration is
 *   idempotent (IF NOT EXISTS, or an INSERT, which gets a deduplication token), and a file begun is run again from its top.
 * - Several collectors may start at once: `migration-claim.ts` decides which one applies a migration; the others wait.
 * - Files that were applied are never edited; the checksum tells.
 * - On a cluster a statement becomes several, for the two databases of `migration-layout.ts`.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { ClickHouseClient } from '@clickhouse/client'
import { isProblem, type Problem, problem, reasonOf } from '../problem.ts'
import type { Logger } from '../telemetry/logger.ts'
import { type ClickHouseOptions, createClickHouse } from './clickhouse.ts'
import type { Place } from './cluster-ddl.ts'
import {
  CLAIM_LIFETIME_MS,
  CREATE_CLAIMS_TABLE,
  HEARTBEAT_INTERVAL_MS,
  holdsClaim,
  noteClaim,
  readClaim,
  takeClaim,
} from './migration-claim.ts'
import {
  type AppliedMigration,
  loadMigrations,
  MIGRATIONS_DIRECTORY,
  type Migration,
  type MigrationMismatch,
  pendingMigrations,
} from './migration-files.ts'
import {
  homeOf,
  type LayoutProblem,
  layoutProblem,
  ownTable,
  type PlacedMigration,
  placeMigrations,
  prepareDatabases,
} from './migration-layout.ts'

/** A mismatch stays until somebody acts; the two others may pass (`clickhouse_unavailable`: it is away or refuses us). */
export type MigrationProblem =
  | MigrationMismatch
  | LayoutProblem
  | Problem<'statement_failed' | 'clickhouse_unavailable'>

export interface MigrationOptions {
  readonly clickhouse: ClickHouseOptions
  readonly logger: Logger
  /** Default: the files beside the code. */
  readonly directory?: string
  /** Time without a sign of life after which another process's claim is taken over. Default 30,000. */
  readonly claimLifetimeMs?: number
  /** Gives up, also in the middle of a statement: the result is `clickhouse_unavailable`. */
  readonly signal?: AbortSignal
  /** Runs everything once more, what was applied too: for a node of a cluster that is new. All statements may run again. */
  readonly again?: boolean
}

/** What a database has and lacks. */
export interface MigrationStatus {
  readonly applied: readonly AppliedMigration[]
  readonly pending: readonly Migration[]
}

const POLL_INTERVAL_MS = 100
/** A statement may rebuild a large table. Whatever else is asked has an answer soon: without one it is asked again. */
const STATEMENT_TIMEOUT_MS = 24 * 3_600_000
const QUESTION_TIMEOUT_MS = 30_000
/** To make databases and empty tables on all nodes of a cluster: ClickHouse itself gives up after 180 s. */
const MAKE_TIMEOUT_MS = 300_000

const CREATE_MIGRATIONS_TABLE = `
CREATE TABLE IF NOT EXISTS schema_migrations
(
    version    UInt32              COMMENT 'Number of the file',
    name       String              COMMENT 'Name of the file',
    checksum   String              COMMENT 'SHA-256 of the file',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'By the clock of the server'
)
ENGINE = MergeTree
ORDER BY version
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Migrations that were applied completely'`

/** Applies what is missing; creates the database when there is none. Returns the versions that this call applied. */
export async function migrate(options: MigrationOptions): Promise<{ applied: number[] } | MigrationProblem> {
  const { clickhouse, signal, again = false } = options
  const files = loadMigrations(options.directory ?? MIGRATIONS_DIRECTORY)
  if (isProblem(files)) return files
  const migrations = placeMigrations(files, clickhouse)
  if (isProblem(migrations)) return migrations
  const inSystem = { ...clickhouse, database: 'system' }
  const state = await withClient(
    inSystem,
    (client) => prepareDatabases(client, clickhouse, again),
    signal,
    MAKE_TIMEOUT_MS,
  )
  if (isProblem(state)) return state
  const home = { ...clickhouse, database: homeOf(clickhouse) }
  if (state === 'new' || clickhouse.cluster === undefined) {
    const make = async (client: ClickHouseClient) => {
      await client.command({ query: ownTable(CREATE_MIGRATIONS_TABLE, clickhouse) })
      await client.command({ query: ownTable(CREATE_CLAIMS_TABLE, clickhouse) })
    }
    const failure = await withClient(home, make, signal, MAKE_TIMEOUT_MS)
    if (isProblem(failure)) return failure
  }
  const apply = async (clients: Clients) => {
    const result = await applyPending(clients, migrations, options)
    if (isProblem(result) || !again) return result
    return (await applyAgain(clients, migrations)) ?? result
  }
  return withClient(
    home,
    (asked) =>
      withClient(
        home,
        (shard) => withClient(clickhouse, (above) => apply({ asked, shard, above }), signal, STATEMENT_TIMEOUT_MS),
        signal,
        STATEMENT_TIMEOUT_MS,
      ),
    signal,
  )
}

/** For statements, one for each of the two databases of a cluster (on one server both are in the one); and for questions about migrations. */
type Clients = Readonly<Record<Place | 'asked', ClickHouseClient>>

async function applyAgain(
  clients: Clients,
  migrations: readonly PlacedMigration[],
): Promise<Problem<'statement_failed'> | undefined> {
  for (const { version, name, checksum, placed } of migrations) {
    for (const [index, { place, sql }] of placed.entries()) {
      const failure = await runStatement(clients[place], sql, `migration/${version}/${checksum}/${index}`)
      if (failure !== undefined) return failed(version, name, index, failure)
    }
  }
  return undefined
}

function failed(version: number, name: string, index: number, failure: string): Problem<'statement_failed'> {
  return problem('statement_failed', `statement ${index + 1} of migration ${version} (${name}) failed: ${failure}`)
}

/** What the database has and lacks; changes nothing. A database that does not exist lacks everything. */
export async function migrationStatus(
  options: Pick<MigrationOptions, 'clickhouse' | 'directory' | 'signal'>,
): Promise<MigrationStatus | MigrationProblem> {
  const migrations = loadMigrations(options.directory ?? MIGRATIONS_DIRECTORY)
  if (isProblem(migrations)) return migrations
  const { clickhouse, signal } = options
  const home = homeOf(clickhouse)
  const look = async (client: ClickHouseClient) => {
    const mismatch = await layoutProblem(client, clickhouse)
    if (mismatch !== undefined) return mismatch
    const result = await client.query({
      query:
        "SELECT count() AS tables FROM system.tables WHERE database = {database:String} AND name = 'schema_migrations'",
      query_params: { database: home },
      format: 'JSONEachRow',
    })
    const [row] = await result.json<{ tables: string | number }>()
    if (Number(row?.tables) === 0) return { applied: [], pending: migrations }
    const compare = async (inDatabase: ClickHouseClient) => {
      const applied = await readApplied(inDatabase)
      const pending = pendingMigrations(migrations, applied)
      return isProblem(pending) ? pending : { applied, pending }
    }
    return withClient({ ...clickhouse, database: home }, compare, signal)
  }
  return withClient({ ...clickhouse, database: 'system' }, look, signal)
}

/** One migration after the other: claim it and apply it, or wait for who has claimed it. */
async function applyPending(
  clients: Clients,
  migrations: readonly PlacedMigration[],
  options: MigrationOptions,
): Promise<{ applied: number[] } | MigrationProblem> {
  const client = clients.asked
  const holder = crypto.randomUUID()
  const appliedHere: number[] = []
  let waitingFor = 0
  for (;;) {
    const pending = pendingMigrations(migrations, await readApplied(client))
    if (isProblem(pending)) return pending
    const [next] = pending
    if (next === undefined) return { applied: appliedHere }

    const claim = await readClaim(client, next.version)
    const lifetimeMs = options.claimLifetimeMs ?? CLAIM_LIFETIME_MS
    const isFree = claim === undefined || claim.released || claim.silentMs > lifetimeMs
    // Behind a load balancer the next answer may come from a node that does not know yet what this process has just claimed.
    const isOurs = claim?.holder === holder && !claim.released
    const attempt = (claim?.attempt ?? 0) + (isOurs ? 0 : 1)
    if (!isOurs && (!isFree || !(await takeClaim(client, next.version, attempt, holder)))) {
      if (waitingFor !== next.version)
        options.logger.info({ version: next.version }, 'waiting: another process applies a migration')
      waitingFor = next.version
      await sleep(POLL_INTERVAL_MS, undefined, options.signal === undefined ? {} : { signal: options.signal })
      continue
    }
    const outcome = await applyClaimed(clients, next, attempt, holder, options)
    if (isProblem(outcome)) return outcome
    if (outcome) appliedHere.push(next.version)
  }
}

/** True when the migration was applied; false when the claim was lost, or the migration had been applied before it was taken. */
async function applyClaimed(
  clients: Clients,
  migration: PlacedMigration,
  attempt: number,
  holder: string,
  options: MigrationOptions,
): Promise<boolean | MigrationProblem> {
  const client = clients.asked
  const { version, name, checksum } = migration
  // Between our look at the list and our claim another holder may have finished.
  if ((await readApplied(client)).some((applied) => applied.version === version)) return false

  const done = new AbortController()
  const heartbeat = keepAlive(client, { version, attempt, holder }, done.signal, options)
  try {
    options.logger.info({ version, name, attempt }, 'applying a migration')
    for (const [index, { place, sql }] of migration.placed.entries()) {
      if (!(await holdsClaim(client, version, attempt, holder))) return false
      const failure = await runStatement(clients[place], sql, `migration/${version}/${checksum}/${index}`)
      if (failure !== undefined) {
        await noteClaim(client, { version, attempt, holder, kind: 'released' })
        return failed(version, name, index, failure)
      }
    }
    if (!(await holdsClaim(client, version, attempt, holder))) return false
    await client.insert({
      table: 'schema_migrations',
      columns: ['version', 'name', 'checksum'],
      values: [{ version, name, checksum }],
      format: 'JSONEachRow',
      clickhouse_settings: {
        async_insert: 0,
        insert_deduplicate: 1,
        insert_deduplication_token: `applied/${version}/${checksum}`,
      },
    })
    return true
  } finally {
    done.abort()
    await heartbeat
  }
}

/** Runs one statement. Returns what ClickHouse said against it, if anything. Throws when ClickHouse is away. */
async function runStatement(client: ClickHouseClient, query: string, token: string): Promise<string | undefined> {
  try {
    await client.command({
      query,
      clickhouse_settings: {
        async_insert: 0,
        insert_deduplicate: 1,
        insert_deduplication_token: token,
        wait_end_of_query: 1, // an error after the first byte of the answer still comes as an error
      },
    })
    return undefined
  } catch (error) {
    if (error instanceof Error && 'code' in error && /^\d+$/.test(String(error.code)))
      return `${error.code} ${error.message}`
    throw error
  }
}

/** Signs of life until `signal`. One that fails is logged: if they all fail the claim is lost, which the holder notices. */
async function keepAlive(
  client: ClickHouseClient,
  claim: { version: number; attempt: number; holder: string },
  signal: AbortSignal,
  options: MigrationOptions,
): Promise<void> {
  const intervalMs = Math.min(HEARTBEAT_INTERVAL_MS, (options.claimLifetimeMs ?? CLAIM_LIFETIME_MS) / 10)
  for (;;) {
    await sleep(intervalMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    await noteClaim(client, { ...claim, kind: 'alive' }).catch((error: unknown) =>
      options.logger.warn({ err: error, version: claim.version }, 'no sign of life for a migration could be stored'),
    )
  }
}

async function readApplied(client: ClickHouseClient): Promise<AppliedMigration[]> {
  const result = await client.query({
    query: `SELECT version, any(name) AS name, any(checksum) AS checksum FROM schema_migrations GROUP BY version ORDER BY version`,
    format: 'JSONEachRow',
  })
  return result.json<AppliedMigration>()
}

/** Runs `work` with a client of its own. Whatever the client throws means that ClickHouse is away or refuses us. */
async function withClient<Result>(
  options: ClickHouseOptions,
  work: (client: ClickHouseClient) => Promise<Result>,
  signal?: AbortSignal,
  requestTimeoutMs = QUESTION_TIMEOUT_MS,
): Promise<Result | Problem<'clickhouse_unavailable'>> {
  const { client, close } = createClickHouse({ ...options, requestTimeoutMs })
  const abort = () => void close() // a statement under way fails; the server may finish it, which does no harm
  signal?.addEventListener('abort', abort, { once: true })
  try {
    return await work(client)
  } catch (error) {
    return problem(
      'clickhouse_unavailable',
      `ClickHouse at ${options.url} could not be brought up to date: ${reasonOf(error)}`,
    )
  } finally {
    signal?.removeEventListener('abort', abort)
    await close()
  }
}
