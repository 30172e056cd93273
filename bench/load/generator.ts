/** Sends prebuilt requests with wrk, or with the generator written in Bun where wrk is not installed. */
import { spawn } from 'node:child_process'
import { cpus } from 'node:os'
import { join } from 'node:path'
import type { Resources } from '../system/resources.ts'
import type { RequestFile } from '../workload/requests.ts'
import { type LoadResult, parseLoad } from './result.ts'

export interface LoadOptions {
  readonly resources: Resources
  /** Scheme, host and port; the requests say the rest. */
  readonly url: string
  readonly requests: RequestFile
  readonly connections: number
  /** Whole seconds: wrk knows no others. */
  readonly seconds: number
  /** Requests per second; without it every connection sends as soon as it has its answer. */
  readonly requestsPerSecond?: number
  /** Sends every request twice, the copy COPY_DISTANCE requests after the original. Wants numbered requests. */
  readonly hasCopies?: boolean
}

/** Far enough that the original was answered before, near enough that a load of one second has many. */
const COPY_DISTANCE = 256

/** A request that waits longer than this counts as broken. */
const PATIENCE_SECONDS = 10
/** One thread of wrk sends 100,000 requests a second; a second one would only take a core from what is measured. */
const THREADS = cpus().length >= 8 ? 2 : 1

/** Numbers of passes that one thread may use; 8 hexadecimal digits are enough for 4,096 loads of one thread. */
const PASSES = 2 ** 20

/** Loads so far: no two use the same numbers. */
let loads = 0

const wrk = Bun.which('wrk')

/** Which generator runs here, for the report. */
export const GENERATOR =
  wrk === null
    ? 'a generator in Bun, because wrk is not installed (Debian: apt install wrk): it takes more CPU from what is measured'
    : `wrk, ${THREADS} thread${THREADS === 1 ? '' : 's'}`

/** Sends requests for the given time; resolves when the generator has ended. */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const { url, requests, connections, seconds } = options
  const rate = String(options.requestsPerSecond ?? 0)
  const firstPass = String(PASSES * THREADS * loads++)
  const copyDistance = String(options.hasCopies === true ? COPY_DISTANCE : 0)
  const output =
    wrk === null
      ? await run(options.resources, process.execPath, [
          join(import.meta.dir, 'bun-load.ts'),
          url,
          requests.path,
          rate,
          String(connections),
          String(seconds),
          firstPass,
          copyDistance,
        ])
      : await run(options.resources, wrk, [
          `--threads=${THREADS}`,
          `--connections=${connections}`,
          `--duration=${seconds}s`,
          `--timeout=${PATIENCE_SECONDS}s`,
          `--script=${join(import.meta.dir, 'replay.lua')}`,
          url,
          '--',
          requests.path,
          rate,
          String(THREADS),
          firstPass,
          copyDistance,
        ])
  return parseLoad(output, wrk === null ? 'bun' : 'wrk', performance.now())
}

/** How many of so many requests sent are copies; one more or less in every thread. */
export function copiesAmong(requests: number): number {
  return Math.max(0, (requests - THREADS * COPY_DISTANCE) / 2)
}

/** Runs a program to its end and gives what it wrote. Throws when it failed. */
export async function run(
  resources: Resources,
  program: string,
  words: readonly string[],
  env?: Readonly<Record<string, string>>,
): Promise<string> {
  const options = {
    stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'],
    ...(env === undefined ? {} : { env }),
  }
  const child = resources.track(spawn(program, words, options))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += String(chunk)))
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve))
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${output.trim()}`)
  return output
}
