import { expect } from 'bun:test'
import { join } from 'node:path'

/** What a run of the command line left behind. */
export interface CliResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

const MAIN = join(import.meta.dir, '../../src/main.ts')

/** Runs the real command line as a process of its own, with this environment and nothing else. */
export async function runCli(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<CliResult> {
  const child = Bun.spawn([process.execPath, '--no-env-file', MAIN, ...args], {
    env: environment,
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { exitCode, stdout, stderr }
}

/** Runs a command with `--json` that has to succeed without a word on stderr; gives what it printed. */
export async function runJson(environment: Readonly<Record<string, string>>, ...args: string[]) {
  const { exitCode, stdout, stderr } = await runCli([...args, '--json'], environment)
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  return JSON.parse(stdout)
}
