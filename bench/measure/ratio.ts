/** Two loads that differ in one thing: what an event costs more in the second. */
import type { Bench, Figures, Row } from '../scenario.ts'
import { startOwnClickHouse } from '../system/clickhouse.ts'
import { startPenstock } from '../system/penstock.ts'
import type { FlatKeys } from '../workload/events.ts'
import { writeEventRequests } from '../workload/penstock-requests.ts'
import { fillLog } from './backlog.ts'
import { measureInsertCost } from './insert-cost.ts'
import { measureLoad, warmUp } from './load.ts'

/** One of the two. */
export interface Side {
  readonly label: string
  /** Makes the keys that take turns in the requests. */
  readonly keys: (dataDir: string) => Promise<readonly string[]>
  readonly flatKeys?: FlatKeys
}

export interface Comparison {
  readonly connections: number
  readonly eventsPerRequest: number
  readonly requests: number
}

/** Measures both, each on a Penstock of its own and by replaying what it would insert, and their ratio. */
export async function compare(bench: Bench, plan: Comparison, sides: readonly [Side, Side]): Promise<Row[]> {
  const rows: Row[] = []
  for (const side of sides) {
    bench.say(side.label)
    rows.push({
      label: side.label,
      figures: { ...(await measureSide(bench, plan, side)), ...(await replaySide(bench, plan, side)) },
    })
  }
  const [one, other] = rows
  const ratio = (figure: keyof Figures) => (other?.figures[figure] ?? 0) / (one?.figures[figure] ?? 0)
  rows.push({
    label: 'ratio',
    figures: { penstockCpuRatio: ratio('penstockCpuUs'), clickhouseCpuRatio: ratio('clickhouseCpuUs') },
  })
  return rows
}

async function measureSide(bench: Bench, plan: Comparison, side: Side): Promise<Figures> {
  const { resources } = bench
  const dataDir = resources.directory('data')
  const keys = await side.keys(dataDir)
  const penstock = await startPenstock({ resources, dataDir })
  const directory = resources.directory('requests')
  const requests = writeEventRequests({ directory, host: penstock.host, ...plan, ...side, keys })
  const load = { requests, connections: plan.connections, seconds: bench.seconds }
  await warmUp(bench, penstock, load)
  const { figures } = await measureLoad(bench, penstock, load)
  await penstock.stop()
  return figures
}

/** ClickHouse alone with the same bytes: its CPU does not depend on what else ran on the machine meanwhile. */
async function replaySide(bench: Bench, plan: Comparison, side: Side): Promise<Figures> {
  const { penstock, dataDir } = await fillLog(bench, { ...plan, ...side, seconds: Math.min(5, bench.seconds) })
  await penstock.stop()
  const { clickhouse } = await startOwnClickHouse(bench.resources)
  const {
    insertCpuUs = 0,
    viewsCpuUs = 0,
    clickhouseCpuUs = 0,
  } = await measureInsertCost({ dataDir, clickhouse, mergesDeadlineMs: 180_000, hasForcedMerge: true })
  return { insertCpuUs, viewsCpuUs, clickhouseCpuUs }
}
