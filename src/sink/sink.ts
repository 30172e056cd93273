/**
 * The way from the log into ClickHouse: the embedded server when there is no other, the migrations, then the flusher. It comes up by itself,
 * however long ClickHouse is away: until then the log takes the events.
 */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../config.ts'
import type { EventLog } from '../log/event-log.ts'
import { errorCode } from '../log/file-system.ts'
import { isProblem, type Problem, problem, reasonOf } from '../problem.ts'
import type { Logger } from '../telemetry/logger.ts'
import { NOOP_TELEMETRY, type Telemetry } from '../telemetry/telemetry.ts'
import { type ClickHouse, type ClickHouseOptions, createClickHouse } from './clickhouse.ts'
import { deadLettersDirectory } from './dead-letters.ts'
import { type EmbeddedClickHouse, startEmbeddedClickHouse } from './embedded-clickhouse.ts'
import { Flusher } from './flusher.ts'
import type { FlusherStats } from './flusher-stats.ts'
import { migrate } from './migrations.ts'
import { ShardedFlusher, type ShardedStats } from './sharded-flusher.ts'

export interface SinkOptions {
  readonly config: Config
  readonly log: EventLog
  /** The log's, for what has to be kept beside its segments; undefined: it is in memory. */
  readonly logDirectory: string | undefined
  readonly logger: Logger
  readonly telemetry?: Telemetry
  /** The name of the embedded engine at `CLICKHOUSE_URL`, when the supervisor runs one; see `EmbeddedClickHouse`. */
  readonly engine?: string | undefined
}

export interface Sink {
  /** Of ClickHouse's HTTP interface. */
  readonly url: string
  readonly clickhouse: ClickHouse
  /** Resolves when events flow into ClickHouse for the first time. */
  ready(): Promise<void>
  /** Resolves only when going on is pointless: no embedded server here, or tables that this version must not touch. */
  failed(): Promise<Error>
  stats(): FlusherStats | ShardedStats
  /** Flushes what the log hands out, until the deadline, then lets go of ClickHouse. */
  stop(deadlineMs: number): Promise<void>
}

/** What may be over at the next try. */
const PASSING: ReadonlySet<string> = new Set(['clickhouse_unavailable', 'statement_failed', 'io_error'])
const RETRY_MIN_MS = 50
const RETRY_MAX_MS = 5_000

export function startSink(options: SinkOptions): Sink {
  const { config, log, logger, telemetry = NOOP_TELEMETRY } = options
  const embedded =
    config.clickhouse.url === undefined
      ? startEmbeddedClickHouse({ dataDir: config.dataDir, ...config.embedded, logger })
      : undefined
  const connection: ClickHouseOptions = { ...config.clickhouse, url: config.clickhouse.url ?? embedded?.url ?? '' }
  const clickhouse = createClickHouse(connection)
  const instance = embedded?.instance ?? options.engine
  const target = { ...connection, ...(instance !== undefined && { instance }) }
  const flushing = {
    log,
    logger,
    telemetry,
    target,
    deadLettersDirectory: deadLettersDirectory(config.dataDir),
  }
  const { cluster } = config.clickhouse
  const flusher =
    cluster === undefined
      ? new Flusher(flushing)
      : new ShardedFlusher({ ...flushing, cluster, clickhouse, logDirectory: options.logDirectory })
  const stopping = new AbortController()
  const failure = Promise.withResolvers<Error>()
  const started = Promise.withResolvers<void>()

  const prepared = prepare(embedded, connection, flusher, logger, stopping.signal).then(
    (result) => {
      if (result === 'flowing') started.resolve()
      else if (result !== 'stopped') failure.resolve(result)
    },
    (error: unknown) => failure.resolve(error instanceof Error ? error : new Error(reasonOf(error))),
  )

  return {
    url: connection.url,
    clickhouse,
    ready: () => started.promise,
    failed: () => failure.promise,
    stats: () => flusher.stats(),
    async stop(deadlineMs) {
      stopping.abort()
      await prepared
      await flusher.stop(deadlineMs)
      await clickhouse.close()
      await embedded?.stop()
    },
  }
}

/** Waits for ClickHouse, brings its tables up to date and starts the flusher; gives the error that no waiting will mend. */
async function prepare(
  embedded: EmbeddedClickHouse | undefined,
  connection: ClickHouseOptions,
  flusher: Flusher | ShardedFlusher,
  logger: Logger,
  signal: AbortSignal,
): Promise<Error | 'flowing' | 'stopped'> {
  try {
    await Promise.race([embedded?.ready(), once(signal, 'abort')])
  } catch (error) {
    return signal.aborted ? 'stopped' : (error as Error)
  }
  for (let retryMs = RETRY_MIN_MS; !signal.aborted; retryMs = Math.min(retryMs * 2, RETRY_MAX_MS)) {
    const migrated = await migrate({ clickhouse: connection, logger, signal })
    if (!isProblem(migrated) && signal.aborted) break
    const trouble = isProblem(migrated) ? migrated : await startFlusher(flusher)
    if (trouble === undefined) return 'flowing'
    if (!PASSING.has(trouble.problem)) return new Error(trouble.message)
    logger.warn(
      { code: trouble.problem, retryMs },
      `tables in ClickHouse are not ready, the log takes the events: ${trouble.message}`,
    )
    await sleep(retryMs, undefined, { signal }).catch(() => undefined)
  }
  return 'stopped'
}

async function startFlusher(flusher: Flusher | ShardedFlusher): Promise<Problem | undefined> {
  try {
    return (await flusher.start()) ?? undefined
  } catch (error) {
    const code = errorCode(error)
    if (code === 'UNKNOWN') throw error
    return problem('io_error', `the shards of segments could not be noted: ${reasonOf(error)}`)
  }
}
