/**
 * A ClickHouse server as a child process, out of the npm package `chdb`: the same URL, client and SQL as any other server.
 *
 * - The child has a process group of its own: Ctrl-C in a terminal must not end the engine before the last flush.
 * - Its standard input is a pipe that this process holds. Closing the pipe ends it cleanly; when this process dies, however
 *   it dies, the kernel closes the pipe. So no engine outlives its parent.
 * - It listens on 127.0.0.1 only and has no password.
 * - It is started only when no other lives on its directory, and after what a kill left there has been mended.
 * - While it runs it is started again whenever it ends. Only what is wrong at the first start (no library, a port or the
 *   directory taken by somebody else) is final, and `ready()` says it in one line.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { environment } from '../config.ts'
import { isNoSpace } from '../log/file-system.ts'
import type { Logger } from '../telemetry/logger.ts'
import { prepareDirectory } from './engine-directory.ts'
import { readEngineOutput } from './engine-output.ts'
import { type EngineRun, endOf, endProcess } from './engine-run.ts'
import {
  ALLOCATOR,
  directoryInUse,
  EmbeddedClickHouseError,
  ENGINE_HOST,
  explainFailedStart,
  findLibrary,
  freePort,
  INSTANCE_MACRO,
  writeConfig,
} from './engine-setup.ts'

export { EmbeddedClickHouseError, type EmbeddedClickHouseErrorCode } from './engine-setup.ts'

const RESTART_DELAY_MIN_MS = 100
const RESTART_DELAY_MAX_MS = 10_000
/** A run at least this long counts as healthy: the next restart waits the shortest time again. */
const HEALTHY_RUN_MS = 30_000
/** An engine whose parent is gone ends within 5 s, the time it waits for open connections. */
const PREDECESSOR_WAIT_MS = 10_000
const PREDECESSOR_POLL_MS = 200
const PING_INTERVAL_MS = 20

export interface EmbeddedClickHouseOptions {
  /** Directory of Penstock's data; the engine keeps its own in `clickhouse/` below it. Made when missing. */
  readonly dataDir: string
  /** 0 takes a free one. */
  readonly httpPort: number
  /** 0 takes a free one. */
  readonly tcpPort: number
  readonly logger: Logger
  /** Time from `stop()` to SIGKILL. ClickHouse itself waits up to 5 s for clients that hold a connection. Default 8,000. */
  readonly stopDeadlineMs?: number
  /** How long the first start waits for an engine that still holds the directory or a port. Default 10,000. */
  readonly predecessorWaitMs?: number
}

/** `starting`: before the first answer; `restarting`: it ended by itself; `failed`: it could not be started, see `ready()`. */
export type EmbeddedClickHouseState = 'starting' | 'ready' | 'restarting' | 'failed' | 'stopping' | 'stopped'

export interface EmbeddedClickHouse {
  /** Of the HTTP interface. */
  readonly url: string
  /** What it is called, by every start from here. So whoever has the port can be told from it. */
  readonly instance: string
  /** Of the native interface, for clickhouse-client and native drivers. */
  readonly tcpPort: number
  /** Of the engine's process; undefined while there is none. Changes at a restart. */
  readonly pid: number | undefined
  readonly state: EmbeddedClickHouseState
  /** Resolves when the engine answers, now or after a restart. Rejects with `EmbeddedClickHouseError` when it never will. */
  ready(): Promise<void>
  /** Ends the engine, by SIGKILL after the deadline, and resolves when it is gone. */
  stop(): Promise<void>
}

/** Starts the engine in the background; `ready()` tells how that went. */
export function startEmbeddedClickHouse(options: EmbeddedClickHouseOptions): EmbeddedClickHouse {
  const engine = new EngineSupervisor(options)
  return {
    url: `http://${ENGINE_HOST}:${engine.httpPort}`,
    instance: engine.instance,
    tcpPort: engine.tcpPort,
    get pid() {
      return engine.pid
    },
    get state() {
      return engine.state
    },
    ready: () => engine.ready(),
    stop: () => engine.stop(),
  }
}

class EngineSupervisor {
  state: EmbeddedClickHouseState = 'starting'
  readonly httpPort: number
  readonly tcpPort: number
  private readonly options: EmbeddedClickHouseOptions
  private readonly directory: string
  readonly instance = crypto.randomUUID()
  private readonly stopping = new AbortController()
  private readiness = newReadiness()
  private run: EngineRun | undefined
  private readonly finished: Promise<void>

  constructor(options: EmbeddedClickHouseOptions) {
    this.options = options
    this.httpPort = options.httpPort || freePort()
    this.tcpPort = options.tcpPort || freePort()
    this.directory = resolve(options.dataDir, 'clickhouse') // the engine looks up relative paths from inside its own directory
    this.finished = this.supervise().catch((error: unknown) => this.fail(asStartError(error)))
  }

  get pid(): number | undefined {
    return this.run?.child.pid
  }

  ready(): Promise<void> {
    return this.readiness.promise
  }

  async stop(): Promise<void> {
    if (this.state !== 'failed' && this.state !== 'stopped') this.state = 'stopping'
    this.stopping.abort()
    const run = this.run
    if (run) await endProcess(run, this.options.stopDeadlineMs ?? 8_000, this.options.logger)
    await this.finished
    if (this.state === 'failed') return
    this.state = 'stopped'
    this.readiness = newReadiness()
    this.readiness.reject(new EmbeddedClickHouseError('stopped', 'the embedded ClickHouse has been stopped'))
  }

  /** Start, wait for the end, start again: one loop until `stop()` or a first start that cannot succeed. */
  private async supervise(): Promise<void> {
    const { logger } = this.options
    const libraryPath = await findLibrary()
    const predecessorDeadline = performance.now() + (this.options.predecessorWaitMs ?? PREDECESSOR_WAIT_MS)
    let everReady = false
    let delayMs = RESTART_DELAY_MIN_MS
    const nextDelayMs = () => {
      const waitMs = Math.round(delayMs * (0.5 + Math.random()))
      delayMs = Math.min(delayMs * 2, RESTART_DELAY_MAX_MS)
      return waitMs
    }

    while (!this.stopping.signal.aborted) {
      const startedAt = performance.now()
      const run = await this.prepareAndLaunch(libraryPath)
      if (run === undefined) return
      if (run instanceof EmbeddedClickHouseError) {
        const { code, message } = run
        const waitsForPredecessor = !everReady && code === 'directory_in_use'
        const mayPass = waitsForPredecessor ? performance.now() < predecessorDeadline : code === 'disk_full'
        if (!everReady && !mayPass) throw run
        const waitMs = waitsForPredecessor ? PREDECESSOR_POLL_MS : nextDelayMs()
        if (!waitsForPredecessor) logger.error({ error: message, wait_ms: waitMs }, 'ClickHouse cannot be started yet')
        await this.pause(waitMs)
        continue
      }
      if (await this.becomesReady(run)) {
        everReady = true
        logger.info(
          { clickhouse_pid: run.child.pid, start_ms: Math.round(performance.now() - startedAt) },
          'ClickHouse is ready',
        )
        this.state = 'ready'
        this.readiness.resolve()
      }
      const exit = await run.exited
      this.run = undefined
      if (this.stopping.signal.aborted) {
        logger.info({ exit_code: exit.exitCode, signal: exit.signal }, 'ClickHouse has ended')
        return
      }
      if (this.state === 'ready') this.readiness = newReadiness()

      if (everReady) {
        this.state = 'restarting'
        if (performance.now() - startedAt > HEALTHY_RUN_MS) delayMs = RESTART_DELAY_MIN_MS
        const waitMs = nextDelayMs()
        logger.error(
          {
            exit_code: exit.exitCode,
            signal: exit.signal,
            error: exit.error ?? run.output.lastError()?.text,
            wait_ms: waitMs,
          },
          'ClickHouse ended, starting it again',
        )
        await this.pause(waitMs)
      } else {
        const { directory, httpPort, tcpPort } = this
        const start = { directory, httpPort, tcpPort, lastError: run.output.lastError(), ...exit }
        const error = explainFailedStart(start, performance.now() < predecessorDeadline)
        if (error) throw error
        await this.pause(PREDECESSOR_POLL_MS)
      }
    }
  }

  /**
   * Mends what a kill left, without which the engine could lose batches for ever, and writes the configuration, which is not
   * touched while another engine lives there. Gives why the engine cannot be launched now; undefined: it is not to be.
   */
  private async prepareAndLaunch(libraryPath: string): Promise<EngineRun | EmbeddedClickHouseError | undefined> {
    try {
      if (!(await prepareDirectory(this.directory, this.options.logger))) return directoryInUse(this.directory)
      const configFile = writeConfig(this.directory, this.instance)
      return this.stopping.signal.aborted ? undefined : this.launch(libraryPath, configFile)
    } catch (error) {
      if (isNoSpace(error)) return new EmbeddedClickHouseError('disk_full', `the disk of ${this.directory} is full`)
      return asStartError(error)
    }
  }

  private launch(libraryPath: string, configFile: string): EngineRun {
    const { httpPort, tcpPort } = this
    const child = spawn(
      process.execPath,
      [
        join(import.meta.dir, 'clickhouse-process.ts'),
        libraryPath,
        `--path=${this.directory}`,
        `--config-file=${configFile}`,
        `--http_port=${httpPort}`,
        `--tcp_port=${tcpPort}`,
        `--listen_host=${ENGINE_HOST}`,
        // As an option of the command line it becomes the default of every session: keys with dots read back as they were sent.
        '--json_type_escape_dots_in_keys=1',
      ],
      { detached: true, stdio: ['pipe', 'pipe', 'pipe'], env: { JE_MALLOC_CONF: ALLOCATOR, ...environment() } },
    )
    child.on('error', () => {}) // that it could not be started, which its end tells, or the line below
    assert(child.stdin && child.stdout && child.stderr, 'there are no pipes for another process')
    child.stdin.on('error', () => {}) // it ended, which its exit tells
    const output = readEngineOutput([child.stdout, child.stderr], this.options.logger)
    this.run = { child, output, exited: endOf(child) }
    return this.run
  }

  /** True when the engine answers on its port; false when it ended before. */
  private async becomesReady(run: EngineRun): Promise<boolean> {
    const ended = run.exited.then(() => 'ended' as const)
    for (;;) {
      const answer = await Promise.race([this.answers(), ended])
      if (answer === 'ended') return false
      if (answer) return true
      await Promise.race([sleep(PING_INTERVAL_MS), ended])
    }
  }

  /** Whether our engine answers: another server on that port would not know the macro. */
  private async answers(): Promise<boolean> {
    try {
      const response = await fetch(`http://${ENGINE_HOST}:${this.httpPort}/`, {
        method: 'POST',
        body: `SELECT getMacro('${INSTANCE_MACRO}')`,
        headers: { connection: 'close' }, // an open connection would hold up its end
        signal: AbortSignal.timeout(2_000),
      })
      return (await response.text()).trim() === this.instance
    } catch {
      return false
    }
  }

  private fail(error: EmbeddedClickHouseError): void {
    this.run = undefined
    this.state = 'failed'
    this.readiness.reject(error)
  }

  private async pause(durationMs: number): Promise<void> {
    await sleep(durationMs, undefined, { signal: this.stopping.signal }).catch(() => {})
  }
}

/** A promise of readiness that may be rejected without anybody waiting. */
function newReadiness(): PromiseWithResolvers<void> {
  const readiness = Promise.withResolvers<void>()
  readiness.promise.catch(() => {})
  return readiness
}

function asStartError(error: unknown): EmbeddedClickHouseError {
  if (error instanceof EmbeddedClickHouseError) return error
  return new EmbeddedClickHouseError(
    'failed_to_start',
    `the embedded ClickHouse could not be started: ${String(error)}`,
  )
}
