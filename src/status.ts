/** What the collector says of itself at `/readyz`, `/health` and `/stats`. */
import type { Replays } from './auth/replays.ts'
import type { ControlDatabase } from './control/control-database.ts'
import type { Dedupe } from './dedupe/dedupe.ts'
import type { InFlightBytes } from './http/in-flight.ts'
import type { DependencyHealth, Health, Service } from './http/service.ts'
import type { Streams } from './http/streams.ts'
import type { Limits } from './limits/limits.ts'
import type { EventLog } from './log/event-log.ts'
import type { GroupCommit } from './log/group-commit.ts'
import { OUTCOME_MESSAGES, type Pipeline } from './pipeline.ts'
import { isProblem, reasonOf } from './problem.ts'
import { isRedisFailure, type Redis } from './redis.ts'
import { type Rejection, reject } from './rejection.ts'
import { singleFlight } from './single-flight.ts'
import type { Sink } from './sink/sink.ts'
import { snakeCased } from './snake-case.ts'
import { withTimeout } from './timeout.ts'

export interface StatusOptions {
  readonly version: string
  /** Its number among several; undefined when it is the only one. */
  readonly worker: number | undefined
  readonly log: EventLog
  readonly groupCommit: GroupCommit
  readonly pipeline: Pipeline
  readonly inFlight: InFlightBytes
  readonly streams: Streams
  readonly sink: Sink
  readonly control: ControlDatabase
  readonly limits: Limits
  readonly dedupe: Dedupe
  readonly replays: Replays
  /** Undefined: none is configured. */
  readonly redis: Redis | undefined
  /** All metrics, as Prometheus reads them. */
  metrics(): Promise<string>
}

/** A Postgres that hangs fails its own statements later than a health check can wait. */
const CONTROL_ANSWERS_WITHIN_MS = 2_000

/** A refused commit makes the collector unready for this long; then the next request tries again. */
const REFUSAL_COUNTS_MS = 2_000

/** Looking up a key that nobody has shows that the control database answers. */
const NOBODYS_HASH = '0'.repeat(64)

export class Status implements Service {
  /** Set when the shutdown begins. */
  stopping = false
  private readonly options: StatusOptions

  constructor(options: StatusOptions) {
    this.options = options
  }

  ready(): Rejection | undefined {
    if (this.stopping) return reject('overloaded', 'the collector is shutting down')
    const { lastRefusal } = this.options.groupCommit
    if (lastRefusal === undefined || performance.now() - lastRefusal.at > REFUSAL_COUNTS_MS) return undefined
    return reject('overloaded', OUTCOME_MESSAGES[lastRefusal.outcome])
  }

  /** Anyone may ask, without a key: however many do at one time, every dependency is asked once. */
  readonly health = singleFlight(() => this.check())

  private async check(): Promise<Health> {
    const { redis: configured } = this.options
    const [clickhouse, control, redis] = await Promise.all([
      this.checkClickHouse(),
      this.checkControl(),
      configured === undefined ? undefined : checkRedis(configured),
    ])
    const refused = this.ready()
    const dependencies = {
      log:
        refused === undefined ? ({ status: 'ok' } as const) : ({ status: 'down', message: refused.message } as const),
      clickhouse,
      control_database: control,
      ...(redis === undefined ? {} : { redis }),
    }
    const allThere = Object.values(dependencies).every((dependency) => dependency.status === 'ok')
    const { rss, heapUsed } = process.memoryUsage()
    return {
      status: refused !== undefined ? 'down' : allThere ? 'ok' : 'degraded',
      version: this.options.version,
      ...this.which(),
      uptime_seconds: Math.round(process.uptime()),
      memory: { rss_bytes: rss, heap_used_bytes: heapUsed },
      buffer: this.buffer(),
      dependencies,
    }
  }

  /** Counters only grow from the start of the process on; rates are for who asks twice. */
  stats(): object {
    const { log, groupCommit, pipeline, inFlight, streams, sink, limits, dedupe, replays, redis } = this.options
    const { oldestUnflushedAt, lastError, ...logStats } = log.stats()
    return snakeCased({
      ...this.which(),
      uptime_seconds: Math.round(process.uptime()),
      events: pipeline.counts.totals(),
      commits: groupCommit.totals,
      bodies_in_flight_bytes: inFlight.heldBytes,
      streams: streams.stats(),
      buffer: this.buffer(),
      log: { ...logStats, ...(lastError === undefined ? {} : { lastError }) },
      flush: sink.stats(),
      limits: limits.stats(),
      dedupe: dedupe.stats(),
      signatures: replays.stats(),
      ...(redis === undefined ? {} : { redis: redis.stats() }),
    })
  }

  metrics(): Promise<string> {
    return this.options.metrics()
  }

  /** Of several workers on one port, the one that answers. */
  private which(): { readonly worker?: number } {
    const { worker } = this.options
    return worker === undefined ? {} : { worker }
  }

  private buffer() {
    const { ringBytes, ringUsedBytes, logBytes, logBytesMax, oldestUnflushedAt } = this.options.log.stats()
    return {
      ring_bytes: ringBytes,
      ring_used_bytes: ringUsedBytes,
      log_bytes: logBytes,
      log_bytes_max: logBytesMax,
      log_utilization: logBytes / logBytesMax,
      oldest_unflushed_age_ms: oldestUnflushedAt === undefined ? 0 : Math.max(0, Date.now() - oldestUnflushedAt),
    }
  }

  private async checkClickHouse(): Promise<DependencyHealth> {
    const answer = await this.options.sink.clickhouse.ping()
    if (isProblem(answer)) return { status: 'down', message: answer.message }
    const flush = this.options.sink.stats()
    const away = 'shards' in flush ? flush.shards.filter(({ failuresInRow }) => failuresInRow > 0) : []
    if (away.length > 0) {
      const numbers = away.map(({ shard }) => shard).join(', ')
      return {
        status: 'down',
        message: `takes no events for shard ${numbers} of the cluster: ${flush.lastError?.code}`,
      }
    }
    return { status: 'ok', response_time_ms: round(answer.responseTimeMs), version: answer.version }
  }

  private async checkControl(): Promise<DependencyHealth> {
    const startedAt = performance.now()
    try {
      await withTimeout(this.options.control.findKeyByHash(NOBODYS_HASH), CONTROL_ANSWERS_WITHIN_MS)
      return { status: 'ok', response_time_ms: round(performance.now() - startedAt) }
    } catch (error) {
      return { status: 'down', message: reasonOf(error) }
    }
  }
}

async function checkRedis(redis: Redis): Promise<DependencyHealth> {
  const answer = await redis.ping()
  if (isRedisFailure(answer)) return { status: 'down', message: answer.message }
  return { status: 'ok', response_time_ms: round(answer.responseTimeMs), version: answer.version }
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100
}
