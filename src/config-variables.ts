/** Every environment variable that Penstock reads: default, what it wants, help. `config.ts` reads them. */
import { type Static, Type } from '@sinclair/typebox'
import { formatBytes } from './bytes.ts'
import { PROXY_TRUST_WANTS, type ProxyTrust } from './client-address.ts'

const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB

/** How the text of a variable becomes a value, and what the error says is wanted. */
export type Reading = 'text' | 'integer' | 'bytes' | 'boolean' | 'proxies'

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

function proxies(options: VariableOptions<ProxyTrust>) {
  const networks = Type.Array(Type.Object({}))
  const anyOf = Type.Union([Type.Literal(false), Type.Integer(), networks])
  return Type.Unsafe<ProxyTrust>({ ...anyOf, reading: 'proxies', wants: PROXY_TRUST_WANTS, ...options })
}

/** Not one in which there are ClickHouse's own tables. */
const DATABASE_PATTERN = '^(?!(system|information_schema|INFORMATION_SCHEMA)$)[A-Za-z_][A-Za-z0-9_]{0,63}$'

/** Every variable Penstock reads, in the order of the documentation. */
export const VARIABLES = Type.Object({
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
    text('http:// or https://, a host and perhaps a port; for more see CLICKHOUSE_USER, _PASSWORD and _DATABASE', '', {
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
  CLICKHOUSE_DATABASE: text('letters, digits and _, no digit first, none of ClickHouse’s own', DATABASE_PATTERN, {
    default: 'penstock',
    description: 'Database that holds the tables; made when it is missing.',
  }),
  CLICKHOUSE_CLUSTER: Type.Optional(
    text('letters, digits, _, - and ., a letter or _ first', '^[A-Za-z_][A-Za-z0-9_.-]{0,63}$', {
      description:
        'Cluster of that name in the ClickHouse servers’ configuration: tables on all of its nodes, see cluster.md; unset: CLICKHOUSE_URL has everything.',
    }),
  ),
  CLICKHOUSE_CLUSTER_REPLICATED: flag({
    default: true,
    description:
      'The cluster has ClickHouse Keeper: Replicated tables, made ON CLUSTER. false: shards without replicas, `penstock migrate` is run for each.',
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
    description:
      'Bodies held in memory at one time, all requests together; at least BODY_BYTES_MAX and SEGMENT_API_BODY_BYTES_MAX.',
  }),
  STREAMS_MAX: integer(1, 1_000_000, {
    default: 4096,
    description:
      'WebSockets open at one time, of one tenant half as many; each may make the collector hold an unfinished message of BODY_BYTES_MAX.',
  }),
  EVENTS_API_BATCH_MAX: integer(1, 100_000, {
    default: 500,
    description: 'Events that one request to POST /events may bring.',
  }),
  SEGMENT_API_BATCH_MAX: integer(1, 100_000, {
    default: 50,
    description: 'Events that one batch of Segment’s API may bring.',
  }),
  SEGMENT_API_BODY_BYTES_MAX: bytes(KiB, GiB, {
    default: 256 * KiB,
    description: 'Size of one request body of Segment’s API, counted after decompression.',
  }),
  SEGMENT_API_EVENT_BYTES_MAX: bytes(KiB, GiB, {
    default: 32 * KiB,
    description: 'Size of one event in a request of Segment’s API.',
  }),
  DEDUPE_WINDOW_MS: integer(0, 604_800_000, {
    default: 600_000,
    description: 'Milliseconds for which an event id is remembered, so that a copy is not stored; 0 remembers none.',
  }),
  DEDUPE_IDS_MAX: integer(1000, 1_000_000_000, {
    default: 1_000_000,
    description: 'Event ids remembered at most, at 24 bytes each; at least the newest half of them is kept.',
  }),
  REDIS_URL: Type.Optional(
    text('a redis:// or rediss:// address, its password percent-encoded', '^rediss?://', {
      description: 'Redis that several collectors share for rate limits and deduplication; unset: each has its own.',
      secret: true,
    }),
  ),
  CONTROL_DATABASE_URL: Type.Optional(
    text('a postgres:// or postgresql:// address', '^postgres(ql)?://', {
      description: 'Postgres database, of Penstock alone, for tenants, workspaces and keys; unset: SQLite in DATA_DIR.',
      secret: true,
    }),
  ),
  WORKERS: integer(1, 256, {
    default: 1,
    description:
      'Collector processes on the one port, each with a log and all limits for itself; more than one want REDIS_URL.',
  }),
  KEY_CACHE_LIFETIME_MS: integer(0, 3_600_000, {
    default: 30_000,
    description: 'Milliseconds until a revoked key is refused everywhere (lifetime of the key cache).',
  }),
  SIGNING_SECRETS_KEY: Type.Optional(
    text('64 hexadecimal digits, such as `openssl rand -hex 32` prints', '^[0-9A-Fa-f]{64}$', {
      description:
        'Key that encrypts the signing secrets at rest, one for all collectors of a Postgres; unset: DATA_DIR/secret.key, made at the first start.',
      secret: true,
    }),
  ),
  TRUST_PROXY: proxies({
    default: false,
    description:
      'Take the client address from X-Forwarded-For. true: one proxy is in front; a number: as many; a list: proxies at these addresses.',
  }),
  ANONYMIZE_IP: flag({ default: false, description: 'Cut client addresses to /24 (IPv4) or /48 (IPv6).' }),
  LOG_LEVEL: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    default: 'info',
    description: 'Least severe log lines to write.',
  }),
  METRICS_PER_KEY: flag({
    default: false,
    description: 'Count events by key in the metrics, too: up to 3,000 more series.',
  }),
  SHUTDOWN_DEADLINE_MS: integer(0, 600_000, {
    default: 10_000,
    description: 'Milliseconds that a shutdown may take to flush; what is left stays in the log for the next start.',
  }),
})

export type Variables = Static<typeof VARIABLES>
