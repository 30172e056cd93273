/** `penstock serve`: builds everything in order, stops it in order. */
import { setTimeout as sleep } from 'node:timers/promises'
import { version } from '../package.json'
import { KeyCache } from './auth/key-cache.ts'
import { followKeyChanges } from './auth/key-news.ts'
import { RedisReplays } from './auth/redis-replays.ts'
import { MemoryReplays } from './auth/replays.ts'
import { printBanner } from './cli/banner.ts'
import { CommandFailure, orFail } from './cli/session.ts'
import type { Config } from './config.ts'
import { firstWorkspace } from './control/first-workspace.ts'
import { openControl } from './control/open-control.ts'
import { openDedupe } from './dedupe/open.ts'
import { collectOften } from './garbage.ts'
import { listen } from './http/app.ts'
import { Brake } from './http/brake.ts'
import type { Edge } from './http/edge.ts'
import { InFlightBytes } from './http/in-flight.ts'
import { Streams } from './http/streams.ts'
import { Turns } from './http/turns.ts'
import { readJourney } from './journey.ts'
import { Journeys } from './journeys.ts'
import { MemoryLimits } from './limits/memory-limits.ts'
import { RedisLimits } from './limits/redis-limits.ts'
import type { EventLog } from './log/event-log.ts'
import { GroupCommit } from './log/group-commit.ts'
import { MemoryLog } from './log/memory-log.ts'
import { WriteAheadLog } from './log/write-ahead-log.ts'
import { Pipeline } from './pipeline.ts'
import { reasonOf } from './problem.ts'
import { openRedis } from './redis.ts'
import { compiledScanner } from './scan/compiled.ts'
import { Scanner } from './scan/scanner.ts'
import { SUPERVISOR_GONE, signalled, signalledBySupervisor } from './signals.ts'
import { startSink } from './sink/sink.ts'
import { Status } from './status.ts'
import { logDirectory } from './supervisor.ts'
import { createLogger, type Logger } from './telemetry/logger.ts'
import { openTelemetry } from './telemetry/open.ts'
import { WorkerMetrics } from './telemetry/workers.ts'
import { tellSupervisor } from './worker.ts'

/** Encoded bytes that may gather while a commit runs; less where the log itself is small. */
const BLOCK_BYTES_MAX = 8 * 1024 * 1024

/** How long a write of another process to the control database may hold up this one. */
const CONTROL_BUSY_TIMEOUT_MS = 1000

/** For the last metrics and spans, of what the flush has left of the deadline. */
const TELEMETRY_STOP_MS = 2_000

/** For a worker whose supervisor was killed. */
const ORPHAN_DEADLINE_MS = 1_000

/** A log may be emptied before the first connection to Redis is made. */
const REDIS_WAIT_MS = 2_000
const REDIS_LOOK_INTERVAL_MS = 20

/** The longest time that a timer can wait: 24 days. */
const TIMER_MAX_MS = 2 ** 31 - 1

/** From this share of WAL_MAX_BYTES on, clients that can be slowed down are. */
const LOG_FILLING = 0.9
const LOG_LOOK_INTERVAL_MS = 50

/**
 * Runs the collector until SIGTERM or SIGINT. Throws `CommandFailure` when it cannot start.
 * @param worker its number among several; left out when it is the only one
 * @param engine what the supervisor of workers calls the ClickHouse that it runs
 */
export async function serve(config: Config, worker?: number, engine?: string): Promise<void> {
  const logger = createLogger({ level: config.logLevel, worker })
  const stopped = worker === undefined ? signalled() : signalledBySupervisor()

  const control = orFail(await openControl({ ...config, busyTimeoutMs: CONTROL_BUSY_TIMEOUT_MS }))
  const first = orFail(await firstWorkspace(control, config.dataDir))
  const secrets = await control.secrets.problem()
  if (secrets !== undefined)
    logger.error({ problem: secrets.problem }, `keys that sign cannot be used: ${secrets.message}`)
  const keys = new KeyCache({ source: control, logger, lifetimeMs: config.keyCacheLifetimeMs })
  const directory = logDirectory(config.dataDir, worker ?? 0)
  const log = await openLog(config, directory, logger)
  const telemetry = await openTelemetry(config, logger)
  const scanner = Scanner.open(logger, compiledScanner())
  const groupCommit = new GroupCommit({
    log,
    scanner,
    logger,
    blockBytesMax: Math.min(BLOCK_BYTES_MAX, log.stats().logBytesMax / 4),
    telemetry: telemetry.telemetry,
  })
  const redis = config.redisUrl === undefined ? undefined : openRedis(config.redisUrl, logger)
  if (redis !== undefined) followKeyChanges(redis, keys)
  const limits = redis === undefined ? new MemoryLimits() : new RedisLimits({ redis })
  const dedupe = await openDedupe({ ...config.dedupe, log, redis, logger })
  const pipeline = new Pipeline({ limits, dedupe, groupCommit, counts: telemetry.counts })
  const replays = redis === undefined ? new MemoryReplays() : new RedisReplays(redis)
  const inFlight = new InFlightBytes(config.inFlightBytesMax)
  const kept = config.durability === 'memory' ? undefined : directory
  const sink = startSink({ config, log, logDirectory: kept, logger, telemetry: telemetry.telemetry, engine })
  const edge: Edge = {
    pipeline,
    scanner,
    keys,
    replays,
    inFlight,
    unchecked: new InFlightBytes(uncheckedBytesMax(config), inFlight),
    journeys: new Journeys((query) => readJourney(sink.clickhouse, query)),
    brake: new Brake(),
    turns: new Turns(config.inFlightBytesMax / 2),
    limits: config,
    trustProxy: config.trustProxy,
    anonymizeIp: config.anonymizeIp,
    isLogFilling: isFilling(log),
    logger,
    telemetry: telemetry.telemetry,
  }
  const streams = new Streams(config.streamsMax)
  const metrics = worker === undefined ? undefined : new WorkerMetrics(worker, () => telemetry.scrape())
  const status = new Status({
    version,
    worker,
    log,
    groupCommit,
    pipeline,
    inFlight,
    streams,
    sink,
    control,
    limits,
    dedupe,
    replays,
    redis,
    metrics: () => metrics?.gather() ?? telemetry.scrape(),
  })
  telemetry.watch({
    ...{ pipeline, groupCommit, log, inFlight, streams, sink, dedupe, dedupeIdsMax: config.dedupe.idsMax },
    dependencies: async () => (await status.health()).dependencies,
  })
  keys.start()
  const server = await orExplain(`cannot listen on ${config.host}:${config.port} (HOST, PORT)`, () =>
    listen(edge, status, streams, { ...config, isShared: worker !== undefined }),
  )
  logger.info(
    { host: config.host, port: server.port, dataDir: config.dataDir, durability: config.durability },
    'accepting events',
  )
  const leaveGarbage = collectOften(() => groupCommit.totals.events)

  tellSupervisor('accepting')

  void sink.ready().then(() => {
    tellSupervisor('flowing')
    if (worker === undefined)
      printBanner(config, { port: server.port, publicKey: first?.publicKey, clickhouseUrl: sink.url })
  })

  const reason = await Promise.race([stopped, sink.failed()])
  const deadline = performance.now() + stopDeadlineMs(config, reason)
  const leftMs = () => Math.max(0, deadline - performance.now())
  logger.info({ reason: reason instanceof Error ? reason.message : reason }, 'shutting down')

  status.stopping = true
  await server.stop(leftMs() / 2) // no new events; those in flight are answered, the other half is for the flush
  await groupCommit.close() // what was taken is durable
  leaveGarbage()
  await dedupe.close() // other collectors know of it
  await log.close() // what is open is sealed
  await sink.stop(leftMs()) // last flush, until the deadline
  sayWhatIsLeft(config, log, logger)
  await log.dispose()
  await keys.stop()
  await limits.close() // tokens that are leased go back
  await redis?.close()
  await control.close()
  const isTold = await telemetry.stop(Math.min(leftMs(), TELEMETRY_STOP_MS))
  if (!isTold) logger.warn('the last telemetry could not be sent before the deadline')
  logger.info('stopped')
  if (reason instanceof Error) throw new CommandFailure(reason.message)
  if (!isTold) process.exit() // what still tries would keep the process alive
}

/** A worker that takes no events: everything that its log holds is sent, then it ends. */
export async function drain(config: Config, worker: number, engine?: string): Promise<void> {
  const logger = createLogger({ level: config.logLevel, worker })
  const stopped = signalledBySupervisor()
  const directory = logDirectory(config.dataDir, worker)
  const log = await openLog({ ...config, durability: 'fsync' }, directory, logger)
  const redis = config.redisUrl === undefined ? undefined : openRedis(config.redisUrl, logger)
  const dedupe = await openDedupe({ ...config.dedupe, log, redis, logger })
  const sink = startSink({ config, log, logDirectory: directory, logger, engine })
  logger.info('emptying a log that an earlier start has left')
  await log.close()
  const isReady = sink.ready().then(() => undefined)
  const failure = await Promise.race([isReady, stopped, sink.failed()])
  const reason = failure ?? (await Promise.race([sink.stop(TIMER_MAX_MS), stopped]))
  await sink.stop(stopDeadlineMs({ ...config, durability: 'fsync' }, reason)) // has nothing to do when all is sent
  const deadline = performance.now() + (reason === undefined ? REDIS_WAIT_MS : 0)
  while (redis?.available === false && performance.now() < deadline) await sleep(REDIS_LOOK_INTERVAL_MS)
  await dedupe.close() // of ids that a killed process had claimed, the others know now whether they are durable
  sayWhatIsLeft(config, log, logger)
  await log.dispose()
  await redis?.close()
  if (failure instanceof Error) throw new CommandFailure(failure.message)
}

/** How long a stop may take. What is durable is left in the log when the supervisor is gone: the next start may be waiting for it. */
function stopDeadlineMs({ durability, shutdownDeadlineMs }: Config, reason: unknown): number {
  const isHurried = reason === SUPERVISOR_GONE && durability === 'fsync'
  return isHurried ? Math.min(ORPHAN_DEADLINE_MS, shutdownDeadlineMs) : shutdownDeadlineMs
}

/** What bodies whose key is not known may hold: half of what all may, but one of the largest in any case. */
function uncheckedBytesMax({ inFlightBytesMax, bodyBytesMax, segmentApi }: Config): number {
  return Math.max(inFlightBytesMax / 2, bodyBytesMax, segmentApi.bodyBytesMax)
}

/** Whether the log has used up most of its room; looked at now and then, because many ask. */
function isFilling(log: EventLog): () => boolean {
  let isSo = false
  let lookedAt = Number.NEGATIVE_INFINITY
  return () => {
    const now = performance.now()
    if (now - lookedAt > LOG_LOOK_INTERVAL_MS) {
      const { logBytes, logBytesMax } = log.stats()
      isSo = logBytes > LOG_FILLING * logBytesMax
      lookedAt = now
    }
    return isSo
  }
}

/** In the log on disk it waits for the next start; in memory it is lost now. */
function sayWhatIsLeft({ durability }: Config, log: EventLog, logger: Logger): void {
  const { durableBytes, flushedBytes } = log.stats()
  const bytes = durableBytes - flushedBytes
  if (bytes === 0) return
  if (durability === 'memory')
    logger.error({ bytes }, 'events in memory were not flushed before the deadline: they are lost')
  else logger.info({ bytes }, 'events that are not flushed wait in the log for the next start')
}

async function openLog(config: Config, directory: string, logger: Logger): Promise<EventLog> {
  // Without files the ring is all there is: one half is filled while the other is sent.
  if (config.durability === 'memory')
    return new MemoryLog({ ...config, segmentBytes: Math.min(config.segmentBytes, config.ringBytes / 2) })
  return orExplain(`cannot open the log in ${directory} (DATA_DIR)`, () =>
    WriteAheadLog.open({ ...config, ...(config.dedupe.windowMs > 0 ? { ids: config.dedupe } : {}), directory, logger }),
  )
}

async function orExplain<Result>(what: string, work: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    throw new CommandFailure(`${what}: ${reasonOf(error)}`)
  }
}
