/**
 * Keeps the garbage of requests small. The engine lets its heap grow in proportion to what is alive, and less so the closer that comes to
 * the machine's memory; every body leaves garbage of twice its size. On a large machine that is hundreds of megabytes before it
 * collects. Told that the machine is small, it collects earlier. Peak RSS and CPU an event at full load, 100 events a request: untold 320 MB
 * and 3.6 µs, told 512 MiB 260 MB and 3.3 µs (with the ring of 16 MiB: 190 MB), told 128 MiB 165 MB and 4.2 µs.
 *
 * The engine reads this once, before any code runs: so the process starts itself again, under the same pid, with the variable set.
 */
import { environment } from './config.ts'

const VARIABLE = 'BUN_JSC_forceRAMSize'
const BYTES = 512 * 1024 * 1024

/** Call before anything is opened. Does nothing when the variable is set, or where a process cannot replace itself. */
export function boundHeap(): void {
  const inherited = environment()
  if (inherited[VARIABLE] !== undefined || process.execve === undefined) return
  process.execve(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
    ...inherited,
    ...heapBounds(),
  } as NodeJS.ProcessEnv)
}

/** The environment that bounds the heap of a process to be started. */
export function heapBounds(): Readonly<Record<string, string>> {
  return { [VARIABLE]: environment()[VARIABLE] ?? String(BYTES) }
}
