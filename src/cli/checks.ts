/** The single checks of `doctor`: each looks at one dependency, changes nothing, and says how to mend what is wrong. */
import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { formatBytes } from '../bytes.ts'
import type { Config } from '../config.ts'
import { hasControl } from '../control/control-place.ts'
import { openControl } from '../control/open-control.ts'
import { probePort } from '../port.ts'
import { isProblem, reasonOf } from '../problem.ts'
import { compiledScanner } from '../scan/compiled.ts'
import type { MigrationProblem } from '../sink/migrations.ts'
import { createLogger } from '../telemetry/logger.ts'
import { httpAddress } from './banner.ts'

/** `warning`: works, but not for long or not for everybody. `failed`: Penstock would not start or not store events. */
export interface Check {
  readonly name: string
  readonly status: 'ok' | 'warning' | 'failed'
  readonly message: string
  /** What to do; only when something is wrong. */
  readonly mend?: string
}

const ANSWER_WITHIN_MS = 3000
/** Less than this and ClickHouse's merges begin to fail before the log is full. */
const FREE_BYTES_MIN = 1024 ** 3

/** Whether a Penstock server answers at the configured address; every answer of one carries a request id. */
export async function isServerRunning(config: Config): Promise<boolean> {
  try {
    const response = await get(`${httpAddress(config.host, config.port)}/livez`)
    return response.ok && response.headers.has('x-request-id')
  } catch {
    return false
  }
}

/** The scanner can be used: without it everything works, with more CPU. */
export function checkScanner(): Check {
  const name = 'scanner'
  const compiled = compiledScanner()
  if (!isProblem(compiled)) return { name, status: 'ok', message: 'compiled' }
  const message = `events are read without it, which takes more CPU: ${compiled.message}`
  return { name, status: 'warning', message, mend: '`bun run build`, then start again' }
}

/** The data directory can be written (or made), and has room. */
export function checkDataDirectory(config: Config): Check {
  const name = 'data directory'
  const path = resolve(config.dataDir)
  let existing = path
  while (!existsSync(existing)) existing = dirname(existing)
  if (!statSync(existing).isDirectory()) {
    return { name, status: 'failed', message: `${existing} is not a directory`, mend: 'set DATA_DIR to a directory' }
  }
  try {
    accessSync(existing, constants.W_OK | constants.X_OK)
  } catch {
    const mend = 'give this user the right to write there, or set DATA_DIR'
    return { name, status: 'failed', message: `${existing} cannot be written by this user`, mend }
  }
  const { bavail, bsize } = statfsSync(existing)
  const free = bavail * bsize
  const room = `${path}${existing === path ? '' : ' (made at the first start)'}, ${formatBytes(free)} free`
  if (free < FREE_BYTES_MIN) {
    const message = `${room}, less than ${formatBytes(FREE_BYTES_MIN)}`
    return { name, status: 'failed', message, mend: 'free some space, or set DATA_DIR to a larger disk' }
  }
  if (config.durability === 'fsync' && free < config.workers * config.logBytesMax) {
    const each = config.workers === 1 ? '' : ` for each of ${config.workers} workers`
    const message = `${room}, less than the log may take (WAL_MAX_BYTES ${formatBytes(config.logBytesMax)}${each})`
    return { name, status: 'warning', message, mend: 'free some space, or set WAL_MAX_BYTES to what there is' }
  }
  return { name, status: 'ok', message: room }
}

/** The control database opens, and its signing secrets can be decrypted. */
export async function checkControlDatabase(config: Config): Promise<Check> {
  const name = 'control database'
  const isPostgres = config.controlDatabaseUrl !== undefined
  if (!hasControl(config)) {
    return { name, status: 'ok', message: 'not there yet, made at the first start' }
  }
  const control = await openControl({ ...config, migrate: false })
  if (isProblem(control)) {
    const { message } = control
    if (control.problem === 'control_not_migrated') return { name, status: 'ok', message }
    const mend = isPostgres
      ? 'start Postgres, or correct CONTROL_DATABASE_URL'
      : 'check its owner and mode, or restore it from a backup'
    return { name, status: 'failed', message, mend }
  }
  try {
    const secrets = await control.secrets.problem()
    if (secrets !== undefined) {
      const mend =
        'restore DATA_DIR/secret.key, or set SIGNING_SECRETS_KEY as it was, the same for every collector; if it is lost: `workspaces rotate-signing-secret --all`'
      return { name, status: 'failed', message: secrets.message, mend }
    }
    const { length } = await control.listWorkspaces()
    const message = `${isPostgres ? 'Postgres, ' : ''}${length} ${length === 1 ? 'workspace' : 'workspaces'}`
    return { name, status: 'ok', message }
  } finally {
    await control.close()
  }
}

/** Redis answers and takes writes. Without it a collector goes on, so it is no failure. */
export async function checkRedis(redisUrl: string): Promise<Check> {
  const name = 'Redis'
  const { openRedis, isRedisFailure } = await import('../redis.ts')
  const redis = openRedis(redisUrl, createLogger({ level: 'silent' }))
  try {
    await redis.ready(ANSWER_WITHIN_MS)
    const answer = await redis.ping()
    if (isRedisFailure(answer))
      return { name, status: 'warning', message: answer.message, mend: 'start Redis, or correct REDIS_URL' }
    const message = `version ${answer.version}`
    const memory = await redis.script("return redis.call('INFO', 'memory')").run([], [])
    const policy = /^maxmemory_policy:(\S+)/m.exec(String(memory))?.[1] ?? 'noeviction'
    if (policy === 'noeviction') return { name, status: 'ok', message }
    return {
      name,
      status: 'warning',
      message: `${message}, when it is full it forgets what collectors share (${policy})`,
      mend: 'set maxmemory-policy to noeviction: then collectors see that it is full, and go on without it',
    }
  } finally {
    await redis.close()
  }
}

/** ClickHouse answers and lets this user in; or, for the embedded one that does not run, can be started. */
export async function checkClickHouse(config: Config, serverRuns: boolean): Promise<Check> {
  if (config.clickhouse.url !== undefined) return askClickHouse(config, config.clickhouse.url)
  if (serverRuns) return askClickHouse(config, `http://127.0.0.1:${config.embedded.httpPort}`)
  const name = 'ClickHouse'
  const { findLibrary } = await import('../sink/engine-setup.ts')
  try {
    return { name, status: 'ok', message: `embedded, starts with the server (${await findLibrary()})` }
  } catch (error) {
    const mend = 'run `bun install`, or set CLICKHOUSE_URL to a ClickHouse server'
    return { name, status: 'failed', message: reasonOf(error), mend }
  }
}

async function askClickHouse(config: Config, address: string): Promise<Check> {
  const name = 'ClickHouse'
  const url = new URL(address)
  url.searchParams.set('query', 'SELECT version()')
  const { user, password } = config.clickhouse
  let response: Response
  let text: string
  try {
    response = await get(url.href, { 'X-ClickHouse-User': user, ...(password && { 'X-ClickHouse-Key': password }) })
    text = (await response.text()).trim()
  } catch (error) {
    const message = `${address} does not answer: ${reasonOf(error)}`
    const mend =
      config.clickhouse.url === undefined
        ? 'set EMBEDDED_CLICKHOUSE_HTTP_PORT as it is set for the server, or see what the server’s log says of ClickHouse'
        : 'start ClickHouse, or correct CLICKHOUSE_URL'
    return { name, status: 'failed', message, mend: `${mend}; events wait in the log meanwhile` }
  }
  if (response.ok && /^\d+\.\d+/.test(text)) return { name, status: 'ok', message: `${address}, version ${text}` }
  const refused = response.status === 401 || response.status === 403
  const message = `${address} answers ${response.status}: ${text.split('\n')[0]?.slice(0, 200)}`
  const mend = refused
    ? 'correct CLICKHOUSE_USER and CLICKHOUSE_PASSWORD'
    : 'see whether CLICKHOUSE_URL is the HTTP port of ClickHouse'
  return { name, status: 'failed', message, mend }
}

/** The tables are those of this version. Only where ClickHouse answers. */
export async function checkTables(config: Config, serverRuns: boolean): Promise<Check> {
  const name = 'tables'
  const url = config.clickhouse.url ?? (serverRuns ? `http://127.0.0.1:${config.embedded.httpPort}` : undefined)
  if (url === undefined) return { name, status: 'ok', message: 'looked at when the server runs' }
  const { migrationStatus } = await import('../sink/migrations.ts')
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS)
  const status = await migrationStatus({ clickhouse: { ...config.clickhouse, url }, signal })
  if (isProblem(status)) return { name, status: 'failed', message: status.message, mend: TABLES_MEND[status.problem] }
  const { applied, pending } = status
  const place = `database ${config.clickhouse.database}`
  if (applied.length === 0) return { name, status: 'ok', message: `none in ${place} yet, made by the first start` }
  if (pending.length === 0) return { name, status: 'ok', message: `${place}, ${applied.length} migrations` }
  const names = pending.map((migration) => `${migration.version} (${migration.name})`).join(', ')
  const mend = 'start this version, or run `penstock migrate`: both apply them'
  return { name, status: 'warning', message: `${place} lacks migrations of this version: ${names}`, mend }
}

const TABLES_MEND: Readonly<Record<MigrationProblem['problem'], string>> = {
  edited_migration: 'restore the files in clickhouse/ as they came with this version; a change of yours is a new file',
  database_newer: 'run the version of Penstock that made the tables, or a newer one',
  bad_sequence: 'restore the files in clickhouse/, and the rows of schema_migrations if some were removed',
  statement_failed: 'run `penstock migrate` and see what ClickHouse says',
  unknown_cluster:
    'name a cluster of `SELECT DISTINCT cluster FROM system.clusters`, or add it to remote_servers there',
  other_layout: 'see docs/cluster.md: one database is one server’s or one cluster’s, for good',
  unknown_statement: 'restore the files in clickhouse/ as they came with this version',
  clickhouse_unavailable: 'give CLICKHOUSE_USER the right to read system.tables and all tables of CLICKHOUSE_DATABASE',
}

/** The ports that `serve` will listen on are free, or held by the running server. */
export function checkPorts(config: Config, serverRuns: boolean): readonly Check[] {
  const ports: (readonly [variable: string, host: string, port: number])[] = [['PORT', config.host, config.port]]
  // Beside a running server it is ClickHouse's check that tells whether it has them.
  if (config.clickhouse.url === undefined && !serverRuns) {
    ports.push(['EMBEDDED_CLICKHOUSE_HTTP_PORT', '127.0.0.1', config.embedded.httpPort])
    ports.push(['EMBEDDED_CLICKHOUSE_TCP_PORT', '127.0.0.1', config.embedded.tcpPort])
  }
  return ports.map(([variable, host, port]): Check => {
    const name = `port ${port}`
    if (serverRuns) return { name, status: 'ok', message: `${variable}, the server is running` }
    const refusal = whyNotListen(host, port)
    if (refusal === undefined) return { name, status: 'ok', message: `${variable}, free on ${host}` }
    const mend = `stop the program that has it, or set ${variable} to another port`
    return { name, status: 'failed', message: `${variable}: cannot listen on ${host}:${port}: ${refusal}`, mend }
  })
}

function whyNotListen(hostname: string, port: number): string | undefined {
  try {
    probePort(hostname, port)
    return undefined
  } catch (error) {
    return reasonOf(error)
  }
}

/** An answer within a few seconds. Rejects without one. */
export function get(url: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, { headers, redirect: 'manual', signal: AbortSignal.timeout(ANSWER_WITHIN_MS) })
}
