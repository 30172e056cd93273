/** One process of the embedded ClickHouse, until its end. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../problem.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { EngineOutput } from './engine-output.ts'

/** How long the rest of the output of an engine that has ended is waited for. */
const OUTPUT_WAIT_MS = 1_000

/** How a process ended. */
export interface Exit {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  /** Why there never was a process: too many of them, or no memory. */
  readonly error?: string
}

/** A process of the engine. */
export interface EngineRun {
  readonly child: ChildProcess
  readonly output: EngineOutput
  readonly exited: Promise<Exit>
}

/** Resolves when the process has ended and its output was read, as far as it comes: whoever else holds the pipes keeps them open. */
export async function endOf(child: ChildProcess): Promise<Exit> {
  const closed = once(child, 'close').catch(() => {}) // an error is told below
  const exit = await once(child, 'exit').catch((error: unknown) => reasonOf(error))
  if (typeof exit === 'string') return { exitCode: null, signal: null, error: exit }
  const [exitCode, signal] = exit
  await Promise.race([closed, sleep(OUTPUT_WAIT_MS, undefined, { ref: false })])
  return { exitCode, signal }
}

/** Ends it by its standard input, and by SIGKILL after the deadline. */
export async function endProcess(run: EngineRun, deadlineMs: number, logger: Logger): Promise<void> {
  run.child.stdin?.end()
  const cancel = new AbortController()
  const deadline = sleep(deadlineMs, 'late' as const, { signal: cancel.signal }).catch(() => 'cancelled' as const)
  if ((await Promise.race([run.exited, deadline])) === 'late') {
    logger.warn(
      { deadline_ms: deadlineMs },
      'ClickHouse did not end in time and is killed; nothing that it confirmed is lost',
    )
    run.child.kill('SIGKILL')
    await run.exited
  }
  cancel.abort()
}
