/**
 * One place among the workers of `penstock serve`: a process, and another one when that dies. And what such a process tells on its IPC
 * channel: that it accepts events, that they flow into ClickHouse, or why it cannot go on, which is then printed once and not by each.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CommandFailure } from './cli/session.ts'
import type { Environment } from './config.ts'
import { reasonOf } from './problem.ts'
import type { Logger } from './telemetry/logger.ts'
import { type MetricsMessage, Questions } from './telemetry/workers.ts'

/** What a worker tells the supervisor. */
export type WorkerMessage = 'accepting' | 'flowing' | { readonly failed: string } | MetricsMessage

export interface WorkerOptions {
  /** From 0. */
  readonly number: number
  /** Takes no events; ends when its log is empty. */
  readonly isDraining: boolean
  /** What the embedded ClickHouse is called, if there is one. */
  readonly engine: string | undefined
  readonly environment: Environment
  readonly logger: Logger
  /** From `stop` until it is killed, in milliseconds. */
  readonly stopDeadlineMs: number
  /** Asks all workers for their metrics, in the order of their numbers. */
  gatherMetrics(): Promise<readonly (string | null)[]>
}

/** How a process went. */
interface Run {
  readonly exitCode: number | null
  readonly signal: string | null
  /** What it said it could not go on for. */
  readonly failed: string | undefined
  readonly hasAccepted: boolean
  readonly ms: number
}

const RESTART_DELAY_MIN_MS = 100
const RESTART_DELAY_MAX_MS = 10_000
/** A worker that ran so long was healthy: the next restart waits the shortest time again. */
const HEALTHY_RUN_MS = 30_000
/** How long the last messages of a process may be on their way after its end. */
const LAST_MESSAGE_MS = 1_000

/** See the head of this file. */
export class Worker {
  /** Resolves when it cannot do its work at all, so that another try would not help. */
  readonly failed: Promise<Error>
  private readonly options: WorkerOptions
  private readonly stopping = new AbortController()
  private readonly heardFirst = { accepting: Promise.withResolvers<void>(), flowing: Promise.withResolvers<void>() }
  private readonly metricsQuestions = new Questions<string>()
  private hasAccepted = false
  private hasFlowed = false
  private child: Bun.Subprocess | undefined
  private readonly finished: Promise<void>

  constructor(options: WorkerOptions) {
    this.options = options
    const failure = Promise.withResolvers<Error>()
    this.failed = failure.promise
    this.finished = this.run(failure.resolve)
  }

  /** Resolves when the process has said so for the first time. */
  heard(message: 'accepting' | 'flowing'): Promise<void> {
    return this.heardFirst[message].promise
  }

  /** Its metrics; null when it gives none in time. */
  async metrics(): Promise<string | null> {
    const { child } = this
    if (child === undefined) return null
    return (await this.metricsQuestions.ask((number) => tell(child, { metricsWanted: number }))) ?? null
  }

  /** Ends the process, by SIGKILL after the deadline. */
  async stop(): Promise<void> {
    this.stopping.abort()
    this.child?.kill('SIGTERM')
    const deadline = setTimeout(() => this.kill(), this.options.stopDeadlineMs)
    await this.finished
    clearTimeout(deadline)
  }

  /** Ends the process at once. */
  kill(): void {
    this.stopping.abort()
    this.child?.kill('SIGKILL')
  }

  /** Start, wait for the end, start again. */
  private async run(fail: (error: Error) => void): Promise<void> {
    const { number: worker, isDraining, logger } = this.options
    const { signal } = this.stopping
    let delayMs = RESTART_DELAY_MIN_MS
    while (!signal.aborted) {
      const run = await this.runOnce()
      if (signal.aborted) return
      if (isDraining && run.exitCode === 0) return
      const why = this.whyPointless(run)
      if (why !== undefined && !isDraining) return fail(new Error(why))
      this.hasAccepted ||= run.hasAccepted
      if (run.ms > HEALTHY_RUN_MS) delayMs = RESTART_DELAY_MIN_MS
      const { exitCode, signal: endedBy, failed: reason } = run
      // With 0 it ended because it was told to, by SIGTERM of its own.
      const level = exitCode === 0 ? 'info' : 'error'
      logger[level]({ worker, exitCode, signal: endedBy, reason, waitMs: delayMs }, 'a worker ended, starting it again')
      await sleep(delayMs, undefined, { signal }).catch(() => undefined)
      delayMs = Math.min(delayMs * 2, RESTART_DELAY_MAX_MS)
    }
  }

  private async runOnce(): Promise<Run> {
    const { number, isDraining, engine, environment } = this.options
    const words = ['serve', '--worker', String(number), ...(isDraining ? ['--drain'] : [])]
    if (engine !== undefined) words.push('--engine', engine)
    const startedAt = performance.now()
    const silent = Promise.withResolvers<void>()
    let failed: string | undefined
    let hasAccepted = false
    let child: Bun.Subprocess
    try {
      child = Bun.spawn([process.execPath, ...process.execArgv, MAIN, ...words], {
        env: environment,
        stdin: 'ignore',
        stdout: 'inherit',
        stderr: 'inherit',
        ipc: (message: WorkerMessage, from) => {
          if (typeof message === 'object') {
            if ('failed' in message) failed = message.failed
            else void this.exchangeMetrics(message, from)
            return
          }
          if (message === 'accepting') hasAccepted = true
          else this.hasFlowed = true
          this.heardFirst[message].resolve()
        },
        onDisconnect: () => silent.resolve(),
      })
    } catch (error) {
      // Such as too many processes, or no memory.
      return { exitCode: null, signal: null, failed: reasonOf(error), hasAccepted, ms: 0 }
    }
    this.child = child
    const exitCode = await child.exited
    this.child = undefined
    const late = setTimeout(silent.resolve, LAST_MESSAGE_MS)
    await silent.promise
    clearTimeout(late)
    const signal = child.signalCode === null ? null : String(child.signalCode)
    return {
      exitCode: signal === null ? exitCode : null,
      signal,
      failed,
      hasAccepted,
      ms: performance.now() - startedAt,
    }
  }

  private async exchangeMetrics(message: MetricsMessage, from: Bun.Subprocess): Promise<void> {
    if ('metricsOf' in message) this.metricsQuestions.answer(message.metricsOf, message.text)
    if (!('metricsWanted' in message)) return
    const texts = await this.options.gatherMetrics()
    try {
      tell(from, { metricsGathered: message.metricsWanted, texts })
    } catch {
      // It has ended meanwhile.
    }
  }

  /**
   * Why it makes no sense to start it again, if so. Something is wrong with how it is set up when it fails before it ever accepted
   * events, or when it accepts them and then finds tables that it cannot use. One that worked before, and one that was killed, may work
   * again.
   */
  private whyPointless({ exitCode, signal, failed, hasAccepted }: Run): string | undefined {
    if (this.hasFlowed || signal !== null) return undefined
    if (hasAccepted) return failed
    if (this.hasAccepted) return undefined
    return failed ?? `worker ${this.options.number} ended at its start with exit code ${exitCode}`
  }
}

/** What a worker process runs: that it failed is told to the supervisor, when there is one. */
export async function runWorker(work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof CommandFailure) || process.connected !== true) throw error
    tellSupervisor({ failed: error.message })
    process.exit(1)
  }
  process.disconnect?.() // the channel would keep the process alive
}

function tell(child: Bun.Subprocess, message: MetricsMessage): void {
  child.send(message)
}

/** Does nothing in a process that has no supervisor. */
export function tellSupervisor(message: WorkerMessage): void {
  if (process.connected === true) process.send?.(message)
}

const MAIN = join(import.meta.dir, 'main.ts')
