/**
 * Every metric: its name by OpenTelemetry's conventions, what it measures, in what unit and with which attributes. The instruments, the
 * names at `/metrics` and the table in docs/telemetry.md are made of it.
 */

/**
 * `counter`: only grows. `updown`: an amount, which can be added up over collectors. `gauge`: a state, which cannot. `histogram`: how
 * values are distributed.
 */
export type Kind = 'counter' | 'updown' | 'gauge' | 'histogram'

export interface Metric {
  readonly kind: Kind
  /** UCUM: https://opentelemetry.io/docs/specs/semconv/general/metrics/#instrument-units */
  readonly unit: string
  readonly attributes: readonly string[]
  readonly description: string
}

export const PROTOCOL = 'penstock.protocol'
export const ERROR_TYPE = 'error.type'
export const DEPENDENCY = 'penstock.dependency'

function metric(kind: Kind, unit: string, description: string, ...attributes: readonly string[]): Metric {
  return { kind, unit, description, attributes }
}

export const METRICS = {
  'penstock.events.received': metric(
    'counter',
    '{event}',
    'Events that were counted: accepted and rejected ones.',
    PROTOCOL,
  ),
  'penstock.events.accepted': metric(
    'counter',
    '{event}',
    'Events that are durable, copies of earlier ones included.',
    PROTOCOL,
  ),
  'penstock.events.duplicates': metric(
    'counter',
    '{event}',
    'Accepted events that were stored before and are not stored again.',
    PROTOCOL,
  ),
  'penstock.events.rejected': metric(
    'counter',
    '{event}',
    'Events that were refused: each by itself, or with its whole request; by reason.',
    PROTOCOL,
    ERROR_TYPE,
  ),
  'penstock.events.rate_limited': metric(
    'counter',
    '{event}',
    'Events of requests over the rate limit of their key; they are among the rejected.',
    PROTOCOL,
  ),
  'penstock.requests.refused': metric(
    'counter',
    '{request}',
    'Requests, and messages of streams, that were refused as a whole; by reason.',
    PROTOCOL,
    ERROR_TYPE,
  ),
  'penstock.rate_limit.hits': metric(
    'counter',
    '{request}',
    'Requests and messages over the rate limit of their key.',
    PROTOCOL,
  ),
  'penstock.request.bytes': metric('counter', 'By', 'Bodies and messages that were read, decompressed.', PROTOCOL),
  'penstock.stream.connections': metric('updown', '{connection}', 'Open WebSockets.'),
  'penstock.stream.slow_downs': metric('counter', '{message}', 'Times that a WebSocket was told to slow down.'),
  'http.server.request.duration': metric(
    'histogram',
    's',
    'From the first line of a request to its answer.',
    'http.request.method',
    'http.route',
    'http.response.status_code',
  ),
  'penstock.bodies.usage': metric('updown', 'By', 'Bodies and messages that are held in memory.'),
  'penstock.bodies.limit': metric('updown', 'By', 'IN_FLIGHT_BYTES_MAX: beyond it requests are refused.'),
  'penstock.commit.duration': metric('histogram', 's', 'Write and sync of one commit to the log.'),
  'penstock.commit.events': metric('histogram', '{event}', 'Events in one commit.'),
  'penstock.commits.refused': metric(
    'counter',
    '{commit}',
    'Commits that the log did not take; by reason.',
    ERROR_TYPE,
  ),
  'penstock.ring.usage': metric('updown', 'By', 'The newest end of the log that is held in memory.'),
  'penstock.ring.limit': metric('updown', 'By', 'RING_BYTES: what does not fit is read back from its file.'),
  'penstock.log.usage': metric('updown', 'By', 'Segment files on disk; with DURABILITY=memory, of the ring.'),
  'penstock.log.limit': metric('updown', 'By', 'WAL_MAX_BYTES: beyond it events are refused.'),
  'penstock.log.segments': metric(
    'updown',
    '{segment}',
    'Sealed segments: waiting for their turn, taken to be inserted, stuck because ClickHouse refuses them.',
    'state',
  ),
  'penstock.log.oldest_unflushed.age': metric(
    'gauge',
    's',
    'Age of the oldest events that are not in ClickHouse; 0 when there are none.',
  ),
  'penstock.log.damaged_records': metric('counter', '{record}', 'Damaged places of the log that were set aside.'),
  'penstock.flush.duration': metric('histogram', 's', 'One try of an insert into ClickHouse.', 'outcome'),
  'penstock.flush.batch.events': metric('histogram', '{event}', 'Events in one stored insert.'),
  'penstock.flush.batch.size': metric('histogram', 'By', 'Size of one stored insert.'),
  'penstock.flush.events': metric('counter', '{event}', 'Events that ClickHouse has confirmed.'),
  'penstock.flush.size': metric('counter', 'By', 'Bytes that ClickHouse has confirmed.'),
  'penstock.flush.retries': metric(
    'counter',
    '{insert}',
    'Inserts that were tried again; by the code of the failure.',
    ERROR_TYPE,
  ),
  'penstock.event.lag': metric(
    'histogram',
    's',
    'From acknowledged until queryable: of the oldest event of each segment.',
  ),
  'penstock.dead_letters.events': metric(
    'counter',
    '{event}',
    'Events that ClickHouse could not read and were set aside.',
  ),
  'penstock.dead_letters.files': metric('updown', '{file}', 'Dead letters that wait for somebody.'),
  'penstock.dedupe.ids': metric('updown', '{id}', 'Event ids that are remembered.'),
  'penstock.dedupe.ids.limit': metric('updown', '{id}', 'DEDUPE_IDS_MAX: beyond it the oldest are forgotten.'),
  'penstock.dependency.up': metric('gauge', '1', 'Whether a dependency answers: 1 or 0.', DEPENDENCY),
  'penstock.dependency.response.duration': metric('gauge', 's', 'How long its last answer took.', DEPENDENCY),
  'penstock.key.events': metric(
    'counter',
    '{event}',
    'Events by key, with METRICS_PER_KEY=true; at most 1,000 keys, the others are `other`.',
    'penstock.tenant',
    'penstock.workspace',
    'penstock.key',
    'outcome',
  ),
  'penstock.worker.up': metric(
    'gauge',
    '1',
    'With WORKERS: whether a worker has given its metrics, 1 or 0. Then every sample has this label.',
    'worker',
  ),
  'process.cpu.time': metric('counter', 's', 'Processor time of the process.', 'cpu.mode'),
  'process.memory.usage': metric('updown', 'By', 'Resident memory of the process.'),
  'process.uptime': metric('gauge', 's', 'Since the start of the process.'),
  'nodejs.eventloop.delay.p50': metric('gauge', 's', 'Delay of the event loop since the last scrape, median.'),
  'nodejs.eventloop.delay.p90': metric('gauge', 's', 'Delay of the event loop since the last scrape, 90th percentile.'),
  'nodejs.eventloop.delay.p99': metric('gauge', 's', 'Delay of the event loop since the last scrape, 99th percentile.'),
  'nodejs.eventloop.delay.max': metric('gauge', 's', 'Delay of the event loop since the last scrape, the longest.'),
  'nodejs.eventloop.utilization': metric(
    'gauge',
    '1',
    'Share of the time since the last scrape that the thread of the event loop spent on a processor.',
  ),
} as const satisfies Readonly<Record<string, Metric>>

export type MetricName = keyof typeof METRICS

/** Suffixes of Prometheus, by unit: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/ */
const SUFFIXES: Readonly<Record<string, string>> = { s: 'seconds', By: 'bytes' }

/** The name at `/metrics`, but for what the kind adds: `_total` to a counter, `_bucket`, `_sum` and `_count` to a histogram. */
export function nameWithUnit(name: string, unit: string, isRatio: boolean): string {
  const suffix = isRatio ? 'ratio' : SUFFIXES[unit]
  return suffix === undefined || name.endsWith(suffix) ? name : `${name}_${suffix}`
}

/** Whether a metric is a share of something. `penstock.dependency.up` has the same unit and is none. */
export function isRatio(name: string): boolean {
  return name.endsWith('utilization')
}

/** The name at `/metrics`, and the labels there. */
export function prometheusName(name: MetricName): { readonly name: string; readonly labels: readonly string[] } {
  const { kind, unit, attributes }: Metric = METRICS[name]
  const total = kind === 'counter' ? '_total' : ''
  const plain = (text: string) => text.replaceAll('.', '_')
  return { name: plain(nameWithUnit(name, unit, isRatio(name))) + total, labels: attributes.map(plain) }
}

/** The table of docs/telemetry.md. */
export function renderMetrics(): string {
  const rows = Object.entries<Metric>(METRICS).map(([name, { kind, unit, description }]) => {
    const shown = prometheusName(name as MetricName)
    const labels = shown.labels.map((label) => `\`${label}\``).join(', ')
    const type = kind === 'updown' ? 'gauge' : kind
    return `| \`${shown.name}\` | ${type} | ${labels} | ${description} | \`${name}\`, ${kind}, ${unit} |`
  })
  return ['| at `/metrics` | type | labels | what it tells | over OTLP |', '|---|---|---|---|---|', ...rows, ''].join(
    '\n',
  )
}
