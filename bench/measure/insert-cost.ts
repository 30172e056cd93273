/**
 * What an insert costs ClickHouse, in three parts: the same bytes are inserted into three databases of one engine, one after the other.
 * 1. merges stopped and the views dropped: the insert itself; 2. merges stopped, with the views; 3. with views and merges, until
 * no merge runs any more: either those that ClickHouse starts by itself, which leave several parts as they are and are not quite the same
 * ones every time; or, for comparisons, one merge of everything.
 */
import { insertNative } from '../../src/sink/insert.ts'
import type { Figures } from '../scenario.ts'
import { type ClickHouse, migrateDatabase } from '../system/clickhouse.ts'
import { cpuUs } from '../system/processes.ts'
import { verifyCounts } from './counts.ts'
import { type RecordedInsert, recordedInserts } from './segments.ts'
import { filledTables } from './view-cost.ts'

type Mode = 'insert' | 'views' | 'merges'

export interface InsertCostOptions {
  /** Data directory of a stopped Penstock with a log. */
  readonly dataDir: string
  readonly clickhouse: ClickHouse
  readonly mergesDeadlineMs: number
  /** Merge everything once, so that two replays can be compared. */
  readonly hasForcedMerge?: boolean
}

/** CPU of ClickHouse in µs per event; each figure includes the ones before it. */
export async function measureInsertCost(options: InsertCostOptions): Promise<Figures & { readonly isMerged: boolean }> {
  await replay(options, 'insert', 1) // warm-up
  const insert = await replay(options, 'insert')
  const views = await replay(options, 'views')
  const merges = await replay(options, 'merges')
  return {
    events: merges.rows,
    insertCpuUs: insert.cpuUs / insert.rows,
    viewsCpuUs: views.cpuUs / views.rows,
    clickhouseCpuUs: merges.cpuUs / merges.rows,
    isMerged: merges.isMerged,
  }
}

async function replay(options: InsertCostOptions, mode: Mode, segmentsMax = Number.POSITIVE_INFINITY) {
  const clickhouse = options.clickhouse.with(`cost_${mode}`)
  await clickhouse.with('system').query(`DROP DATABASE IF EXISTS ${clickhouse.database} SYNC`)
  await migrateDatabase(clickhouse)
  const filled = await filledTables(clickhouse)
  if (mode === 'insert') for (const { view } of filled) await clickhouse.query(`DROP VIEW ${view} SYNC`)
  const hasForcedMerge = mode === 'merges' && options.hasForcedMerge === true
  await clickhouse.query(mode === 'merges' && !hasForcedMerge ? 'SYSTEM START MERGES' : 'SYSTEM STOP MERGES')

  const before = cpuUs(clickhouse.pid)
  let rows = 0
  let segments = 0
  for (const recorded of recordedInserts(options.dataDir)) {
    if (segments++ >= segmentsMax) break
    await insert(clickhouse, recorded)
    rows += recorded.rows
  }
  if (hasForcedMerge) {
    await clickhouse.query('SYSTEM START MERGES')
    for (const table of ['events', ...filled.map(({ table }) => table)])
      await clickhouse.query(`OPTIMIZE TABLE ${table} FINAL`)
  }
  const isMerged = mode !== 'merges' || (await clickhouse.mergesIdle(options.mergesDeadlineMs))
  const spentUs = cpuUs(clickhouse.pid) - before

  if (mode !== 'insert') await verifyCounts(clickhouse, rows)
  await clickhouse.with('system').query(`DROP DATABASE ${clickhouse.database} SYNC`)
  return { rows, cpuUs: spentUs, isMerged }
}

async function insert(clickhouse: ClickHouse, recorded: RecordedInsert): Promise<void> {
  const target = { url: clickhouse.url, user: 'default', password: '', database: clickhouse.database }
  const { outcome, ...rest } = await insertNative(target, recorded)
  if (outcome !== 'inserted') throw new Error(`an insert failed: ${JSON.stringify(rest)}`)
}
