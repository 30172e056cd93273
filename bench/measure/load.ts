/** One load on one Penstock: figures from the first request until the last acknowledged event can be queried, and its exact count. */
import { runLoad } from '../load/generator.ts'
import type { LoadResult } from '../load/result.ts'
import type { Bench, Figures } from '../scenario.ts'
import { waitFor } from '../system/clickhouse.ts'
import type { Penstock } from '../system/penstock.ts'
import { cpuUs, memory } from '../system/processes.ts'
import type { RequestFile } from '../workload/requests.ts'
import { CountMismatch, verifyAnswers, verifyCounts } from './counts.ts'

const MiB = 1024 * 1024
const WARM_UP_SECONDS = 2
const FLUSHED_WITHIN_MS = 300_000
const MERGED_WITHIN_MS = 180_000

export interface LoadPlan {
  readonly requests: RequestFile
  readonly connections: number
  readonly seconds: number
  /** Without it as much as goes. */
  readonly requestsPerSecond?: number
  /** Sends every request twice; see `LoadOptions`. */
  readonly hasCopies?: boolean
}

/** A load that has ended, seen from outside. */
export interface EndedLoad {
  /** Events that Penstock acknowledged in it. */
  readonly events: number
  readonly durationMs: number
  /** `performance.now()` when the last answer was there. */
  readonly endedAt: number
}

export interface Measured {
  readonly figures: Figures
  readonly notes: readonly string[]
}

/** Runs the load and measures it. Throws `CountMismatch` when an event is lost, doubled or refused. */
export async function measureLoad(bench: Bench, penstock: Penstock, plan: LoadPlan): Promise<Measured> {
  let load: LoadResult | undefined
  const measured = await measure(bench, penstock, async () => {
    const before = await settledStats(penstock)
    load = await runLoad({ resources: bench.resources, url: penstock.url, ...plan })
    const after = await settledStats(penstock)
    const accepted = after.events.accepted - before.events.accepted
    const duplicates = after.events.duplicates - before.events.duplicates
    verifyAnswers({ ...plan, load, eventsPerRequest: plan.requests.eventsPerRequest, accepted, duplicates })
    return { events: accepted, durationMs: load.durationMs, endedAt: load.endedAt }
  })
  if (load === undefined) return measured
  const figures = { ...figuresOf(load, plan), ...measured.figures }
  if (plan.requestsPerSecond === undefined) return { ...measured, figures }
  const late = `${(load.lateShare * 100).toFixed(1)} % of the paced requests went out more than 5 ms late, which their latency leaves out`
  return { figures, notes: [...measured.notes, late] }
}

/** A load before the measured one: code is compiled, connections to ClickHouse were used. Counted, but not measured. */
export async function warmUp(bench: Bench, penstock: Penstock, plan: LoadPlan): Promise<void> {
  if (bench.isShort) return
  await runLoad({ resources: bench.resources, url: penstock.url, ...plan, seconds: WARM_UP_SECONDS })
  await flushed(penstock)
}

/** Measures any work that sends events to Penstock, and counts them. */
export async function measure(bench: Bench, penstock: Penstock, work: () => Promise<EndedLoad>): Promise<Measured> {
  const { clickhouse } = penstock
  const notes: string[] = []
  const before = { penstock: cpuUs(penstock.pid), clickhouse: cpuUs(clickhouse.pid) }
  const ended = await work()
  const visibleAt = await flushed(penstock)
  const penstockCpu = cpuUs(penstock.pid) - before.penstock
  const { events } = ended
  const endToEndMs = ended.durationMs + Math.max(0, visibleAt - ended.endedAt)

  const isMerged = bench.isShort || (await clickhouse.mergesIdle(MERGED_WITHIN_MS))
  if (!isMerged) notes.push('merges had not ended: the CPU of ClickHouse is too low')
  const clickhouseCpu = cpuUs(clickhouse.pid) - before.clickhouse
  const { buffer, events: counted } = await penstock.stats()
  await verifyCounts(clickhouse, counted.accepted - counted.duplicates)
  notes.push(
    ...penstock
      .complaints()
      .slice(0, 5)
      .map((line) => `Penstock: ${line}`),
  )
  return {
    notes,
    figures: {
      events,
      endToEndEventsPerSecond: (events * 1000) / endToEndMs,
      acknowledgedEventsPerSecond: (events * 1000) / ended.durationMs,
      penstockCpuUs: penstockCpu / events,
      clickhouseCpuUs: clickhouseCpu / events,
      peakRssMiB: memory(penstock.pid).peakRssBytes / MiB,
      ringMiB: buffer.ring_bytes / MiB,
    },
  }
}

/** What the generator says of a load. */
export function figuresOf(load: LoadResult, plan: Pick<LoadPlan, 'connections'>): Figures {
  return {
    connections: plan.connections,
    requestsPerSecond: (load.requests * 1000) / load.durationMs,
    p50Ms: load.p50Ms,
    p99Ms: load.p99Ms,
    p999Ms: load.p999Ms,
  }
}

/** Statistics once no request is under way any more: requests that a generator left behind may still be accepted. */
export async function settledStats(penstock: Penstock) {
  let last = -1
  return waitFor('the end of all requests', 30_000, async () => {
    const stats = await penstock.stats()
    const { accepted } = stats.events
    if (stats.bodies_in_flight_bytes === 0 && accepted === last) return stats
    last = accepted
    return undefined
  })
}

/**
 * Waits until every acknowledged event can be queried; gives the `performance.now()` of it.
 * @param before events that were stored, or were in the log, before this process of Penstock
 */
export async function flushed(penstock: Penstock, before = 0): Promise<number> {
  const { events } = await settledStats(penstock)
  const accepted = before + events.accepted - events.duplicates
  // Penstock is asked, not ClickHouse, whose CPU is being measured. It lets go of a segment when ClickHouse has confirmed the
  // insert with all its views; so the time is a few milliseconds late rather than early.
  await waitFor(`all ${accepted} acknowledged events in ClickHouse`, FLUSHED_WITHIN_MS, async () => {
    penstock.assertRunning()
    const { log } = await penstock.stats()
    const isEmpty = log.flushed_bytes >= log.written_bytes && log.segments_taken === 0 && log.segments_waiting === 0
    return isEmpty || undefined
  })
  const stored = await penstock.clickhouse.storedEvents()
  const visibleAt = performance.now()
  if (stored !== accepted)
    throw new CountMismatch(`the log is flushed, but of ${accepted} events a query finds ${stored}`)
  return visibleAt
}
