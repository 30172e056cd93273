/** CPU and memory of a process, from /proc (Linux). */
import { readdirSync, readFileSync } from 'node:fs'

/** Ticks of /proc/<pid>/stat in a second: USER_HZ, which is 100 on every Linux. */
const TICKS_PER_SECOND = 100

/** CPU that the process has taken so far, user and system, all threads, in µs (steps of 10,000). */
export function cpuUs(pid: number): number {
  return parseCpuUs(readFileSync(`/proc/${pid}/stat`, 'utf8'))
}

/** Reads a line of /proc/<pid>/stat. The name in brackets may hold spaces and brackets. */
export function parseCpuUs(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = Number(fields[11]) + Number(fields[12]) // utime, stime
  if (!Number.isFinite(ticks)) throw new Error(`not a line of /proc/<pid>/stat: ${stat}`)
  return (ticks * 1_000_000) / TICKS_PER_SECOND
}

export interface Memory {
  readonly rssBytes: number
  /** The most it ever was, as the kernel noted it. */
  readonly peakRssBytes: number
}

export function memory(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kibibytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0)
  return { rssBytes: kibibytes('VmRSS') * 1024, peakRssBytes: kibibytes('VmHWM') * 1024 }
}

/** The children of a process. */
export function childrenOf(pid: number): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.map(Number).filter((candidate) => parentOf(candidate) === pid)
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined // it has ended
  }
}
