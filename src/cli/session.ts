/** What every command shares: reading the configuration, opening the control database, saying the result. */
import type { Config } from '../config.ts'
import { loadConfig } from '../config.ts'
import type { ControlDatabase } from '../control/control-database.ts'
import { controlPath, hasControl } from '../control/control-place.ts'
import { isProblem, type Problem } from '../problem.ts'
import type { ClickHouseOptions } from '../sink/clickhouse.ts'

/** Ends a command with exit code 1 and one line on stderr. */
export class CommandFailure extends Error {}

/** The value, or the end of the command. */
export function orFail<Value>(result: Value): Exclude<Value, Problem> {
  if (isProblem(result)) throw new CommandFailure(result.message)
  return result as Exclude<Value, Problem>
}

/** The configuration from the environment. */
export function configOrFail(): Config {
  return orFail(loadConfig())
}

/** Where ClickHouse answers: the configured server, or the embedded one of a running collector. */
export function clickhouseOf({ clickhouse, embedded }: Config): ClickHouseOptions {
  const { url, user, password, database, cluster } = clickhouse
  const tables = { database, ...(cluster && { cluster }) }
  if (url !== undefined) return { url, user, password, ...tables }
  return { url: `http://127.0.0.1:${embedded.httpPort}`, user: 'default', password: '', ...tables }
}

/**
 * Runs the work with the control database open, and closes it. A running server may use it at the same time.
 * @param isMade when there is none; else that is a failure, since DATA_DIR is another one than the server's then
 */
export async function withControl<Result>(
  work: (control: ControlDatabase, config: Config) => Promise<Result>,
  isMade = false,
): Promise<Result> {
  const config = configOrFail()
  if (!isMade && !hasControl(config)) {
    const place = controlPath(config.dataDir)
    throw new CommandFailure(`there is no control database ${place}: set DATA_DIR as it is set for the server`)
  }
  const { openControl } = await import('../control/open-control.ts')
  const control = orFail(await openControl(config))
  try {
    return await work(control, config)
  } finally {
    await control.close()
  }
}

/** One JSON document on stdout. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

/** Columns on stdout, as wide as their widest cell. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length)
  }
  const pad = (cell: string, column: number) => cell.padEnd(widths[column] ?? 0)
  const lines = rows.map((row) => row.map(pad).join('  ').trimEnd())
  process.stdout.write(lines.map((line) => `${line}\n`).join(''))
}
