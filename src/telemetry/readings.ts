/** What the parts of the collector count anyway, as values of metrics. */
import type { Attributes } from '@opentelemetry/api'
import type { Dedupe } from '../dedupe/dedupe.ts'
import type { InFlightBytes } from '../http/in-flight.ts'
import type { Streams } from '../http/streams.ts'
import type { EventLog } from '../log/event-log.ts'
import type { GroupCommit } from '../log/group-commit.ts'
import type { Pipeline } from '../pipeline.ts'
import type { FlusherStats } from '../sink/flusher-stats.ts'
import { DEPENDENCY, ERROR_TYPE, type MetricName, PROTOCOL } from './catalogue.ts'
import type { Dependencies } from './dependency-watch.ts'
import { EVENT_REASONS, type EventCounts, NO_PROTOCOL, requestReasons } from './event-counts.ts'
import type { EventLoopReading } from './event-loop.ts'

/** Where the values come from. */
export interface Sources {
  readonly pipeline: Pipeline
  readonly groupCommit: GroupCommit
  readonly log: EventLog
  readonly inFlight: InFlightBytes
  readonly streams: Streams
  readonly sink: { stats(): FlusherStats }
  readonly dedupe: Dedupe
  readonly dedupeIdsMax: number
  /** Asks every dependency; ends by itself. */
  dependencies(): Promise<Dependencies>
}

export type Reading = readonly [name: MetricName, value: number, attributes?: Attributes]

/** Everything that `sources` say now. */
export function* readings(sources: Sources, dependencies: Dependencies): Iterable<Reading> {
  yield* ofEvents(sources.pipeline.counts)
  const flush = sources.sink.stats()
  yield* ofLog(sources, flush)
  yield* ofFlush(flush)
  yield* ofDependencies(dependencies)
  const { inFlight, streams, dedupe, dedupeIdsMax } = sources
  yield ['penstock.bodies.usage', inFlight.heldBytes]
  yield ['penstock.bodies.limit', inFlight.bytesMax]
  yield ['penstock.stream.connections', streams.stats().connections]
  yield ['penstock.dedupe.ids', dedupe.stats().ids]
  yield ['penstock.dedupe.ids.limit', dedupeIdsMax]
}

function* ofEvents({ doors, slowDowns, keys }: EventCounts): Iterable<Reading> {
  for (const [protocol, counts] of doors) {
    const attributes = { [PROTOCOL]: protocol }
    for (const code of requestReasons(protocol))
      yield ['penstock.requests.refused', counts.refused[code], { ...attributes, [ERROR_TYPE]: code }]
    if (protocol === NO_PROTOCOL) continue
    yield ['penstock.events.received', counts.received, attributes]
    yield ['penstock.events.accepted', counts.accepted, attributes]
    yield ['penstock.events.duplicates', counts.duplicates, attributes]
    yield ['penstock.events.rate_limited', counts.rejected.rate_limited, attributes]
    yield ['penstock.rate_limit.hits', counts.refused.rate_limited, attributes]
    yield ['penstock.request.bytes', counts.bytes, attributes]
    for (const code of EVENT_REASONS)
      yield ['penstock.events.rejected', counts.rejected[code], { ...attributes, [ERROR_TYPE]: code }]
  }
  yield ['penstock.stream.slow_downs', slowDowns]
  for (const { tenantId, workspaceId, keyId, events } of keys.rows()) {
    const key = { 'penstock.tenant': tenantId, 'penstock.workspace': workspaceId, 'penstock.key': keyId }
    for (const [outcome, count] of Object.entries(events)) yield ['penstock.key.events', count, { ...key, outcome }]
  }
}

function* ofLog({ log, groupCommit }: Sources, { segmentsStuck }: FlusherStats): Iterable<Reading> {
  const stats = log.stats()
  yield ['penstock.ring.usage', stats.ringUsedBytes]
  yield ['penstock.ring.limit', stats.ringBytes]
  yield ['penstock.log.usage', stats.logBytes]
  yield ['penstock.log.limit', stats.logBytesMax]
  yield ['penstock.log.segments', stats.segmentsWaiting, { state: 'waiting' }]
  yield ['penstock.log.segments', Math.max(0, stats.segmentsTaken - segmentsStuck), { state: 'taken' }]
  yield ['penstock.log.segments', segmentsStuck, { state: 'stuck' }]
  const ageMs = stats.oldestUnflushedAt === undefined ? 0 : Date.now() - stats.oldestUnflushedAt
  yield ['penstock.log.oldest_unflushed.age', Math.max(0, ageMs) / 1000]
  yield ['penstock.log.damaged_records', stats.damagedRecords]
  for (const [outcome, commits] of Object.entries(groupCommit.refusals))
    yield ['penstock.commits.refused', commits, { [ERROR_TYPE]: outcome }]
}

function* ofFlush(stats: FlusherStats): Iterable<Reading> {
  yield ['penstock.flush.events', stats.insertedRows]
  yield ['penstock.flush.size', stats.insertedBytes]
  yield ['penstock.dead_letters.events', stats.refusedRows]
  yield ['penstock.dead_letters.files', stats.deadLetters]
}

function* ofDependencies(dependencies: Dependencies): Iterable<Reading> {
  for (const [name, { status, response_time_ms: ms }] of Object.entries(dependencies)) {
    const attributes = { [DEPENDENCY]: name }
    yield ['penstock.dependency.up', status === 'ok' ? 1 : 0, attributes]
    if (ms !== undefined) yield ['penstock.dependency.response.duration', ms / 1000, attributes]
  }
}

/** What the process itself uses. */
export function* ofProcess(eventLoop: EventLoopReading): Iterable<Reading> {
  const { user, system } = process.cpuUsage()
  yield ['process.cpu.time', user / 1e6, { 'cpu.mode': 'user' }]
  yield ['process.cpu.time', system / 1e6, { 'cpu.mode': 'system' }]
  yield ['process.memory.usage', process.memoryUsage.rss()]
  yield ['process.uptime', process.uptime()]
  yield ['nodejs.eventloop.delay.p50', eventLoop.p50]
  yield ['nodejs.eventloop.delay.p90', eventLoop.p90]
  yield ['nodejs.eventloop.delay.p99', eventLoop.p99]
  yield ['nodejs.eventloop.delay.max', eventLoop.max]
  yield ['nodejs.eventloop.utilization', eventLoop.utilization]
}
