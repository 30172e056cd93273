/**
 * The way from the log into ClickHouse: the embedded server when there is no other, the migrations, then the flusher. It comes up by itself,
 * however long ClickHouse is away: until then the log takes the events.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../config.ts'
import type { EventLog } from '../log/event-log.ts'
import { isProblem } from '../problem.ts'
import type { Logger } from '../telemetry/logger.ts'
import { NOOP_TELEMETRY, type Telemetry } from '../telemetry/telemetry.ts'
import { type ClickHouse, type ClickHouseOptions, createClickHouse } from './clickhouse.ts'
import { type EmbeddedClickHouse, startEmbeddedClickHouse } from './embedded-clickhouse.ts'
import { Flusher, type FlusherStats } from './flusher.ts'
import { migrate } from './migrations.ts'

export interface SinkOptions {
  readonly config: Config
  readonly log: EventLog
  readonly logger: Logger
  readonly telemetry?: Telemetry
}

export interface Sink {
  /** Of ClickHouse's HTTP interface. */
  readonly url: string
  readonly clickhouse: ClickHouse
  /** Resolves when events flow into ClickHouse for the first time. */
  ready(): Promise<void>
  /** Resolves only when going on is pointless: no embedded server here, or tables that this version must not touch. */
  failed(): Promise<Error>
  stats(): FlusherStats
  /** Flushes what the log hands out, until the deadline, then lets go of ClickHouse. */
  stop(deadlineMs: number): Promise<void>
}

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
  const flusher = new Flusher({
    log,
    target: connection,
    deadLettersDirectory: join(config.dataDir, 'dead-letters'),
    logger,
    telemetry,
  })
  const stopping = new AbortController()
  const failure = Promise.withResolvers<Error>()
  const started = Promise.withResolvers<void>()

  const prepared = prepare(embedded, connection, logger, stopping.signal).then((error) => {
    if (error !== undefined) return failure.resolve(error)
    if (stopping.signal.aborted) return
    flusher.start()
    started.resolve()
  })

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

/** Waits for ClickHouse and brings its tables up to date; gives the error that no waiting will mend. */
async function prepare(
  embedded: EmbeddedClickHouse | undefined,
  connection: ClickHouseOptions,
  logger: Logger,
  signal: AbortSignal,
): Promise<Error | undefined> {
  try {
    await embedded?.ready()
  } catch (error) {
    return signal.aborted ? undefined : (error as Error)
  }
  for (let retryMs = RETRY_MIN_MS; !signal.aborted; retryMs = Math.min(retryMs * 2, RETRY_MAX_MS)) {
    const migrated = await migrate({ clickhouse: connection, logger, signal })
    if (!isProblem(migrated)) return undefined
    if (migrated.problem !== 'clickhouse_unavailable' && migrated.problem !== 'statement_failed')
      return new Error(migrated.message)
    logger.warn(
      { code: migrated.problem, retryMs },
      `tables in ClickHouse are not ready, the log takes the events: ${migrated.message}`,
    )
    await sleep(retryMs, undefined, { signal }).catch(() => undefined)
  }
  return undefined
}
