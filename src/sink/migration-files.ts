/** The numbered migrations in `clickhouse/`: reading them, and comparing them with what a database says it has. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Problem, problem } from '../problem.ts'
import { splitStatements } from './sql-statements.ts'

/** The migrations of this version of the code. */
export const MIGRATIONS_DIRECTORY = join(import.meta.dir, '../../clickhouse')

export interface Migration {
  /** 1, 2, 3 … without gaps. */
  readonly version: number
  /** File name without number and ending. */
  readonly name: string
  /** SHA-256 of the file in hex. */
  readonly checksum: string
  readonly statements: readonly string[]
}

/** A migration as the database remembers it. */
export interface AppliedMigration {
  readonly version: number
  readonly name: string
  readonly checksum: string
}

/** Why the files, or the files and the database, do not fit together. Trying again does not help. */
export type MigrationMismatch = Problem<'bad_sequence' | 'edited_migration' | 'database_newer'>

/** Reads `NNNN_name.sql` files in the order of their numbers, which must be 1, 2, 3 … */
export function loadMigrations(directory: string): Migration[] | MigrationMismatch {
  const migrations: Migration[] = []
  const files = readdirSync(directory).filter((file) => file.endsWith('.sql'))
  for (const file of files.sort()) {
    const [, number, name] = /^(\d{4})_([a-z0-9_]+)\.sql$/.exec(file) ?? []
    if (number === undefined || name === undefined) {
      return problem('bad_sequence', `the migration file ${file} is not named like 0001_what_it_does.sql`)
    }
    const version = Number(number)
    const expected = migrations.length + 1
    if (version !== expected) {
      const wanted = String(expected).padStart(4, '0')
      return problem(
        'bad_sequence',
        `the migration file ${file} follows number ${expected - 1}: number ${wanted} is wanted here, once`,
      )
    }
    const sql = readFileSync(join(directory, file), 'utf8').replaceAll('\r\n', '\n')
    const checksum = createHash('sha256').update(sql).digest('hex')
    migrations.push({ version, name, checksum, statements: splitStatements(sql) })
  }
  return migrations
}

/** The migrations that the database lacks, or why it cannot be brought up to date by these files. */
export function pendingMigrations<Known extends Migration>(
  migrations: readonly Known[],
  applied: readonly AppliedMigration[],
): Known[] | MigrationMismatch {
  const byVersion = new Map(applied.map((migration) => [migration.version, migration]))
  const newest = Math.max(0, ...byVersion.keys())
  if (newest > migrations.length) {
    return problem(
      'database_newer',
      `the database has migration ${newest}, this version of Penstock knows ${migrations.length}: run the newer version`,
    )
  }
  for (const migration of migrations.slice(0, newest)) {
    const record = byVersion.get(migration.version)
    if (record === undefined) {
      return problem(
        'bad_sequence',
        `the database has migration ${newest} but not ${migration.version} (${migration.name})`,
      )
    }
    if (record.checksum !== migration.checksum) {
      return problem(
        'edited_migration',
        `migration ${migration.version} (${migration.name}) was changed after it had been applied: restore the file and put the change into a new migration`,
      )
    }
  }
  return migrations.slice(newest)
}
