/**
 * Keeps the garbage of requests small. The engine lets its heap grow in proportion to what is alive, and less so the closer that comes to
 * the machine's memory; every body leaves garbage of twice its size. On a large machine that is hundreds of megabytes before it
 * collects. Told that the machine is small, it collects earlier. Peak RSS and CPU an event at full load, 100 events a request: untold 320 MB
 * and 3.6 µs, told 512 MiB 260 MB and 3.3 µs (with the ring of 16 MiB: 190 MB), told 128 MiB 165 MB and 4.2 µs.
 *
 * It also lets the heap grow by less before it collects again: 60 and 40 % of what is alive, not 100 and 50. What is alive counts twice
 * otherwise, the table of event ids too. Peak RSS without ids 198 MB and then 154, with an id in every event and a million of them
 * remembered 275 and then 203; CPU an event 2.5 and 2.6 µs, 3.1 and 3.0.
 *
 * Bun has all garbage collected once a second, which holds up requests for 7 to 15 ms: at half load every hundredth waited for that. It is to do
 * so every 3 seconds. p99 and peak RSS at half load, one event a request: 7.7 ms and 135 MiB with 1 s, 5.8 and 122 with 4 s, 5.3 and 151 with 30 s.
 *
 * The engine reads them once, before any code runs: so the process starts itself again, under the same pid, with the variables set.
 */
import { environment } from './config.ts'

const VARIABLES = {
  BUN_JSC_forceRAMSize: String(512 * 1024 * 1024),
  BUN_JSC_smallHeapGrowthFactor: '1.6',
  BUN_JSC_mediumHeapGrowthFactor: '1.4',
  BUN_GC_TIMER_INTERVAL: '3000',
} as const

/** Call before anything is opened. Does nothing when the variables are set, or where a process cannot replace itself. */
export function boundHeap(): void {
  const inherited = environment()
  const areSet = Object.keys(VARIABLES).every((name) => inherited[name] !== undefined)
  if (areSet || process.execve === undefined) return
  process.execve(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
    ...inherited,
    ...heapBounds(),
  } as NodeJS.ProcessEnv)
}

/** The environment that bounds the heap of a process to be started; what the operator has set stays. */
export function heapBounds(): Readonly<Record<string, string>> {
  const inherited = environment()
  return Object.fromEntries(Object.entries(VARIABLES).map(([name, value]) => [name, inherited[name] ?? value]))
}
