import { afterAll } from 'bun:test'
import { spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ControlDatabase, Provisioned } from '../../src/control/control-database.ts'
import { type ControlOptions, openControl } from '../../src/control/open-control.ts'
import { isProblem, type Problem } from '../../src/problem.ts'
import { startPostgres } from '../support/postgres.ts'

let home: string | undefined

/** A data directory that goes away with the process. */
export function temporaryDataDir(): string {
  home ??= newHome()
  return mkdtempSync(join(home, 'data-'))
}

/** Test files share this module, so that an `afterAll` here would be that of the first one alone: a shell cleans up when we end. */
function newHome(): string {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-control-'))
  const shell = spawn('sh', ['-c', 'cat > /dev/null; rm -rf "$0"', directory], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  shell.unref()
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

/** A control database; it is not closed, so that late work of a test finds it open. */
export async function openTestControl(options: Partial<ControlOptions> = {}): Promise<ControlDatabase> {
  return good(await openControl({ dataDir: temporaryDataDir(), ...options }))
}

/** Workspace `web` of tenant `acme`. */
export async function provisionAcme(control: ControlDatabase): Promise<Provisioned> {
  return good(await control.provision({ tenant: 'acme', workspace: 'web' }))
}
