/**
 * The configuration: every environment variable, its default and its help, in one schema.
 * This is the only file that reads the environment. An empty variable counts as unset.
 */
import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { formatBytes, parseBytes } from './bytes.ts'
import { type Problem, problem } from './problem.ts'

const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB

/** How the text of a variable becomes a value, and what the error says is wanted. */
type Reading = 'text' | 'integer' | 'bytes' | 'boolean'

interface VariableOptions<Value> {
  readonly default?: Value
  readonly description: string
}

function text(wants: string, pattern: string, options: VariableOptions<string> & { secret?: boolean }) {
  return Type.String({ reading: 'text', wants, pattern, ...options })
}

function choice<const Choices extends readonly [string, ...string[]]>(
  choices: Choices,
  options: VariableOptions<Choices[number]>,
) {
  const wants = `one of ${choices.join(', ')}`
  return Type.Unsafe<Choices[number]>(
    Type.String({ pattern: `^(${choices.join('|')})$`, reading: 'text', wants, ...options }),
  )
}

function integer(minimum: number, maximum: number, options: VariableOptions<number>) {
  const wants = `a whole number from ${minimum} to ${maximum}`
  return Type.Integer({ minimum, maximum, reading: 'integer', wants, ...options })
}

function port(options: VariableOptions<number>) {
  return Type.Integer({ minimum: 0, maximum: 65535, reading: 'integer', wants: 'a port from 0 to 65535', ...options })
}

function bytes(minimum: number, maximum: number, options: VariableOptions<number>) {
  const wants = `a size from ${formatBytes(minimum)} to ${formatBytes(maximum)}, such as 16MiB, 10GiB or plain bytes`
  return Type.Integer({ minimum, maximum, reading: 'bytes', wants, ...options })
}

function flag(options: VariableOptions<boolean>) {
  return Type.Boolean({ reading: 'boolean', wants: 'true, false, 1 or 0', ...options })
}

/** Every variable Penstock reads, in the order of the documentation. */
const VARIABLES = Type.Object({
  HOST: text('a host name or an IP address', '^[A-Za-z0-9._:%-]+$', {
    default: '127.0.0.1',
    description: 'Address to listen on; 0.0.0.0 for every network.',
  }),
  PORT: port({ default: 3000, description: 'Port to listen on; 0 takes a free one.' }),
  DATA_DIR: text('a directory', '^[^\\0]+$', {
    default: './data',
    description: 'Directory of the write-ahead log, the control database and the embedded ClickHouse.',
  }),
  CLICKHOUSE_URL: Type.Optional(
    text('an http:// or https:// address without user and password (CLICKHOUSE_USER, CLICKHOUSE_PASSWORD)', '', {
      description: 'HTTP address of a ClickHouse server; unset: Penstock runs its own (embedded).',
    }),
  ),
  CLICKHOUSE_USER: text('a user name', '^[^\\s:]+$', {
    default: 'default',
    description: 'User at CLICKHOUSE_URL.',
  }),
  CLICKHOUSE_PASSWORD: text('a password', '', {
    default: '',
    description: 'Password at CLICKHOUSE_URL.',
    secret: true,
  }),
  CLICKHOUSE_DATABASE: text('letters, digits and _, a letter first', '^[A-Za-z_][A-Za-z0-9_]{0,63}$', {
    default: 'penstock',
    description: 'Database that holds the tables; made when it is missing.',
  }),
  EMBEDDED_CLICKHOUSE_HTTP_PORT: port({
    default: 8123,
    description: 'HTTP port of the embedded ClickHouse, on 127.0.0.1; 0 takes a free one.',
  }),
  EMBEDDED_CLICKHOUSE_TCP_PORT: port({
    default: 9000,
    description: 'Native port of the embedded ClickHouse, on 127.0.0.1; 0 takes a free one.',
  }),
  DURABILITY: choice(['fsync', 'memory'], {
    default: 'fsync',
    description: 'fsync: a 2xx means the events are on disk. memory: no log, a crash loses what is not yet flushed.',
  }),
  FLUSH_INTERVAL_MS: integer(10, 600_000, {
    default: 1000,
    description: 'Age in milliseconds at which a segment is sealed and sent to ClickHouse.',
  }),
  SEGMENT_BYTES: bytes(64 * KiB, 256 * MiB, {
    default: 64 * MiB,
    description:
      'Size at which a segment is sealed and sent to ClickHouse: the larger an insert, the less it costs a row.',
  }),
  RING_BYTES: bytes(128 * KiB, 64 * GiB, {
    default: 16 * MiB,
    description: 'Memory that holds the newest end of the log; what does not fit is read back from its file.',
  }),
  WAL_MAX_BYTES: bytes(128 * KiB, 1024 * 1024 * GiB, {
    default: 10 * GiB,
    description: 'Disk the log may take while ClickHouse is away; beyond it producers get 503.',
  }),
  BATCH_EVENTS_MAX: integer(1, 100_000, { default: 100, description: 'Events that one request may bring.' }),
  BODY_BYTES_MAX: bytes(KiB, GiB, {
    default: MiB,
    description: 'Size of one request body, counted after decompression.',
  }),
  NDJSON_BYTES_MAX: bytes(KiB, 64 * GiB, {
    default: 64 * MiB,
    description: 'Size of one streamed NDJSON request, counted after decompression.',
  }),
  IN_FLIGHT_BYTES_MAX: bytes(KiB, 64 * GiB, {
    default: 32 * MiB,
    description: 'Bodies held in memory at one time, all requests together; at least BODY_BYTES_MAX.',
  }),
  KEY_CACHE_LIFETIME_MS: integer(0, 3_600_000, {
    default: 30_000,
    description: 'Milliseconds until a revoked key is refused everywhere (lifetime of the key cache).',
  }),
  SIGNING_SECRETS_KEY: Type.Optional(
    text('64 hexadecimal digits, such as `openssl rand -hex 32` prints', '^[0-9A-Fa-f]{64}$', {
      description:
        'Key that encrypts the signing secrets at rest; unset: DATA_DIR/secret.key, made when it is missing.',
      secret: true,
    }),
  ),
  TRUST_PROXY: flag({
    default: false,
    description: 'Take the client address from X-Forwarded-For; only behind a proxy that sets it.',
  }),
  ANONYMIZE_IP: flag({ default: false, description: 'Cut client addresses to /24 (IPv4) or /48 (IPv6).' }),
  LOG_LEVEL: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    default: 'info',
    description: 'Least severe log lines to write.',
  }),
  SHUTDOWN_DEADLINE_MS: integer(0, 600_000, {
    default: 10_000,
    description: 'Milliseconds that a shutdown may take to flush; what is left stays in the log for the next start.',
  }),
})

type Variables = Static<typeof VARIABLES>

/** What the program runs with: frozen, checked, sizes in bytes and durations in milliseconds. */
export type Config = Readonly<ReturnType<typeof fields>>

/** The environment as the operating system hands it over. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The environment as it was inherited, for a process to be started. What is in it for Penstock is in the configuration. */
export function environment(): Environment {
  return process.env
}

function fields(values: Variables) {
  return {
    host: values.HOST,
    port: values.PORT,
    dataDir: values.DATA_DIR,
    clickhouse: Object.freeze({
      ...(values.CLICKHOUSE_URL === undefined ? {} : { url: values.CLICKHOUSE_URL }),
      user: values.CLICKHOUSE_USER,
      password: values.CLICKHOUSE_PASSWORD,
      database: values.CLICKHOUSE_DATABASE,
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
    keyCacheLifetimeMs: values.KEY_CACHE_LIFETIME_MS,
    ...(values.SIGNING_SECRETS_KEY === undefined ? {} : { signingSecretsKey: values.SIGNING_SECRETS_KEY }),
    trustProxy: values.TRUST_PROXY,
    anonymizeIp: values.ANONYMIZE_IP,
    logLevel: values.LOG_LEVEL,
    shutdownDeadlineMs: values.SHUTDOWN_DEADLINE_MS,
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
    const accepted = Value.Check(schema, value) && (name !== 'CLICKHOUSE_URL' || isServerUrl(given))
    if (!accepted) return refuse(name, shown(given, schema), schema.wants)
    values[name] = value
  }
  const checked = values as Variables
  return disagreement(checked) ?? Object.freeze(fields(checked))
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
    case 'text':
      return given
  }
}

function isServerUrl(given: string): boolean {
  const url = URL.parse(given)
  return url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === ''
}

/** The first rule between two variables that is broken. */
function disagreement(values: Variables): Problem<'invalid_configuration'> | undefined {
  const { DURABILITY, SEGMENT_BYTES, RING_BYTES, WAL_MAX_BYTES, BODY_BYTES_MAX, IN_FLIGHT_BYTES_MAX } = values
  const atLeast = (name: string, got: number, least: number, because: string) =>
    got < least ? refuse(name, formatBytes(got), `at least ${formatBytes(least)} (${because})`) : undefined
  return (
    atLeast('WAL_MAX_BYTES', WAL_MAX_BYTES, 2 * SEGMENT_BYTES, 'twice SEGMENT_BYTES') ??
    atLeast('IN_FLIGHT_BYTES_MAX', IN_FLIGHT_BYTES_MAX, BODY_BYTES_MAX, 'BODY_BYTES_MAX') ??
    // Without files the ring is the log, and one body may take several times its size as columns.
    (DURABILITY === 'memory'
      ? atLeast('RING_BYTES', RING_BYTES, 8 * BODY_BYTES_MAX, '8 times BODY_BYTES_MAX with DURABILITY=memory')
      : undefined) ??
    (values.CLICKHOUSE_URL === undefined ? sharedPort(values) : undefined)
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
