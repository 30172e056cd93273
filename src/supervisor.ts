/**
 * `penstock serve` with WORKERS=n: n collectors on one port, each a process with a log of its own, `DATA_DIR/log` for the first and
 * `DATA_DIR/log-<number>` for the others. The kernel shares the connections out among them (SO_REUSEPORT). They share limits and
 * deduplication by Redis.
 *
 * This process takes no events: it runs the embedded ClickHouse when there is one, starts a worker again that dies, and ends them all. A
 * worker hears on its IPC channel when this process is gone, however it went, and shuts down then; so none is left behind.
 *
 * A log that is left of an earlier start with more workers is emptied by a worker that only drains: it takes no events and ends when all
 * of its log is in ClickHouse.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { banner } from './cli/banner.ts'
import { CommandFailure, orFail } from './cli/session.ts'
import { type Config, environment } from './config.ts'
import { firstWorkspace } from './control/first-workspace.ts'
import { openControl } from './control/open-control.ts'
import { heapBounds } from './heap.ts'
import { startEmbeddedClickHouse } from './sink/embedded-clickhouse.ts'
import { freePort } from './sink/engine-setup.ts'
import { signalled } from './signals.ts'
import { createLogger, type Logger } from './telemetry/logger.ts'

/** What a worker tells the supervisor. */
export type WorkerMessage = 'accepting' | 'flowing'

/** What a process is among several. */
interface WorkerRole {
  /** From 0. */
  readonly number: number
  /** Takes no events; ends when its log is empty. */
  readonly isDraining: boolean
}

const RESTART_DELAY_MIN_MS = 100
const RESTART_DELAY_MAX_MS = 10_000
/** A worker that ran so long was healthy: the next restart waits the shortest time again. */
const HEALTHY_RUN_MS = 30_000
/** Beyond SHUTDOWN_DEADLINE_MS, in which a worker ends by itself. */
const KILL_AFTER_MS = 5_000

/** Where a worker keeps its log. */
export function logDirectory(dataDir: string, worker: number): string {
  return join(dataDir, worker === 0 ? 'log' : `log-${worker}`)
}

/** Numbers of logs that no worker of this start will open. */
export function leftoverLogs(dataDir: string, workers: number): number[] {
  if (!existsSync(dataDir)) return []
  return readdirSync(dataDir)
    .map((name) => Number(/^log-([1-9]\d*)$/.exec(name)?.[1]))
    .filter((number) => number >= workers)
    .filter((number) => readdirSync(logDirectory(dataDir, number)).some((name) => /\.(open|sealed)$/.test(name)))
}

/** Runs the workers until SIGTERM or SIGINT. Throws `CommandFailure` when they cannot start. */
export async function supervise(config: Config): Promise<void> {
  const logger = createLogger({ level: config.logLevel })
  const stopped = signalled()
  const control = orFail(await openControl(config))
  const first = orFail(await firstWorkspace(control, config.dataDir)) // made once, not by whichever worker is first
  await control.close()
  const engine =
    config.clickhouse.url === undefined
      ? startEmbeddedClickHouse({ dataDir: config.dataDir, ...config.embedded, logger })
      : undefined
  const port = config.port === 0 ? freePort() : config.port
  const url = config.clickhouse.url ?? engine?.url ?? ''
  const workerEnvironment = { ...environment(), ...heapBounds(), PORT: String(port), CLICKHOUSE_URL: url }
  const start = (role: WorkerRole) => new Worker(role, workerEnvironment, logger, config.shutdownDeadlineMs)
  const workers = Array.from({ length: config.workers }, (_, number) => start({ number, isDraining: false }))
  const drains = leftoverLogs(config.dataDir, config.workers).map((number) => start({ number, isDraining: true }))

  const engineFailed = new Promise<Error>((resolve) => engine?.ready().catch(resolve))
  const failed = Promise.race([engineFailed, ...workers.map((worker) => worker.failed)])
  const allAccepting = Promise.all(workers.map((worker) => worker.heard('accepting')))
  void allAccepting.then(() =>
    logger.info({ host: config.host, port, workers: workers.length }, 'all workers accept events'),
  )
  void Promise.all(workers.map((worker) => worker.heard('flowing'))).then(() => {
    if (config.logLevel === 'silent') return
    const { user, password, database } = config.clickhouse
    const clickhouse = { url, user, hasPassword: password !== '', database }
    process.stdout.write(banner({ ...config, port, publicKey: first?.publicKey, clickhouse }))
  })

  const reason = await Promise.race([stopped, failed])
  logger.info({ reason: reason instanceof Error ? reason.message : reason }, 'shutting down')
  await Promise.all([...workers, ...drains].map((worker) => worker.stop()))
  await engine?.stop()
  logger.info('stopped')
  if (reason instanceof Error) throw new CommandFailure(reason.message)
}

/** One place among the workers: a process, and another one when that dies. */
class Worker {
  /** Resolves when it ended before it ever accepted events: another try would not help. */
  readonly failed: Promise<Error>
  private readonly role: WorkerRole
  private readonly environment: Readonly<Record<string, string | undefined>>
  private readonly logger: Logger
  private readonly deadlineMs: number
  private readonly stopping = new AbortController()
  private readonly messages = { accepting: Promise.withResolvers<void>(), flowing: Promise.withResolvers<void>() }
  private child: Bun.Subprocess | undefined
  private readonly finished: Promise<void>

  constructor(
    role: WorkerRole,
    workerEnvironment: Readonly<Record<string, string | undefined>>,
    logger: Logger,
    deadlineMs: number,
  ) {
    this.role = role
    this.environment = workerEnvironment
    this.logger = logger
    this.deadlineMs = deadlineMs
    const failure = Promise.withResolvers<Error>()
    this.failed = failure.promise
    this.finished = this.run(failure.resolve)
  }

  /** Resolves when the process has said so for the first time. */
  heard(message: WorkerMessage): Promise<void> {
    return this.messages[message].promise
  }

  /** Ends the process, by SIGKILL after the deadline. */
  async stop(): Promise<void> {
    this.stopping.abort()
    this.child?.kill('SIGTERM')
    const deadline = setTimeout(() => this.child?.kill('SIGKILL'), this.deadlineMs + KILL_AFTER_MS)
    await this.finished
    clearTimeout(deadline)
  }

  private async run(fail: (error: Error) => void): Promise<void> {
    const { signal } = this.stopping
    let isEverAccepting = false
    let delayMs = RESTART_DELAY_MIN_MS
    while (!signal.aborted) {
      const startedAt = performance.now()
      const { number, isDraining } = this.role
      const child = Bun.spawn(
        [process.execPath, MAIN, 'serve', '--worker', String(number), ...(isDraining ? ['--drain'] : [])],
        {
          env: this.environment,
          stdin: 'ignore',
          stdout: 'inherit',
          stderr: 'inherit',
          ipc: (message: WorkerMessage) => {
            isEverAccepting = true
            this.messages[message].resolve()
          },
        },
      )
      this.child = child
      const exitCode = await child.exited
      if (signal.aborted || (isDraining && exitCode === 0)) return
      if (!isEverAccepting && !isDraining) return fail(new Error(`worker ${number} ended at its start`))
      if (performance.now() - startedAt > HEALTHY_RUN_MS) delayMs = RESTART_DELAY_MIN_MS
      this.logger.error(
        { worker: number, exitCode, signal: child.signalCode, waitMs: delayMs },
        'a worker ended, starting it again',
      )
      await sleep(delayMs, undefined, { signal }).catch(() => undefined)
      delayMs = Math.min(delayMs * 2, RESTART_DELAY_MAX_MS)
    }
  }
}

const MAIN = join(import.meta.dir, 'main.ts')
