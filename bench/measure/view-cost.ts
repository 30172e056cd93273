/**
 * What each materialized view costs ClickHouse, in CPU per event. The same blocks are inserted into databases of one engine that differ in
 * their views alone; the merges of `events` are stopped, since they are the same in all, and so are those of the views' tables until everything
 * is in. Then each of those tables is merged once, into one part. Natural merges are a few such steps for most rows, and none for the last.
 */
import { insertNative } from '../../src/sink/insert.ts'
import { type ClickHouse, migrateDatabase } from '../system/clickhouse.ts'
import { cpuUs } from '../system/processes.ts'
import type { BlockBody } from '../workload/blocks.ts'

/** CPU of ClickHouse in µs per event. */
export interface ViewCost {
  readonly events: number
  /** The inserts, with what they do in the views. */
  readonly insertCpuUs: number
  /** One merge of everything that the views wrote. */
  readonly mergeCpuUs: number
}

/** A materialized view and the table it fills. */
export interface FilledTable {
  readonly view: string
  readonly table: string
  /** What the view reads. */
  readonly source: string
}

/** The materialized views of a database, by their definitions: `<table>_view` fills `<table>`. */
export async function filledTables(clickhouse: ClickHouse): Promise<readonly FilledTable[]> {
  const text = await clickhouse.query(
    `SELECT name, replaceRegexpOne(name, '_view$', ''), extract(as_select, 'FROM \\\\w+\\\\.(\\\\w+)')
     FROM system.tables WHERE database = currentDatabase() AND engine = 'MaterializedView' ORDER BY name FORMAT TSV`,
  )
  return text.split('\n').map((line) => {
    const [view = '', table = '', source = ''] = line.split('\t')
    return { view, table, source }
  })
}

/** Inserts `bodies` into a new database that has only those views that `isKept` says. */
export async function measureViews(
  engine: ClickHouse,
  bodies: readonly BlockBody[],
  isKept: (filled: FilledTable) => boolean,
): Promise<ViewCost> {
  const clickhouse = engine.with('view_cost')
  await engine.with('system').query(`DROP DATABASE IF EXISTS ${clickhouse.database} SYNC`)
  await migrateDatabase(clickhouse)
  const all = await filledTables(clickhouse)
  for (const { view } of all.filter((filled) => !isKept(filled))) await clickhouse.query(`DROP VIEW ${view} SYNC`)
  for (const table of ['events', ...all.map(({ table }) => table)])
    await clickhouse.query(`SYSTEM STOP MERGES ${table}`)

  const target = { url: clickhouse.url, user: 'default', password: '', database: clickhouse.database }
  let events = 0
  const before = cpuUs(clickhouse.pid)
  for (const [index, { bytes, rows }] of bodies.entries()) {
    const { outcome, ...rest } = await insertNative(target, {
      body: [bytes],
      bodyBytes: bytes.length,
      token: `${crypto.randomUUID()}/${index}`,
    })
    if (outcome !== 'inserted') throw new Error(`an insert failed: ${JSON.stringify(rest)}`)
    events += rows
  }
  const inserted = cpuUs(clickhouse.pid)
  for (const { table } of all.filter(isKept)) {
    await clickhouse.query(`SYSTEM START MERGES ${table}`)
    await clickhouse.query(`OPTIMIZE TABLE ${table} FINAL`)
  }
  const merged = cpuUs(clickhouse.pid)
  await engine.with('system').query(`DROP DATABASE ${clickhouse.database} SYNC`)
  return { events, insertCpuUs: (inserted - before) / events, mergeCpuUs: (merged - inserted) / events }
}
