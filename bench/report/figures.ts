/** What each figure is called in a table, and how it is written there. */
import type { Figures } from '../scenario.ts'

interface Column {
  /** Heading, with the unit. */
  readonly heading: string
  readonly decimals: number
}

/** In the order of the columns. */
export const COLUMNS: { readonly [Name in keyof Figures]-?: Column } = {
  connections: { heading: 'conns', decimals: 0 },
  events: { heading: 'events', decimals: 0 },
  endToEndEventsPerSecond: { heading: 'e2e ev/s', decimals: 0 },
  acknowledgedEventsPerSecond: { heading: 'ack ev/s', decimals: 0 },
  requestsPerSecond: { heading: 'req/s', decimals: 0 },
  p50Ms: { heading: 'p50 ms', decimals: 1 },
  p99Ms: { heading: 'p99 ms', decimals: 1 },
  p999Ms: { heading: 'p99.9 ms', decimals: 1 },
  penstockCpuUs: { heading: 'penstock µs/ev', decimals: 2 },
  insertCpuUs: { heading: 'insert µs/ev', decimals: 2 },
  viewsCpuUs: { heading: '+views µs/ev', decimals: 2 },
  clickhouseCpuUs: { heading: 'clickhouse µs/ev', decimals: 2 },
  insertAddedCpuUs: { heading: 'insert + µs/ev', decimals: 2 },
  mergeCpuUs: { heading: 'merge µs/ev', decimals: 2 },
  addedCpuUs: { heading: 'added µs/ev', decimals: 2 },
  peakRssMiB: { heading: 'peak RSS MiB', decimals: 0 },
  ringMiB: { heading: 'ring MiB', decimals: 0 },
  outageEventsPerSecond: { heading: 'ack ev/s away', decimals: 0 },
  rssAtOutageMiB: { heading: 'RSS away MiB', decimals: 0 },
  rssGrowthMiB: { heading: 'RSS growth MiB', decimals: 1 },
  backlogEvents: { heading: 'backlog', decimals: 0 },
  catchUpEventsPerSecond: { heading: 'catch-up ev/s', decimals: 0 },
  recoveryEventsPerSecond: { heading: 'recovery ev/s', decimals: 0 },
  firstAcceptMs: { heading: 'first 201 ms', decimals: 0 },
  firstQueryableMs: { heading: 'first row ms', decimals: 0 },
  redisCpuUs: { heading: 'redis µs/ev', decimals: 2 },
  p99AddedMs: { heading: 'p99 + ms', decimals: 1 },
  p99Ratio: { heading: 'p99 ×', decimals: 2 },
  connectionKiB: { heading: 'KiB/conn', decimals: 1 },
  slowDowns: { heading: 'slow_downs', decimals: 0 },
  rateRatio: { heading: 'e2e ×', decimals: 2 },
  acknowledgedRatio: { heading: 'ack ×', decimals: 2 },
  penstockCpuRatio: { heading: 'penstock ×', decimals: 2 },
  clickhouseCpuRatio: { heading: 'clickhouse ×', decimals: 2 },
  runs: { heading: 'runs', decimals: 0 },
  p95Ms: { heading: 'p95 ms', decimals: 1 },
  rowsRead: { heading: 'rows read', decimals: 0 },
  readMiB: { heading: 'read MiB', decimals: 1 },
  loadedEventsPerSecond: { heading: 'loaded ev/s', decimals: 0 },
  failures: { heading: 'failed', decimals: 0 },
}

/** A figure as text, with thousands separated; a dash when there is none. */
export function write(name: keyof Figures, value: number | undefined): string {
  if (value === undefined) return '–'
  const { decimals } = COLUMNS[name]
  return value.toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals })
}
