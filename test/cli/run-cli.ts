import { join } from 'node:path'

/** What a run of the command line left behind. */
export interface CliResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

const MAIN = join(import.meta.dir, '../../src/main.ts')

/** Runs the real command line as a process of its own, with this environment and nothing else. */
export async function runCli(args: readonly string[], environment: Record<string, string>): Promise<CliResult> {
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
