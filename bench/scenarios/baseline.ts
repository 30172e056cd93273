import { runLoad } from '../load/generator.ts'
import { CountMismatch, verifyCounts } from '../measure/counts.ts'
import { figuresOf } from '../measure/load.ts'
import type { Bench, Figures, Row, Scenario } from '../scenario.ts'
import { type ClickHouse, migrateDatabase, startOwnClickHouse, waitFor } from '../system/clickhouse.ts'
import { cpuUs } from '../system/processes.ts'
import { EventSource, toRow } from '../workload/events.ts'
import { BATCHES } from '../workload/penstock-requests.ts'
import { Random } from '../workload/random.ts'
import { type RequestFile, writeRequests } from '../workload/requests.ts'
import { BATCH_CONNECTIONS, BATCH_EVENTS } from './batch.ts'

/** As many inserts side by side as Penstock gets requests. */
const CONNECTIONS = BATCH_CONNECTIONS
const MERGED_WITHIN_MS = 180_000

interface Variant {
  readonly label: string
  readonly hasViews: boolean
  readonly hasSync: boolean
  readonly isAsync: boolean
  readonly isInShort: boolean
}

const VARIANTS: readonly Variant[] = [
  { label: 'inserts, with views', hasViews: true, hasSync: true, isAsync: false, isInShort: true },
  { label: 'async_insert, with views', hasViews: true, hasSync: true, isAsync: true, isInShort: false },
  { label: 'inserts, no views', hasViews: false, hasSync: true, isAsync: false, isInShort: false },
  { label: 'inserts, no views, no fsync', hasViews: false, hasSync: false, isAsync: false, isInShort: false },
]

/** What Penstock is compared with: the same events posted straight to ClickHouse as JSONEachRow. */
export const baseline: Scenario = {
  name: 'baseline',
  title: `the same events straight to the embedded ClickHouse as JSONEachRow, ${BATCH_EVENTS} an insert, ${CONNECTIONS} connections`,
  isInShort: true,
  async run(bench) {
    const rows: Row[] = []
    const notes = [
      'the embedded ClickHouse runs async_insert synchronously: the row is a check, not what a server with a queue does',
      'deduplication is off in the baseline, because its prebuilt bodies repeat',
    ]
    for (const variant of VARIANTS) {
      if (bench.isShort && !variant.isInShort) continue
      bench.say(variant.label)
      rows.push({ label: variant.label, figures: await measureVariant(bench, variant, notes) })
    }
    return { rows, notes }
  },
}

async function measureVariant(bench: Bench, variant: Variant, notes: string[]): Promise<Figures> {
  const { resources } = bench
  const { clickhouse } = await startOwnClickHouse(resources)
  await migrateDatabase(clickhouse)
  if (!variant.hasViews) await clickhouse.query('DROP VIEW events_per_minute_view SYNC')
  if (!variant.hasSync)
    await clickhouse.query('ALTER TABLE events MODIFY SETTING fsync_after_insert = 0, fsync_part_directory = 0')
  const requests = writeInserts(resources.directory('inserts'), clickhouse, variant.isAsync)

  const before = cpuUs(clickhouse.pid)
  const load = await runLoad({
    resources,
    url: clickhouse.url,
    requests,
    connections: CONNECTIONS,
    seconds: bench.seconds,
  })
  // A request that the generator left behind may still be inserted.
  let last = -1
  const stored = await waitFor('the end of the inserts', 30_000, async () => {
    const events = await clickhouse.storedEvents()
    if (
      events === last &&
      (await clickhouse.number("SELECT count() FROM system.processes WHERE query_kind = 'Insert'")) === 0
    )
      return events
    last = events
    return undefined
  })
  const storedMs = load.durationMs + Math.max(0, performance.now() - load.endedAt)
  const least = (load.requests - load.refused) * BATCH_EVENTS
  if (stored < least || stored > least + CONNECTIONS * BATCH_EVENTS || load.broken > 0)
    throw new CountMismatch(
      `inserts of ${least} events were confirmed, ${stored} are stored, ${load.broken} connections broke`,
    )
  if (load.refused > 0)
    notes.push(`${variant.label}: ${load.refused} of ${load.requests} inserts were refused (too many parts)`)
  if (!bench.isShort && !(await clickhouse.mergesIdle(MERGED_WITHIN_MS)))
    notes.push(`${variant.label}: merges had not ended, the CPU of ClickHouse is too low`)
  if (variant.hasViews) await verifyCounts(clickhouse, stored)
  return {
    ...figuresOf(load, { connections: CONNECTIONS }),
    events: stored,
    endToEndEventsPerSecond: (stored * 1000) / storedMs,
    acknowledgedEventsPerSecond: (least * 1000) / load.durationMs,
    clickhouseCpuUs: (cpuUs(clickhouse.pid) - before) / stored,
  }
}

function writeInserts(directory: string, clickhouse: ClickHouse, isAsync: boolean): RequestFile {
  const now = Date.now()
  const source = new EventSource({ seed: 1, now })
  const random = new Random(2)
  const parameters = new URLSearchParams({
    query: 'INSERT INTO events FORMAT JSONEachRow',
    database: clickhouse.database,
    async_insert: isAsync ? '1' : '0',
    wait_for_async_insert: '1',
    insert_deduplicate: '0',
    async_insert_deduplicate: '0',
    deduplicate_insert: 'disable',
    deduplicate_blocks_in_dependent_materialized_views: '0',
  })
  return writeRequests({
    directory,
    name: 'inserts',
    requests: BATCHES,
    eventsPerRequest: BATCH_EVENTS,
    host: new URL(clickhouse.url).host,
    make: () => ({
      target: `/?${parameters}`,
      headers: {},
      body: Array.from(
        { length: BATCH_EVENTS },
        () => `${JSON.stringify(toRow(source.event(), { random, now }))}\n`,
      ).join(''),
    }),
  })
}
