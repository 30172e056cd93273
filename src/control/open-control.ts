/** Opens the control database where the configuration says it is: SQLite in the data directory, or Postgres. */
import { accessSync, constants, mkdirSync } from 'node:fs'
import { type Dialect, Kysely } from 'kysely'
import { type Problem, problem, reasonOf } from '../problem.ts'
import { ControlDatabase } from './control-database.ts'
import { controlPath } from './control-place.ts'
import { type ControlTables, isMigrated, migrateControl } from './schema.ts'
import type { SecretsKeyOptions } from './signing-secrets.ts'
import { openSqlite } from './sqlite.ts'

/** Where the control data lies. */
export interface ControlOptions extends SecretsKeyOptions {
  /** A postgres:// address; without it the data is in DATA_DIR/control.sqlite. */
  readonly controlDatabaseUrl?: string
  /** SQLite: milliseconds to wait for another process that is writing; this thread stands still meanwhile. Default 5000. */
  readonly busyTimeoutMs?: number
  /** Postgres: milliseconds that a statement may take, with its wait for other processes. Default 5000. */
  readonly statementTimeoutMs?: number
  /** Bring the tables up to date; else, when they are not, it is a problem. Default true. */
  readonly migrate?: boolean
}

/** Opens the control database and brings its tables up to date. A problem when it cannot be reached or used. */
export async function openControl(
  options: ControlOptions,
): Promise<ControlDatabase | Problem<'control_unavailable' | 'control_not_migrated'>> {
  const { dataDir, controlDatabaseUrl: url, migrate = true } = options
  let place = controlPath(dataDir)
  let database: Kysely<ControlTables> | undefined
  try {
    let dialect: Dialect
    if (url === undefined) {
      const unusable = makeDataDirectory(dataDir)
      if (unusable !== undefined) return unusable
      dialect = openSqlite(place, options.busyTimeoutMs ?? 5000)
    } else {
      const { openPostgres, postgresPlace } = await import('./postgres.ts')
      const read = postgresPlace(url)
      if (read === undefined) {
        const wants = 'wants postgres://user:password@host:port/database, special characters percent-encoded'
        return problem('control_unavailable', `CONTROL_DATABASE_URL cannot be read (value not shown): it ${wants}`)
      }
      place = read
      dialect = openPostgres(url, options.statementTimeoutMs ?? 5000)
    }
    database = new Kysely<ControlTables>({ dialect })
    if (migrate) {
      await migrateControl(database)
    } else if (!(await isMigrated(database))) {
      await database.destroy()
      return problem('control_not_migrated', `${place} has no tables of this version: the next start makes them`)
    }
    return new ControlDatabase(database, options)
  } catch (error) {
    await database?.destroy()
    return problem('control_unavailable', `cannot use the control database ${place}: ${reasonOf(error)}`)
  }
}

function makeDataDirectory(dataDir: string): Problem<'control_unavailable'> | undefined {
  try {
    mkdirSync(dataDir, { recursive: true })
    accessSync(dataDir, constants.W_OK | constants.X_OK)
    return undefined
  } catch (error) {
    const wants = 'but wants a directory that this user can write'
    return problem('control_unavailable', `DATA_DIR is ${JSON.stringify(dataDir)}, ${wants}: ${reasonOf(error)}`)
  }
}
