/** What is to be found when a fuzzing run is over: in ClickHouse, in the data directory, in the log, in memory. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Collector, type CollectorStats, waitUntil } from '../support/collector.ts'
import { UNCERTAIN } from './keys.ts'

export interface Memory {
  readonly rssBytes: number
  /** What the ids that are remembered take of it. */
  readonly idBytes: number
}

/** Parts of `/stats` that only this looks at. */
interface Stats extends CollectorStats {
  readonly events: CollectorStats['events'] & { readonly duplicates: number }
  readonly dedupe: { readonly bytes: number }
  readonly streams: { readonly connections: number }
}

/** Everything that counts events, and how. */
const SUMS = {
  events: 'count()',
  events_per_minute: 'sum(events)',
  events_per_hour: 'sum(events)',
  events_per_day: 'sum(events)',
  activity_per_day: 'sum(events)',
} as const

/** Of a client that has left answers unread it is only known after two pings that it is gone. */
const SOCKETS_LEFT_MS = 100_000
const MiB = 1024 * 1024
const SETTLING_MS = 5_000
/** How much memory the second half of a run may add, beside the ids: what the engine's heap breathes. */
const GROWTH_BYTES_MAX = 64 * MiB

async function statsOf(collector: Collector): Promise<Stats> {
  return (await collector.stats()) as Stats
}

/** Waits until everything is stored and nothing is held, and gives garbage its time when memory is to be measured. */
export async function settle(collector: Collector, isMeasured: boolean): Promise<Memory> {
  await waitUntil('no body is held', async () => (await collector.stats()).bodies_in_flight_bytes === 0)
  await collector.flushed()
  if (isMeasured) await Bun.sleep(SETTLING_MS)
  const { dedupe } = await statsOf(collector)
  return { rssBytes: collector.rssBytes(), idBytes: dedupe.bytes }
}

/** What memory has to say of a leak; undefined: nothing. */
export function growthProblem(halfway: Memory, end: Memory): string | undefined {
  const growthBytes = end.rssBytes - end.idBytes - (halfway.rssBytes - halfway.idBytes)
  if (growthBytes <= GROWTH_BYTES_MAX) return undefined
  return `memory grew by ${Math.round(growthBytes / MiB)} MiB in the second half`
}

/** Compares what is stored with what must be, by workspace; ends the collector. Gives everything that is not as it should be. */
export async function audit(collector: Collector, rows: Readonly<Record<string, number>>): Promise<string[]> {
  const problems: string[] = []
  const expect = (what: string, found: unknown, wanted: unknown) => {
    if (!Bun.deepEquals(found, wanted))
      problems.push(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`)
  }
  for (const [table, sum] of Object.entries(SUMS))
    expect(`rows in ${table}`, await countsOf(collector, table, sum), rows)
  const doubled = await collector.query('SELECT count() - uniqExact(tenant_id, workspace_id, event_id) FROM events')
  expect('rows with an id that another row has', Number(doubled), 0)
  const { events, log } = await statsOf(collector)
  const stored = Number(await collector.query('SELECT count() FROM events'))
  expect('rows, as the collector counts them', stored, events.accepted - events.duplicates)
  expect('what was refused or damaged', [log.refused_bytes, log.damaged_records, log.torn_tails], [0, 0, 0])
  await waitUntil(
    'no socket is left',
    async () => (await statsOf(collector)).streams.connections === 0,
    SOCKETS_LEFT_MS,
  )

  expect('exit code', await collector.stop(), 0)
  const names = readdirSync(join(collector.home.directory, 'data'), { recursive: true, encoding: 'utf8' })
  expect(
    'set aside',
    names.filter((name) => /\b(damaged|dead-letters)\/./.test(name)),
    [],
  )
  const lines = collector.lines.filter(({ level, msg }) => /error|fatal/.test(level) || msg.includes('bug'))
  expect('errors in the log', lines.slice(0, 5), [])
  expect('stderr', collector.stderr.slice(0, 1_000), '')
  return problems
}

/** Events by workspace, without the one of which nobody knows. */
async function countsOf(collector: Collector, table: string, sum: string): Promise<Record<string, number>> {
  const workspace = "concat(tenant_id, '/', workspace_id)"
  const sql = `SELECT ${workspace}, ${sum} FROM ${table} WHERE ${workspace} != '${UNCERTAIN}' GROUP BY 1 FORMAT TSV`
  const lines = (await collector.query(sql)).split('\n').filter(Boolean)
  return Object.fromEntries(lines.map((line) => line.split('\t')).map(([name, count]) => [name, Number(count)]))
}
