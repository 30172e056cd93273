/** `penstock serve`: builds everything in order, stops it in order. */
import { join } from 'node:path'
import { version } from '../package.json'
import { KeyCache } from './auth/key-cache.ts'
import { banner } from './cli/banner.ts'
import { CommandFailure, orFail } from './cli/session.ts'
import type { Config } from './config.ts'
import { openControl } from './control/open-control.ts'
import { firstWorkspace } from './control/first-workspace.ts'
import { NO_DEDUPE } from './dedupe/dedupe.ts'
import { listen } from './http/app.ts'
import type { Edge } from './http/edge.ts'
import { InFlightBytes } from './http/in-flight.ts'
import { Streams } from './http/streams.ts'
import { MemoryLimits } from './limits/memory-limits.ts'
import type { EventLog } from './log/event-log.ts'
import { GroupCommit } from './log/group-commit.ts'
import { MemoryLog } from './log/memory-log.ts'
import { WriteAheadLog } from './log/write-ahead-log.ts'
import { Pipeline } from './pipeline.ts'
import { reasonOf } from './problem.ts'
import { startSink } from './sink/sink.ts'
import { Status } from './status.ts'
import { createLogger, type Logger } from './telemetry/logger.ts'

/** Encoded bytes that may gather while a commit runs; less where the log itself is small. */
const BLOCK_BYTES_MAX = 8 * 1024 * 1024

/** How long a write of another process to the control database may hold up this one. */
const CONTROL_BUSY_TIMEOUT_MS = 1000

/** From this share of WAL_MAX_BYTES on, clients that can be slowed down are. */
const LOG_FILLING = 0.9
const LOG_LOOK_INTERVAL_MS = 50

/** Runs the collector until SIGTERM or SIGINT. Throws `CommandFailure` when it cannot start. */
export async function serve(config: Config): Promise<void> {
  const logger = createLogger({ level: config.logLevel })
  const stopped = signalled()

  const control = orFail(await openControl({ ...config, busyTimeoutMs: CONTROL_BUSY_TIMEOUT_MS }))
  const first = await firstWorkspace(control, config.dataDir)
  const keys = new KeyCache({ source: control, logger, lifetimeMs: config.keyCacheLifetimeMs })
  const log = await openLog(config, logger)
  const groupCommit = new GroupCommit({ log, blockBytesMax: Math.min(BLOCK_BYTES_MAX, log.stats().logBytesMax / 4) })
  const pipeline = new Pipeline({ limits: new MemoryLimits(), dedupe: NO_DEDUPE, groupCommit })
  const inFlight = new InFlightBytes(config.inFlightBytesMax)
  const edge: Edge = {
    pipeline,
    keys,
    inFlight,
    limits: config,
    trustProxy: config.trustProxy,
    anonymizeIp: config.anonymizeIp,
    isLogFilling: isFilling(log),
    logger,
  }
  const streams = new Streams()
  const sink = startSink({ config, log, logger })
  const status = new Status({ version, log, groupCommit, pipeline, inFlight, streams, sink, control })
  keys.start()
  const server = await orExplain(`cannot listen on ${config.host}:${config.port} (HOST, PORT)`, () =>
    listen(edge, status, streams, config),
  )
  logger.info(
    { host: config.host, port: server.port, dataDir: config.dataDir, durability: config.durability },
    'accepting events',
  )

  void sink.ready().then(() => {
    if (config.logLevel === 'silent') return
    const { user, password, database } = config.clickhouse
    const clickhouse = { url: sink.url, user, hasPassword: password !== '', database }
    process.stdout.write(banner({ ...config, port: server.port, publicKey: first?.publicKey, clickhouse }))
  })

  const reason = await Promise.race([stopped, sink.failed()])
  const deadline = performance.now() + config.shutdownDeadlineMs
  const leftMs = () => Math.max(0, deadline - performance.now())
  logger.info({ reason: reason instanceof Error ? reason.message : reason }, 'shutting down')

  status.stopping = true
  await server.stop(leftMs() / 2) // no new events; those in flight are answered, the other half is for the flush
  await groupCommit.close() // what was taken is durable
  await log.close() // what is open is sealed
  await sink.stop(leftMs()) // last flush, until the deadline
  sayWhatIsLeft(config, log, logger)
  await log.dispose()
  await keys.stop()
  await control.close()
  logger.info('stopped')
  if (reason instanceof Error) throw new CommandFailure(reason.message)
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

async function openLog(config: Config, logger: Logger): Promise<EventLog> {
  // Without files the ring is all there is: one half is filled while the other is sent.
  if (config.durability === 'memory')
    return new MemoryLog({ ...config, segmentBytes: Math.min(config.segmentBytes, config.ringBytes / 2) })
  const directory = join(config.dataDir, 'log')
  return orExplain(`cannot open the log in ${directory} (DATA_DIR)`, () =>
    WriteAheadLog.open({ ...config, directory, logger }),
  )
}

async function orExplain<Result>(what: string, work: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    throw new CommandFailure(`${what}: ${reasonOf(error)}`)
  }
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once, what is durable stays in the log. */
function signalled(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let seen = false
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (seen) process.exit(1)
        seen = true
        resolve(signal)
      })
    }
  })
}
