/**
 * Kysely's own Postgres dialect over `pg`: everything that knows it is Postgres is in this file.
 * What differs from the defaults:
 *
 * - A transaction takes one lock for all of Penstock's processes when it begins, as with SQLite: transactions are few and short
 *   (the command line, last uses), so that none has to think about the others, and the lock is the migration lock too.
 * - Nothing waits for ever: connecting, statements, locks and idle transactions end after a time.
 * - A connection on which a query failed for another reason than Postgres's own answer is not used again: `pg` would put the
 *   next query behind the one that hangs.
 */
import assert from 'node:assert/strict'
import {
  CompiledQuery,
  type DatabaseConnection,
  type DialectAdapter,
  type Driver,
  PostgresAdapter,
  type PostgresCursor,
  PostgresDialect,
  type PostgresDialectConfig,
  PostgresDriver,
  type PostgresPool,
  type PostgresPoolClient,
  type PostgresQueryResult,
  type TransactionSettings,
} from 'kysely'
import { Client, DatabaseError, Pool, type PoolClient } from 'pg'

/** Lookups are short and cached; more connections would only take them from others. */
const CONNECTIONS_MAX = 4
const CONNECT_WITHIN_MS = 2000
/** Measured by the client: a little longer than Postgres itself waits, whose answer says more. */
const ANSWER_LATE_BY_MS = 1000
/** A number of our own among the database's advisory locks. */
const LOCK_ID = '5786352101977403507'

/** Where the database is, for messages: `host:port/name`, no user and no password. Undefined when the address cannot be read. */
export function postgresPlace(url: string): string | undefined {
  try {
    const { host, port, database } = new Client({ connectionString: url })
    return `${host}:${port}/${database ?? ''}`
  } catch {
    return undefined // what was thrown quotes the address, which may hold a password
  }
}

/** A dialect for Kysely. Connects with the first query. `timeoutMs`: for one statement, waiting for locks included. */
export function openPostgres(url: string, timeoutMs: number): PostgresDialect {
  const pool = new Pool({
    connectionString: url,
    max: CONNECTIONS_MAX,
    connectionTimeoutMillis: CONNECT_WITHIN_MS,
    statement_timeout: timeoutMs,
    idle_in_transaction_session_timeout: timeoutMs,
    query_timeout: timeoutMs + ANSWER_LATE_BY_MS,
    keepAlive: true,
    application_name: 'penstock',
    allowExitOnIdle: true,
  })
  pool.on('error', () => {}) // of an idle connection, which the pool has dropped: the next query makes another
  return new SerialDialect({ pool: guard(pool) })
}

function guard(pool: Pool): PostgresPool {
  return {
    options: {},
    connect: async () => new GuardedClient(await pool.connect()),
    end: () => pool.end(),
  }
}

class GuardedClient implements PostgresPoolClient {
  readonly #client: PoolClient
  #isBroken = false

  constructor(client: PoolClient) {
    this.#client = client
  }

  query<Row>(text: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<Row>>
  query<Row>(cursor: PostgresCursor<Row>): PostgresCursor<Row>
  query<Row>(
    text: string | PostgresCursor<Row>,
    parameters: readonly unknown[] = [],
  ): Promise<PostgresQueryResult<Row>> | PostgresCursor<Row> {
    assert(typeof text === 'string', 'there is no streaming of rows')
    return this.#query(text, parameters)
  }

  release(discard?: boolean): void {
    this.#client.release(this.#isBroken || discard === true)
  }

  async #query<Row>(text: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<Row>> {
    try {
      const { command, rowCount, rows } = await this.#client.query(text, [...parameters])
      return { command: command as PostgresQueryResult<Row>['command'], rowCount: rowCount ?? 0, rows }
    } catch (error) {
      if (!(error instanceof DatabaseError)) this.#isBroken = true
      throw error
    }
  }
}

class SerialDialect extends PostgresDialect {
  readonly #config: PostgresDialectConfig

  constructor(config: PostgresDialectConfig) {
    super(config)
    this.#config = config
  }

  override createDriver(): Driver {
    return new SerialDriver(this.#config)
  }

  override createAdapter(): DialectAdapter {
    return new SerialAdapter()
  }
}

class SerialDriver extends PostgresDriver {
  override async beginTransaction(connection: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    await super.beginTransaction(connection, settings)
    try {
      await connection.executeQuery(CompiledQuery.raw(`select pg_advisory_xact_lock(${LOCK_ID})`))
    } catch (error) {
      // Kysely rolls back only what began, and the connection goes back to the pool.
      await connection.executeQuery(CompiledQuery.raw('rollback')).catch(() => undefined)
      throw error
    }
  }
}

class SerialAdapter extends PostgresAdapter {
  override async acquireMigrationLock(): Promise<void> {}

  override async releaseMigrationLock(): Promise<void> {}
}
