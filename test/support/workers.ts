/** The processes and logs of a collector with several workers. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Collector, CollectorHome } from './collector.ts'

/** A process of a collector: the supervisor, a worker, or the embedded ClickHouse. */
export interface CollectorProcess {
  readonly pid: number
  /** Its number, of a worker. */
  readonly worker: number | undefined
  readonly isDraining: boolean
}

/** All processes that run on a home, however they came to it: they inherit its DATA_DIR. */
export function processesOf(home: CollectorHome): CollectorProcess[] {
  const own = `DATA_DIR=${home.env.DATA_DIR}`
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && readProcess(name, 'environ').includes(own))
    .map((name) => {
      const words = readProcess(name, 'cmdline')
      const at = words.indexOf('--worker')
      const worker = at === -1 ? undefined : Number(words[at + 1])
      return { pid: Number(name), worker, isDraining: words.includes('--drain') }
    })
}

/** The process that is a worker now; undefined while there is none. */
export function workerPid(home: CollectorHome, worker: number): number | undefined {
  return processesOf(home).find((found) => found.worker === worker)?.pid
}

/** Names of the segments that wait in any log of a home, with their directories. */
export function segmentsOf(home: CollectorHome): string[] {
  const dataDir = home.env.DATA_DIR ?? ''
  if (!existsSync(dataDir)) return []
  const logs = readdirSync(dataDir).filter((name) => /^log(-\d+)?$/.test(name))
  const names = logs.flatMap((log) => readdirSync(join(dataDir, log)).map((name) => join(log, name)))
  return names.filter((name) => /\.(open|sealed)$/.test(name))
}

/** What `path` says when each of so many workers was asked, by number: a connection comes to whichever the kernel chooses. */
export async function askWorkers<Answer extends { readonly worker?: number }>(
  { url }: Collector,
  path: string,
  workers: number,
): Promise<Map<number, Answer>> {
  const answers = new Map<number, Answer>()
  for (let tries = 0; answers.size < workers; tries++) {
    if (tries > 200) throw new Error(`only workers ${[...answers.keys()]} answer`)
    const answer = (await (await fetch(url + path, { headers: { connection: 'close' } })).json()) as Answer
    if (answer.worker === undefined) throw new Error(`${path} does not say which worker answers`)
    answers.set(answer.worker, answer)
  }
  return answers
}

function readProcess(pid: string, what: 'environ' | 'cmdline'): string[] {
  try {
    return readFileSync(`/proc/${pid}/${what}`, 'latin1').split('\0')
  } catch {
    return [] // it has just ended, or is not ours
  }
}
