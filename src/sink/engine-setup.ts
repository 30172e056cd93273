/**
 * What the embedded ClickHouse needs before it can start (library, allocator, configuration, ports), and in which words a start that
 * failed is told to the operator.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { probePort } from '../port.ts'

/** The engine listens here only: it has no password. */
export const ENGINE_HOST = '127.0.0.1'

/** Macro of the engine's configuration that says whose engine answers on a port. */
export const INSTANCE_MACRO = 'penstock_instance'

/**
 * For the engine's allocator, jemalloc.
 * - `thp`: large blocks lie in pages of 2 MiB where the kernel leaves that to programs (`madvise`, as distributions have it). A query that groups
 *   4.7 million sessions fills hundreds of megabytes; page by page of 4 KiB that is 170,000 faults. CPU of such queries: − 15 to − 30 %.
 * - `*_decay_ms`: memory that was given back is kept for the next insert, which comes within the second. With ClickHouse's own 5 and 0 seconds the kernel
 *   takes it and clears it again, a seventh of an insert's CPU: 2.2 to 3.5 µs an event, and 1.9 to 2.7 with these. The peak of memory is the same (1.2 GiB
 *   with two inserts of 64 MiB); of that 0.5 are left half a minute after the load and 0.4 after 75 s.
 */
export const ALLOCATOR = 'thp:always,dirty_decay_ms:30000,muzzy_decay_ms:30000'

/** Of 0 to 19; where a core is wanted by an insert too, that gets nine tenths of it. */
export const MERGE_NICENESS = 15

/** ClickHouse's error codes: the directory's lock is held; a port could not be opened. */
const CODE_CANNOT_OPEN_FILE = 76
const CODE_NETWORK_ERROR = 210

/** Why the engine could not be started at all. */
export type EmbeddedClickHouseErrorCode =
  | 'no_library'
  | 'port_taken'
  | 'directory_in_use'
  | 'disk_full'
  | 'failed_to_start'
  | 'stopped'

/** The engine could not be started, in one line that tells the operator what to do. */
export class EmbeddedClickHouseError extends Error {
  readonly code: EmbeddedClickHouseErrorCode
  constructor(code: EmbeddedClickHouseErrorCode, message: string) {
    super(message)
    this.name = 'EmbeddedClickHouseError'
    this.code = code
  }
}

/** Path of the engine's library. `chdb` is an optional dependency with libraries for Linux (glibc) and macOS only. */
export async function findLibrary(): Promise<string> {
  try {
    const { libchdbPath } = await import('chdb/libchdb')
    return libchdbPath()
  } catch {
    throw new EmbeddedClickHouseError(
      'no_library',
      `there is no embedded ClickHouse here (the optional package chdb is not installed or has no library for ${process.platform}-${process.arch}): set CLICKHOUSE_URL to a ClickHouse server`,
    )
  }
}

/**
 * Writes the engine's configuration into its directory and returns the file's path.
 *
 * No system log table (query_log, part_log, metric_log …) is named in it, so the engine keeps none: they would be written
 * all the time with nobody to read them. Half of the memory is left to the collector and the page cache.
 * The mark cache, 5 GiB by default, grows by being used; the marks of 90 days of events are far below this limit.
 * ClickHouse does not sync what a merge writes. As a server it keeps the parts that were merged for 8 minutes more, until the kernel has
 * written the new one; as `clickhouse local`, for 0 seconds, so that a power cut could take rows that were synced before. Two minutes are
 * four times what Linux lets written pages wait (30 s).
 * Merges give way to inserts, also within the engine, whose niceness is 5: a backlog of 10 million events was stored at 316,000 and 331,000 events a second
 * instead of 253,000 and 274,000 (2 cores). Parts wait to be merged meanwhile: after 50 s of more than the cores could take there were 105 instead of 48.
 * At 1,000 ClickHouse slows inserts down by itself. It needs CAP_SYS_NICE, as root has; without it nothing changes.
 * Backups go beside the engine's directory, so that they can be copied, and outlive it.
 * Console level warning: with the default the engine prints every step of every query.
 */
export function writeConfig(directory: string, instance: string): string {
  mkdirSync(directory, { recursive: true })
  const path = join(directory, 'config.xml')
  writeFileSync(
    path,
    `<clickhouse>
  <logger>
    <level>none</level>
    <console>1</console>
    <console_log_level>warning</console_log_level>
  </logger>
  <macros>
    <${INSTANCE_MACRO}>${instance}</${INSTANCE_MACRO}>
  </macros>
  <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
  <mark_cache_size>268435456</mark_cache_size>
  <os_threads_nice_value_merge_mutate>${MERGE_NICENESS}</os_threads_nice_value_merge_mutate>
  <merge_tree>
    <old_parts_lifetime>120</old_parts_lifetime>
  </merge_tree>
  <backups>
    <allowed_path>../backups/</allowed_path>
  </backups>
</clickhouse>
`,
  )
  return path
}

/** A TCP port nobody listens on at this moment. */
export function freePort(): number {
  return probePort(ENGINE_HOST, 0)
}

/** What is known about a start that failed. */
export interface FailedStart {
  readonly directory: string
  readonly httpPort: number
  readonly tcpPort: number
  /** What the engine printed as its end. */
  readonly lastError: { readonly code: number; readonly text: string } | undefined
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
}

/**
 * Why the start failed, or undefined when it is worth another try: an engine of an earlier process, which lost its parent
 * a moment ago, still holds the directory or a port (`mayWait`), or this one was killed.
 */
export function explainFailedStart(start: FailedStart, mayWait: boolean): EmbeddedClickHouseError | undefined {
  const { directory, httpPort, tcpPort, lastError } = start
  const owner = livingOwner(directory)
  const portRefused = lastError?.code === CODE_NETWORK_ERROR
  const directoryRefused = lastError?.code === CODE_CANNOT_OPEN_FILE && owner !== undefined

  if (start.signal === 'SIGKILL' || start.signal === 'SIGTERM') return undefined
  if (mayWait && (portRefused || directoryRefused) && owner !== undefined) return undefined
  if (mayWait && lastError?.code === CODE_CANNOT_OPEN_FILE) return undefined // its owner has just ended, or not yet said who it is
  if (portRefused && isPortTaken(httpPort)) return portTaken('EMBEDDED_CLICKHOUSE_HTTP_PORT', httpPort)
  if (portRefused && isPortTaken(tcpPort)) return portTaken('EMBEDDED_CLICKHOUSE_TCP_PORT', tcpPort)
  if (mayWait && portRefused && httpPort !== tcpPort) return undefined // it became free just now
  if (directoryRefused) return directoryInUse(directory)
  const reason = lastError?.text ?? (start.signal === null ? `exit code ${start.exitCode}` : start.signal)
  return new EmbeddedClickHouseError(
    'failed_to_start',
    `the embedded ClickHouse ended at its start (${reason}): look with LOG_LEVEL=debug, or set CLICKHOUSE_URL to a ClickHouse server`,
  )
}

/** Another engine lives on the directory. */
export function directoryInUse(directory: string): EmbeddedClickHouseError {
  const owner = livingOwner(directory)
  const user = owner === undefined ? 'another process' : `process ${owner}`
  return new EmbeddedClickHouseError(
    'directory_in_use',
    `the ClickHouse directory ${directory} is in use by ${user}: stop that process, or set DATA_DIR to another directory`,
  )
}

/** The process that holds the directory, from the file `status` that ClickHouse keeps in it, when that process is alive. */
function livingOwner(directory: string): number | undefined {
  try {
    const pid = Number(/^PID: (\d+)/.exec(readFileSync(join(directory, 'status'), 'utf8'))?.[1])
    process.kill(pid, 0)
    return pid
  } catch {
    return undefined
  }
}

function isPortTaken(port: number): boolean {
  try {
    probePort(ENGINE_HOST, port)
    return false
  } catch {
    return true
  }
}

function portTaken(variable: string, port: number): EmbeddedClickHouseError {
  return new EmbeddedClickHouseError(
    'port_taken',
    `${variable}=${port} is taken by another process: set ${variable} to a free port, or set CLICKHOUSE_URL to a running ClickHouse`,
  )
}
