/** What Penstock wants to reach, checked against what was measured in the same run. */
import { READS_AGGREGATES } from '../measure/query-times.ts'
import type { Figures, Row } from '../scenario.ts'

/** Rows by the name of their scenario. */
export type Measurements = ReadonlyMap<string, readonly Row[]>

export interface Target {
  readonly name: string
  /** At most, or at least? */
  readonly isMost: boolean
  readonly limit: number
  /** Better than the limit, wanted but not asked for. */
  readonly aim?: number
  /** The figure; undefined when its scenarios did not run. */
  measured(measurements: Measurements): number | undefined
}

export interface Mark {
  readonly target: Target
  readonly value: number
  readonly isMet: boolean
}

const VIEWS = 'with views'

const TARGETS: readonly Target[] = [
  atLeast('100 a request: events/s end to end', 230_000, figure('batch', 'endToEndEventsPerSecond'), 350_000),
  atLeast('100 a request: times the fastest baseline with views', 10, (measurements) => {
    const measured = figure('batch', 'endToEndEventsPerSecond')(measurements)
    const rows = (measurements.get('baseline') ?? []).filter((row) => row.label.includes(VIEWS))
    return measured === undefined || rows.length === 0 ? undefined : measured / largest(rows, 'endToEndEventsPerSecond')
  }),
  atLeast('1 a request: requests/s', 50_000, figure('single', 'requestsPerSecond', 'full')),
  atMost('1 a request: p99 in ms at full load', 20, figure('single', 'p99Ms', 'full')),
  atMost('1 a request: p99 in ms at half load', 5, figure('single', 'p99Ms', 'half')),
  atMost('100 a request: CPU of Penstock, µs an event', 2.5, figure('batch', 'penstockCpuUs')),
  atMost('insert itself: CPU of ClickHouse, µs an event', 0.8, figure('insert-cost', 'insertCpuUs', '100')),
  atMost(
    'with views and merges, replayed: CPU of ClickHouse, µs an event',
    4,
    figure('insert-cost', 'clickhouseCpuUs', '100'),
  ),
  atMost('with views and merges, under load: CPU of ClickHouse, µs an event', 4, figure('batch', 'clickhouseCpuUs')),
  atLeast('100 a request, ids, deduplication, limits: times the rate without', 0.9, guardedRate(100)),
  atLeast('1 a request, ids, deduplication, limits: times the rate without', 0.9, guardedRate(1)),
  atMost('peak RSS of Penstock in MiB, all scenarios', 200, (measurements) => {
    const rows = [...measurements.values()].flat().filter((row) => row.figures.peakRssMiB !== undefined)
    return rows.length === 0 ? undefined : largest(rows, 'peakRssMiB')
  }),
  atMost('outage: growth of RSS in MiB, last third on second third', 10, figure('outage', 'rssGrowthMiB')),
  atMost('start to first 201 in ms, empty directory', 2_000, figure('start', 'firstAcceptMs', 'empty')),
  atMost('start to first 201 in ms, with data', 2_000, figure('start', 'firstAcceptMs', 'with data')),
  atMost('start to first 201 in ms, with a backlog', 2_000, figure('restart', 'firstAcceptMs')),
  atLeast('recovery after a restart, events/s', 300_000, figure('restart', 'recoveryEventsPerSecond')),
  atMost('1,000 tenants: CPU of Penstock, times that of 1', 1.5, figure('tenants', 'penstockCpuRatio', 'ratio')),
  atMost('1,000 tenants: CPU of ClickHouse, times that of 1', 1.5, figure('tenants', 'clickhouseCpuRatio', 'ratio')),
  atMost(
    'beside a tenant at 10 times its limit: p99, times that alone',
    2,
    figure('neighbours', 'p99Ratio', '× beside 10'),
  ),
  atMost(
    'beside a limited tenant at full speed: p99, times that alone',
    2,
    figure('neighbours', 'p99Ratio', '× beside a limited'),
  ),
  atMost('300 keys: CPU of Penstock, times that of 5', 1.5, figure('keys', 'penstockCpuRatio', 'ratio')),
  atMost('300 keys: CPU of ClickHouse, times that of 5', 1.5, figure('keys', 'clickhouseCpuRatio', 'ratio')),
  atMost('queries that read aggregates: slowest p95 in ms', 1_000, slowest(`[${READS_AGGREGATES}]`)),
  atMost('journeys: slowest p95 in ms', 50, slowest('journey, ')),
  atMost('queries that failed', 0, figure('queries', 'failures', 'all')),
]

/** Every target whose scenarios ran. */
export function checkTargets(measurements: Measurements): Mark[] {
  return TARGETS.flatMap((target) => {
    const value = target.measured(measurements)
    if (value === undefined) return []
    return [{ target, value, isMet: target.isMost ? value <= target.limit : value >= target.limit }]
  })
}

function atLeast(name: string, limit: number, measured: Target['measured'], aim?: number): Target {
  return { name, isMost: false, limit, measured, ...(aim === undefined ? {} : { aim }) }
}

function atMost(name: string, limit: number, measured: Target['measured']): Target {
  return { name, isMost: true, limit, measured }
}

/** A figure of the scenario's row whose label begins so. */
function figure(scenario: string, name: keyof Figures, label = ''): Target['measured'] {
  return (measurements) => measurements.get(scenario)?.find((row) => row.label.startsWith(label))?.figures[name]
}

/** p95 of the queries whose label has this text. */
function slowest(text: string): Target['measured'] {
  return (measurements) => {
    const rows = (measurements.get('queries') ?? []).filter(({ label }) => label.includes(text))
    return rows.length === 0 ? undefined : largest(rows, 'p95Ms')
  }
}

function guardedRate(eventsPerRequest: number): Target['measured'] {
  return figure('ids', 'rateRatio', `× ${eventsPerRequest} a request: ids, deduplicated`)
}

function largest(rows: readonly Row[], name: keyof Figures): number {
  return Math.max(...rows.map((row) => row.figures[name] ?? 0))
}
