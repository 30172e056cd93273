/**
 * The configuration, read from the environment and checked against `config-variables.ts`.
 * This is the only file that reads the environment. An empty variable counts as unset.
 */
import type { TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { formatBytes, parseBytes } from './bytes.ts'
import { parseProxyTrust } from './client-address.ts'
import { type Reading, VARIABLES, type Variables } from './config-variables.ts'
import { type Otel, readOtel } from './otel-variables.ts'
import { type Problem, problem } from './problem.ts'

/** What the program runs with: frozen, checked, sizes in bytes and durations in milliseconds. */
export type Config = Readonly<ReturnType<typeof fields>>

/** The environment as the operating system hands it over. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The environment as it was inherited, for a process to be started. What is in it for Penstock is in the configuration. */
export function environment(): Environment {
  return process.env
}

function fields(values: Variables & { readonly otel: Otel }) {
  return {
    host: values.HOST,
    port: values.PORT,
    dataDir: values.DATA_DIR,
    clickhouse: Object.freeze({
      ...(values.CLICKHOUSE_URL === undefined ? {} : { url: values.CLICKHOUSE_URL }),
      user: values.CLICKHOUSE_USER,
      password: values.CLICKHOUSE_PASSWORD,
      database: values.CLICKHOUSE_DATABASE,
      ...(values.CLICKHOUSE_CLUSTER === undefined
        ? {}
        : { cluster: { name: values.CLICKHOUSE_CLUSTER, isReplicated: values.CLICKHOUSE_CLUSTER_REPLICATED } }),
    }),
    embedded: Object.freeze({
      httpPort: values.EMBEDDED_CLICKHOUSE_HTTP_PORT,
      tcpPort: values.EMBEDDED_CLICKHOUSE_TCP_PORT,
    }),
    durability: values.DURABILITY,
    flushIntervalMs: values.FLUSH_INTERVAL_MS,
    segmentBytes: values.SEGMENT_BYTES,
    ringBytes: values.RING_BYTES,
    logBytesMax: values.WAL_MAX_BYTES,
    batchEventsMax: values.BATCH_EVENTS_MAX,
    bodyBytesMax: values.BODY_BYTES_MAX,
    ndjsonBytesMax: values.NDJSON_BYTES_MAX,
    inFlightBytesMax: values.IN_FLIGHT_BYTES_MAX,
    streamsMax: values.STREAMS_MAX,
    eventsApiBatchMax: values.EVENTS_API_BATCH_MAX,
    segmentApi: Object.freeze({
      batchEventsMax: values.SEGMENT_API_BATCH_MAX,
      bodyBytesMax: values.SEGMENT_API_BODY_BYTES_MAX,
      eventBytesMax: values.SEGMENT_API_EVENT_BYTES_MAX,
    }),
    dedupe: Object.freeze({ windowMs: values.DEDUPE_WINDOW_MS, idsMax: values.DEDUPE_IDS_MAX }),
    ...(values.REDIS_URL === undefined ? {} : { redisUrl: values.REDIS_URL }),
    ...(values.CONTROL_DATABASE_URL === undefined ? {} : { controlDatabaseUrl: values.CONTROL_DATABASE_URL }),
    workers: values.WORKERS,
    keyCacheLifetimeMs: values.KEY_CACHE_LIFETIME_MS,
    ...(values.SIGNING_SECRETS_KEY === undefined ? {} : { signingSecretsKey: values.SIGNING_SECRETS_KEY }),
    trustProxy: values.TRUST_PROXY,
    anonymizeIp: values.ANONYMIZE_IP,
    logLevel: values.LOG_LEVEL,
    shutdownDeadlineMs: values.SHUTDOWN_DEADLINE_MS,
    metricsPerKey: values.METRICS_PER_KEY,
    otel: values.otel,
  }
}

/**
 * Reads and checks the whole configuration. The result is frozen; a wrong value is a problem whose message is one line
 * that names the variable, the value it got (never a secret) and what it wants.
 */
export function loadConfig(environment: Environment = process.env): Config | Problem<'invalid_configuration'> {
  const values: Record<string, unknown> = {}
  for (const [name, schema] of Object.entries<TSchema>(VARIABLES.properties)) {
    const raw = environment[name] ?? ''
    const given = schema.secret === true ? raw : raw.trim()
    if (given === '') {
      if (schema.default !== undefined) values[name] = schema.default
      continue
    }
    const value = read(given, schema.reading)
    const accepted =
      Value.Check(schema, value) &&
      (name !== 'CLICKHOUSE_URL' || isServerUrl(given)) &&
      (name !== 'REDIS_URL' || URL.canParse(given))
    if (!accepted) return refuse(name, shown(given, schema), schema.wants)
    values[name] = value
  }
  const checked = values as Variables
  return disagreement(checked) ?? Object.freeze(fields({ ...checked, otel: readOtel(environment) }))
}

/** The table of variables, for the documentation (`markdown`) or a terminal (`text`). */
export function renderVariables(format: 'markdown' | 'text'): string {
  const rows = Object.entries<TSchema>(VARIABLES.properties).map(([name, schema]) => {
    const initial = schema.default === undefined || schema.default === '' ? 'unset' : written(schema.default, schema)
    return { name, initial, wants: String(schema.wants), description: String(schema.description) }
  })
  if (format === 'markdown') {
    const cells = rows.map((row) => `| \`${row.name}\` | \`${row.initial}\` | ${row.wants} | ${row.description} |`)
    return ['| variable | default | value | meaning |', '|---|---|---|---|', ...cells, ''].join('\n')
  }
  const width = Math.max(...rows.map((row) => row.name.length))
  return rows.map((row) => `${row.name.padEnd(width)}  ${row.description} (${row.initial})\n`).join('')
}

function read(given: string, reading: Reading): unknown {
  switch (reading) {
    case 'integer':
      return /^\d{1,15}$/.test(given) ? Number(given) : undefined
    case 'bytes':
      return parseBytes(given)
    case 'boolean':
      return { true: true, '1': true, false: false, '0': false }[given.toLowerCase()]
    case 'proxies':
      return parseProxyTrust(given)
    case 'text':
      return given
  }
}

/** Scheme, host and port and nothing else: the client would take a path for the name of a database. */
function isServerUrl(given: string): boolean {
  const url = URL.parse(given)
  return url !== null && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`
}

/** The first rule between two variables that is broken. */
function disagreement(values: Variables): Problem<'invalid_configuration'> | undefined {
  const { DURABILITY, SEGMENT_BYTES, RING_BYTES, WAL_MAX_BYTES, IN_FLIGHT_BYTES_MAX } = values
  const largestBody =
    values.SEGMENT_API_BODY_BYTES_MAX > values.BODY_BYTES_MAX ? 'SEGMENT_API_BODY_BYTES_MAX' : 'BODY_BYTES_MAX'
  const atLeast = (name: string, got: number, least: number, because: string) =>
    got < least ? refuse(name, formatBytes(got), `at least ${formatBytes(least)} (${because})`) : undefined
  return (
    atLeast('WAL_MAX_BYTES', WAL_MAX_BYTES, 2 * SEGMENT_BYTES, 'twice SEGMENT_BYTES') ??
    atLeast('IN_FLIGHT_BYTES_MAX', IN_FLIGHT_BYTES_MAX, values[largestBody], largestBody) ??
    // Without files the ring is the log, and one body may take several times its size as columns.
    (DURABILITY === 'memory'
      ? atLeast('RING_BYTES', RING_BYTES, 8 * values[largestBody], `8 times ${largestBody} with DURABILITY=memory`)
      : undefined) ??
    (values.CLICKHOUSE_URL === undefined ? (sharedPort(values) ?? serverless(values)) : undefined) ??
    (values.WORKERS > 1 && values.REDIS_URL === undefined
      ? refuse('WORKERS', String(values.WORKERS), '1 without REDIS_URL, by which workers share limits and event ids')
      : undefined)
  )
}

function sharedPort(values: Variables): Problem<'invalid_configuration'> | undefined {
  const taken = new Map<number, string>()
  for (const name of ['PORT', 'EMBEDDED_CLICKHOUSE_HTTP_PORT', 'EMBEDDED_CLICKHOUSE_TCP_PORT'] as const) {
    const number = values[name]
    const other = taken.get(number)
    if (other !== undefined && number !== 0) return refuse(name, String(number), `another port than ${other}`)
    taken.set(number, name)
  }
  return undefined
}

/** What only a server at CLICKHOUSE_URL has: the embedded one has no accounts, and is alone. */
function serverless(values: Variables): Problem<'invalid_configuration'> | undefined {
  for (const name of ['CLICKHOUSE_CLUSTER', 'CLICKHOUSE_USER', 'CLICKHOUSE_PASSWORD'] as const) {
    const schema: TSchema = VARIABLES.properties[name]
    const value = values[name]
    if (value !== undefined && value !== schema.default)
      return refuse(name, shown(value, schema), 'CLICKHOUSE_URL with it: the embedded ClickHouse has no such thing')
  }
  return undefined
}

function refuse(name: string, got: string, wants: string): Problem<'invalid_configuration'> {
  return problem('invalid_configuration', `${name} is ${got}, but wants ${wants}`)
}

/** The value for an error line: one line, quoted, shortened, secrets left out. */
function shown(given: string, schema: TSchema): string {
  const mayHoldPassword = schema.secret === true || /[@?]/.test(given)
  if (mayHoldPassword) return 'set (value not shown)'
  return JSON.stringify(given.length > 80 ? `${given.slice(0, 80)}…` : given)
}

function written(value: unknown, schema: TSchema): string {
  return schema.reading === 'bytes' ? formatBytes(Number(value)) : String(value)
}
