/** The real collector as a child process: `bun src/main.ts serve` on free ports, with its defaults but for what a scenario sets. */
import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ENGINE_HOST, freePort } from '../../src/sink/engine-setup.ts'
import { ClickHouse, waitFor } from './clickhouse.ts'
import { childrenOf } from './processes.ts'
import type { Resources } from './resources.ts'
import { run } from '../load/generator.ts'

const MAIN = join(import.meta.dir, '../../src/main.ts')
const ANSWERS_WITHIN_MS = 30_000
const STOPS_WITHIN_MS = 60_000

/** The part of `/stats` that the bench reads. */
export interface Stats {
  readonly events: { readonly accepted: number; readonly duplicates: number; readonly rejected: number }
  readonly bodies_in_flight_bytes: number
  readonly buffer: { readonly ring_bytes: number; readonly ring_used_bytes: number; readonly log_bytes: number }
  readonly limits: { readonly decided_alone?: number }
  readonly dedupe: { readonly shared?: { readonly unasked: number } }
  readonly log: {
    readonly written_bytes: number
    readonly flushed_bytes: number
    readonly segments_waiting: number
    readonly segments_taken: number
  }
}

export interface Penstock {
  /** `http://host:port` */
  readonly url: string
  /** `host:port` */
  readonly host: string
  readonly pid: number
  /** `performance.now()` when its process was started. */
  readonly startedAt: number
  /** The embedded one, or the one that the scenario gave. */
  readonly clickhouse: ClickHouse
  stats(): Promise<Stats>
  /** SIGTERM, and the end of the process and of its embedded ClickHouse. */
  stop(): Promise<void>
  /** SIGKILL. */
  kill(): Promise<void>
  /** Throws when the process has ended, with what it said last. */
  assertRunning(): void
  /** Log lines of level warning and above, so far. */
  complaints(): string[]
}

export interface PenstockOptions {
  readonly resources: Resources
  readonly dataDir: string
  /** Without it Penstock runs its embedded ClickHouse. */
  readonly clickhouse?: ClickHouse
  readonly environment?: Readonly<Record<string, string>>
}

/** The keys of a workspace. */
export interface WorkspaceKeys {
  readonly secretKey: string
  readonly publicKey: string
}

/**
 * Makes a workspace as an operator does, on the command line.
 * @param tier of its keys, or their limit in events a minute
 */
export async function provisionKeys(
  resources: Resources,
  dataDir: string,
  tenant: string,
  tier = 'unlimited',
): Promise<WorkspaceKeys> {
  const words = [MAIN, 'provision', '--tenant', tenant, '--workspace', 'bench', '--tier', tier, '--json']
  const made: { readonly secret_key: string; readonly public_key: string } = JSON.parse(
    await run(resources, process.execPath, words, { DATA_DIR: dataDir }),
  )
  return { secretKey: made.secret_key, publicKey: made.public_key }
}

/** Makes a workspace with unlimited keys; gives the secret one. */
export async function provision(resources: Resources, dataDir: string, tenant: string): Promise<string> {
  return (await provisionKeys(resources, dataDir, tenant)).secretKey
}

/** Starts the process; does not wait for anything. */
export function launchPenstock(options: PenstockOptions): Penstock {
  const { resources, dataDir, clickhouse } = options
  const port = freePort()
  const [httpPort, tcpPort] = [freePort(), freePort()]
  const host = `${ENGINE_HOST}:${port}`
  const logPath = join(resources.directory('log'), 'penstock.log')
  const log = openSync(logPath, 'a')
  const startedAt = performance.now()
  const child = resources.track(
    spawn(process.execPath, [MAIN, 'serve'], {
      stdio: ['ignore', log, log],
      env: {
        HOST: ENGINE_HOST,
        PORT: String(port),
        DATA_DIR: dataDir,
        LOG_LEVEL: 'warn',
        EMBEDDED_CLICKHOUSE_HTTP_PORT: String(httpPort),
        EMBEDDED_CLICKHOUSE_TCP_PORT: String(tcpPort),
        ...(clickhouse === undefined
          ? {}
          : { CLICKHOUSE_URL: clickhouse.url, CLICKHOUSE_DATABASE: clickhouse.database }),
        ...options.environment,
      },
    }),
  )
  closeSync(log)
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const { pid } = child
  if (pid === undefined) throw new Error('Penstock could not be started')

  let enginePid: number | undefined
  const findEngine = () => {
    enginePid ??= childrenOf(pid)[0]
    if (enginePid === undefined) throw new Error('Penstock has no embedded ClickHouse')
    return enginePid
  }
  const end = async (signal: NodeJS.Signals) => {
    const engine = clickhouse === undefined ? childrenOf(pid)[0] : undefined
    child.kill(signal)
    await waitForEnd(ended, () => child.kill('SIGKILL'))
    // The engine ends when its parent is gone; the directory is free only then.
    if (engine !== undefined)
      await waitFor('the end of ClickHouse', STOPS_WITHIN_MS, () => !existsSync(`/proc/${engine}`) || undefined)
  }
  const penstock: Penstock = {
    url: `http://${host}`,
    host,
    pid,
    startedAt,
    clickhouse: clickhouse ?? new ClickHouse(`http://${ENGINE_HOST}:${httpPort}`, findEngine),
    async stats() {
      const response = await fetch(`http://${host}/stats`, { signal: AbortSignal.timeout(ANSWERS_WITHIN_MS) })
      return (await response.json()) as Stats
    },
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    assertRunning() {
      if (child.exitCode === null && child.signalCode === null) return
      const said = readFileSync(logPath, 'utf8').trim().split('\n').at(-1)
      throw new Error(`Penstock has ended (${child.signalCode ?? child.exitCode}): ${said}`)
    },
    complaints: () => readFileSync(logPath, 'utf8').split('\n').filter(isComplaint),
  }
  resources.add(async () => {
    if (child.exitCode === null && child.signalCode === null) await penstock.stop()
  })
  return penstock
}

/** Starts Penstock, and waits until it takes requests and its tables are there. */
export async function startPenstock(options: PenstockOptions): Promise<Penstock> {
  const penstock = launchPenstock(options)
  await answers(penstock)
  await waitFor('tables in ClickHouse', ANSWERS_WITHIN_MS, async () => {
    const tables = await penstock.clickhouse.number('SELECT count() FROM events').catch(() => undefined)
    return tables === undefined ? undefined : true
  })
  return penstock
}

/** Waits until Penstock takes requests. */
export async function answers(penstock: Penstock): Promise<void> {
  await waitFor(
    () => `an answer of Penstock, which says: ${penstock.complaints().join(' ')}`,
    ANSWERS_WITHIN_MS,
    () => {
      penstock.assertRunning()
      return fetch(`${penstock.url}/livez`, { signal: AbortSignal.timeout(ANSWERS_WITHIN_MS) }).then(
        (response) => response.ok || undefined,
        () => undefined,
      )
    },
  )
}

async function waitForEnd(ended: Promise<void>, kill: () => void): Promise<void> {
  const timer = setTimeout(kill, STOPS_WITHIN_MS)
  await ended
  clearTimeout(timer)
}

function isComplaint(line: string): boolean {
  return /"level":(4|5|6)0|"level":"(warn|error|fatal)"|^error:/.test(line)
}
