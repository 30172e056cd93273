/**
 * `penstock serve` with WORKERS=n: n collectors on one port, each a process with a log of its own, `DATA_DIR/log` for the first and
 * `DATA_DIR/log-<number>` for the others. The kernel shares the connections out among them (SO_REUSEPORT). They share limits and
 * deduplication by Redis.
 *
 * This process takes no events: it runs the embedded ClickHouse when there is one, starts a worker again that dies, and ends them all. A
 * worker hears on its IPC channel when this process is gone, however it went, and shuts down then; so none is left behind.
 *
 * A log that is left of an earlier start with more workers is emptied by a worker that only drains: it takes no events and ends when all
 * of its log is in ClickHouse. It also deletes files that waited there to be written over.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { printBanner } from './cli/banner.ts'
import { CommandFailure, orFail } from './cli/session.ts'
import { type Config, environment } from './config.ts'
import { firstWorkspace } from './control/first-workspace.ts'
import { openControl } from './control/open-control.ts'
import { heapBounds } from './heap.ts'
import { DirectoryLockedError, lockDirectory } from './log/lock.ts'
import { probePort } from './port.ts'
import { reasonOf } from './problem.ts'
import { signalled } from './signals.ts'
import { startEmbeddedClickHouse } from './sink/embedded-clickhouse.ts'
import { createLogger } from './telemetry/logger.ts'
import { Worker } from './worker.ts'

/** Beyond SHUTDOWN_DEADLINE_MS, in which a worker ends by itself. */
const KILL_AFTER_MS = 5_000
/** Workers whose supervisor was killed end by themselves, within a second or two. */
const PREDECESSORS_WAIT_MS = 5_000
const PREDECESSORS_POLL_MS = 50

/** Where a worker keeps its log. */
export function logDirectory(dataDir: string, worker: number): string {
  return join(dataDir, worker === 0 ? 'log' : `log-${worker}`)
}

/** Numbers of logs that no worker of this start will open, with events in them, also with such as are stored. */
export function leftoverLogs({ dataDir, workers, durability }: Config): number[] {
  const opened = durability === 'memory' ? 0 : workers
  return logNumbers(dataDir).filter((number) => number >= opened && holdsEvents(logDirectory(dataDir, number)))
}

/**
 * Waits until nobody has one of the logs, where workers ran before: when their supervisor was killed they may still be about to end. Of a
 * collector that does not end, who opens its log will tell.
 */
export async function predecessorsGone({ dataDir, logLevel }: Config): Promise<void> {
  const deadline = performance.now() + PREDECESSORS_WAIT_MS
  const numbers = logNumbers(dataDir)
  if (Math.max(0, ...numbers) === 0) return
  const isAnyTaken = () => numbers.some((number) => isTaken(logDirectory(dataDir, number)))
  for (let waits = 0; isAnyTaken() && performance.now() < deadline; waits++) {
    if (waits === 0)
      createLogger({ level: logLevel }).warn({ dataDir }, 'another collector uses the log: waiting for its end')
    await sleep(PREDECESSORS_POLL_MS)
  }
}

/** Runs the workers until SIGTERM or SIGINT. Throws `CommandFailure` when they cannot start. */
export async function supervise(config: Config): Promise<void> {
  const logger = createLogger({ level: config.logLevel })
  const processes: Worker[] = []
  const stopped = signalled(() => {
    for (const worker of processes) worker.kill()
  })
  const control = orFail(await openControl(config))
  const first = orFail(await firstWorkspace(control, config.dataDir)) // made once, not by whichever worker is first
  await control.close()
  const port = freePort(config)
  const engine =
    config.clickhouse.url === undefined
      ? startEmbeddedClickHouse({ dataDir: config.dataDir, ...config.embedded, logger })
      : undefined
  const url = config.clickhouse.url ?? engine?.url ?? ''
  const start = (number: number, isDraining: boolean) => {
    const worker = new Worker({
      number,
      isDraining,
      engine: engine?.instance,
      environment: { ...environment(), ...heapBounds(), PORT: String(port), CLICKHOUSE_URL: url },
      logger,
      stopDeadlineMs: config.shutdownDeadlineMs + KILL_AFTER_MS,
      gatherMetrics: () => Promise.all(workers.map((one) => one.metrics())),
    })
    processes.push(worker)
    return worker
  }
  const workers = Array.from({ length: config.workers }, (_, number) => start(number, false))
  for (const number of leftoverLogs(config)) start(number, true)

  const engineFailed = new Promise<Error>((resolve) => engine?.ready().catch(resolve))
  const failed = Promise.race([engineFailed, ...workers.map((worker) => worker.failed)])
  const allHave = (message: 'accepting' | 'flowing') => Promise.all(workers.map((worker) => worker.heard(message)))
  void allHave('accepting').then(() => {
    logger.info({ host: config.host, port, workers: workers.length }, 'all workers accept events')
  })
  void allHave('flowing').then(() => {
    printBanner(config, { port, publicKey: first?.publicKey, clickhouseUrl: url })
  })

  const reason = await Promise.race([stopped, failed])
  logger.info({ reason: reason instanceof Error ? reason.message : reason }, 'shutting down')
  await Promise.all(processes.map((worker) => worker.stop()))
  await engine?.stop()
  logger.info('stopped')
  if (reason instanceof Error) throw new CommandFailure(reason.message)
}

/** Numbers of the logs that are there. */
function logNumbers(dataDir: string): number[] {
  if (!isDirectory(dataDir)) return []
  const numbers = readdirSync(dataDir).map((name) => /^log(?:-([1-9]\d{0,8}))?$/.exec(name))
  return numbers.filter((found) => found !== null).map(([, digits]) => Number(digits ?? 0))
}

/** Whether there are segments, or files of stored ones, which who opens the log deletes; also when that cannot be seen: then who opens it says what is wrong. */
function holdsEvents(directory: string): boolean {
  if (!isDirectory(directory)) return false
  try {
    return readdirSync(directory).some((name) => /\.(open|sealed|spare)$/.test(name))
  } catch {
    return true
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

function isTaken(logDirectory: string): boolean {
  try {
    lockDirectory(logDirectory).release()
    return false
  } catch (error) {
    return error instanceof DirectoryLockedError
  }
}

/**
 * The port for all workers: the configured one, or a free one. Throws when somebody has it: workers share it with whoever shares it too, so
 * with another Penstock there by mistake each would get half of the requests.
 */
function freePort({ host, port }: Config): number {
  try {
    return probePort(host, port)
  } catch (error) {
    throw new CommandFailure(`cannot listen on ${host}:${port} (HOST, PORT): ${reasonOf(error)}`)
  }
}
