/** Opens the control database where the configuration says it is: SQLite in the data directory, or Postgres. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Dialect, Kysely } from 'kysely'
import { type Problem, problem, reasonOf } from '../problem.ts'
import { ControlDatabase } from './control-database.ts'
import { type ControlTables, migrateControl } from './schema.ts'
import type { SecretsKeyOptions } from './signing-secrets.ts'
import { openSqlite } from './sqlite.ts'

/** Where the control data lies. */
export interface ControlOptions extends SecretsKeyOptions {
  /** A postgres:// address; without it the data is in DATA_DIR/control.sqlite. */
  readonly controlDatabaseUrl?: string
  /**
   * Milliseconds to wait for another process that is writing, with Postgres for any statement. Default 5000.
   * With SQLite this thread stands still meanwhile.
   */
  readonly busyTimeoutMs?: number
}

/** Opens the control database and brings its tables up to date. A problem when it cannot be reached or used. */
export async function openControl(options: ControlOptions): Promise<ControlDatabase | Problem<'control_unavailable'>> {
  const { dataDir, controlDatabaseUrl: url, busyTimeoutMs = 5000 } = options
  let place = join(dataDir, 'control.sqlite')
  let database: Kysely<ControlTables> | undefined
  try {
    let dialect: Dialect
    if (url === undefined) {
      mkdirSync(dataDir, { recursive: true })
      dialect = openSqlite(place, busyTimeoutMs)
    } else {
      const { openPostgres, postgresPlace } = await import('./postgres.ts')
      const read = postgresPlace(url)
      if (read === undefined) {
        const wants = 'wants postgres://user:password@host:port/database, special characters percent-encoded'
        return problem('control_unavailable', `CONTROL_DATABASE_URL cannot be read (value not shown): it ${wants}`)
      }
      place = read
      dialect = openPostgres(url, busyTimeoutMs)
    }
    database = new Kysely<ControlTables>({ dialect })
    await migrateControl(database)
    return new ControlDatabase(database, options)
  } catch (error) {
    await database?.destroy()
    return problem('control_unavailable', `cannot use the control database ${place}: ${reasonOf(error)}`)
  }
}
