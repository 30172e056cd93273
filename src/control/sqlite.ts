/**
 * Kysely's own SQLite dialect over `bun:sqlite`: everything that knows it is SQLite is in this file.
 * Two things differ from Kysely's defaults, because other processes (the command line) use the same file:
 * a transaction takes the write lock when it begins, so that it waits for another one instead of failing half way,
 * and a migration runs inside such a transaction, which makes the write lock the migration lock.
 */
import { Database } from 'bun:sqlite'
import { closeSync, openSync } from 'node:fs'
import {
  CompiledQuery,
  type DatabaseConnection,
  type DialectAdapter,
  type Driver,
  SqliteAdapter,
  type SqliteDatabase,
  SqliteDialect,
  SqliteDriver,
  type SqliteStatement,
} from 'kysely'

type Parameters = (string | number | bigint | boolean | null)[]

/** Opens (and makes, readable by the owner alone) the database file. Throws when it cannot be opened. */
export function openSqlite(path: string, busyTimeoutMs: number): SqliteDialect {
  closeSync(openSync(path, 'a', 0o600)) // SQLite gives its -wal and -shm files the mode of this one
  const database = new Database(path, { readwrite: true })
  // The order matters: switching to WAL takes a lock, which must wait for a process that does the same.
  database.run(`PRAGMA busy_timeout = ${busyTimeoutMs}`)
  database.run('PRAGMA journal_mode = WAL')
  database.run('PRAGMA synchronous = FULL') // a key that was printed must survive a power cut
  database.run('PRAGMA foreign_keys = ON')
  return new BunSqliteDialect({ database: adapt(database) })
}

function adapt(database: Database): SqliteDatabase {
  return {
    close: () => database.close(),
    prepare(text): SqliteStatement {
      const statement = database.query<unknown, Parameters>(text) // cached by its text
      return {
        reader: statement.columnNames.length > 0,
        all: (parameters) => statement.all(...(parameters as Parameters)),
        run: (parameters) => statement.run(...(parameters as Parameters)),
        iterate: (parameters) => statement.iterate(...(parameters as Parameters)),
      }
    },
  }
}

class BunSqliteDialect extends SqliteDialect {
  readonly #database: SqliteDatabase

  constructor(config: { database: SqliteDatabase }) {
    super(config)
    this.#database = config.database
  }

  override createDriver(): Driver {
    return new ImmediateDriver({ database: this.#database })
  }

  override createAdapter(): DialectAdapter {
    return new TransactionalDdlAdapter()
  }
}

class ImmediateDriver extends SqliteDriver {
  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'))
  }
}

class TransactionalDdlAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true
  }
}
