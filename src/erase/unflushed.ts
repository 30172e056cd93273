/**
 * Events that were accepted and are not in ClickHouse yet: an erasure waits for them.
 *
 * - In the logs below DATA_DIR, of all workers: segments that are there now are waited for until their files are gone, or wait to be written
 *   over (`.spare`). That is when a segment is stored, and nothing can send it again. The directory is synced then, so that no power
 *   cut brings the file back under its old name: a part that a mutation has emptied is dropped by ClickHouse half a minute later, and its
 *   deduplication record with it. A segment that is sent again after that is stored again.
 * - With DURABILITY=memory, and in collectors elsewhere: `/stats` tells how old the oldest event is that is not stored.
 *
 * Requests that are being received and not answered yet are not waited for: their events are newer than the erasure.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { httpAddress } from '../cli/banner.ts'
import type { Config } from '../config.ts'
import { isObject } from '../json.ts'
import { errorCode, realFileSystem } from '../log/file-system.ts'
import { parseSegmentFileName } from '../log/segment.ts'
import { type Problem, problem } from '../problem.ts'

/** Whose events are waited for. */
export interface Unflushed {
  readonly config: Pick<Config, 'dataDir' | 'durability' | 'host' | 'port' | 'workers' | 'flushIntervalMs'>
  /** Addresses of collectors elsewhere. */
  readonly collectors: readonly string[]
  /** Beyond FLUSH_INTERVAL_MS. */
  readonly waitMs: number
}

export type UnflushedProblem = Problem<'no_log' | 'not_flushed' | 'collector_unavailable'>

const POLL_MS = 50
const ANSWER_WITHIN_MS = 5_000

/** Waits until all that was accepted before this call is in ClickHouse: which segments of a log those are in is read before it returns. */
export async function untilFlushed(unflushed: Unflushed): Promise<UnflushedProblem | undefined> {
  const { config, collectors, waitMs } = unflushed
  const startedAt = performance.now()
  const deadline = startedAt + config.flushIntervalMs + waitMs
  const logs = logDirectories(config.dataDir)
  if (logs.length === 0 && collectors.length === 0 && config.durability === 'fsync')
    return problem(
      'no_log',
      `there is no log in ${config.dataDir} (DATA_DIR), so nobody knows what is on its way to ClickHouse: run this where a collector runs, or name the collectors with --collector`,
    )
  const waits = [
    ...logs.map((directory) => untilLogFlushed(directory, deadline)),
    ...(config.durability === 'memory'
      ? [untilCollectorFlushed(httpAddress(config.host, config.port), config.workers, startedAt, deadline)]
      : []),
    ...collectors.map((address) => untilCollectorFlushed(address, undefined, startedAt, deadline)),
  ]
  return (await Promise.all(waits)).find((failure) => failure !== undefined)
}

/** The logs of all workers that ran on the data directory. Throws the file system's error. */
export function logDirectories(dataDir: string): string[] {
  return namesIn(dataDir)
    .filter((name) => /^log(-\d+)?$/.test(name))
    .map((name) => join(dataDir, name))
}

/** Names in a directory; none when there is no directory. Throws the file system's error. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return []
    throw error
  }
}

async function untilLogFlushed(directory: string, deadline: number): Promise<UnflushedProblem | undefined> {
  const last = Math.max(-1, ...segmentsIn(directory))
  for (;;) {
    const waiting = segmentsIn(directory).filter((number) => number <= last)
    if (waiting.length === 0) break
    if (performance.now() > deadline)
      return problem(
        'not_flushed',
        `${waiting.length} segments in ${directory} do not reach ClickHouse: start the collector, or see in its log what keeps it from storing them, and run this again`,
      )
    await sleep(POLL_MS)
  }
  await realFileSystem.syncDirectory(directory)
  return undefined
}

/** Numbers of the segments that are not stored. */
function segmentsIn(directory: string): number[] {
  const segments = namesIn(directory).flatMap((name) => parseSegmentFileName(name) ?? [])
  return segments.filter(({ state }) => state !== 'spare').map(({ number }) => number)
}

/** Every worker on the port has to say so; the kernel decides which one answers. */
async function untilCollectorFlushed(
  address: string,
  workers: number | undefined,
  startedAt: number,
  deadline: number,
): Promise<UnflushedProblem | undefined> {
  const flushed = new Set<number>()
  for (;;) {
    const askedAfterMs = performance.now() - startedAt
    const stats = await askStats(address)
    if (stats === undefined)
      return problem('collector_unavailable', `the collector at ${address} does not answer at /stats`)
    if (stats.worker !== undefined && workers === undefined)
      return problem('collector_unavailable', `the collector at ${address} has several workers: run this where it runs`)
    // The oldest event is newer than this wait. The age is in whole milliseconds.
    if (stats.oldestAgeMs < askedAfterMs - 1) flushed.add(stats.worker ?? 0)
    if (flushed.size >= (workers ?? 1)) return undefined
    if (performance.now() > deadline)
      return problem('not_flushed', `events in the collector at ${address} do not reach ClickHouse: see its log`)
    await sleep(POLL_MS)
  }
}

async function askStats(address: string): Promise<{ worker?: number; oldestAgeMs: number } | undefined> {
  try {
    const response = await fetch(`${address}/stats`, {
      headers: { connection: 'close' },
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    })
    const stats: unknown = await response.json()
    const buffer = isObject(stats) ? stats.buffer : undefined
    if (!isObject(stats) || !isObject(buffer) || typeof buffer.oldest_unflushed_age_ms !== 'number') return undefined
    const worker = typeof stats.worker === 'number' ? { worker: stats.worker } : {}
    return { ...worker, oldestAgeMs: buffer.oldest_unflushed_age_ms }
  } catch {
    return undefined
  }
}
