import { afterAll } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ControlDatabase, Provisioned } from '../../src/control/control-database.ts'
import { type ControlOptions, openControl } from '../../src/control/open-control.ts'
import { isProblem, type Problem } from '../../src/problem.ts'
import { startPostgres } from '../support/postgres.ts'

const directories: string[] = []
const opened: ControlDatabase[] = []

/** A data directory that goes away with the test file. */
export function temporaryDataDir(): string {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-control-'))
  directories.push(directory)
  return directory
}

/** The value, or the test fails with the problem's message. */
export function good<Value>(result: Value): Exclude<Value, Problem> {
  if (isProblem(result)) throw new Error(`${result.problem}: ${result.message}`)
  return result as Exclude<Value, Problem>
}

/** The code of the problem; the test fails when there is none. */
export function codeOf(result: unknown): string {
  if (!isProblem<unknown>(result)) throw new Error('a problem was expected')
  return (result as Problem).problem
}

/** Gives a place for a control database that is empty, and that nobody else uses. */
export type NewPlace = () => Promise<ControlOptions>

/** Every kind of control database there is, for `describe.each`. The Postgres goes away with the test file. */
export async function everyDatabase(): Promise<[name: string, newPlace: NewPlace][]> {
  const postgres = await startPostgres()
  afterAll(() => postgres.stop())
  return [
    ['SQLite', async () => ({ dataDir: temporaryDataDir() })],
    ['Postgres', async () => ({ dataDir: temporaryDataDir(), controlDatabaseUrl: await postgres.newDatabase() })],
  ]
}

/** A control database that is closed with the test file. */
export async function openTestControl(options: Partial<ControlOptions> = {}): Promise<ControlDatabase> {
  const control = good(await openControl({ dataDir: temporaryDataDir(), ...options }))
  opened.push(control)
  return control
}

/** Workspace `web` of tenant `acme`. */
export async function provisionAcme(control: ControlDatabase): Promise<Provisioned> {
  return good(await control.provision({ tenant: 'acme', workspace: 'web' }))
}

afterAll(async () => {
  for (const control of opened) await control.close()
  for (const directory of directories) rmSync(directory, { recursive: true, force: true })
})
