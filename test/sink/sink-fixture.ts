/** What the tests of the flusher share: a real log, real blocks, a database with the real tables. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Event } from '../../src/event.ts'
import type { EncodedBlock } from '../../src/log/event-log.ts'
import { WriteAheadLog, type WriteAheadLogOptions } from '../../src/log/write-ahead-log.ts'
import { EventBlock } from '../../src/native/event-block.ts'
import { Flusher, type FlusherOptions } from '../../src/sink/flusher.ts'
import { type InsertOutcome, type InsertTarget, insertNative } from '../../src/sink/insert.ts'
import { migrate } from '../../src/sink/migrations.ts'
import { QUERY_IS_RUNNING } from '../../src/sink/retry-rules.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import type { TestClickHouse } from '../support/clickhouse.ts'
import { makeEvent } from '../support/events.ts'

export const LOGGER = createLogger({ level: 'silent' })

/** A directory that is removed with `remove()`. */
export function temporaryDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'penstock-sink-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** A database with the tables of the migrations. */
export async function preparedTarget(server: TestClickHouse): Promise<InsertTarget> {
  const target = { url: server.url, user: 'default', password: '', database: await server.createDatabase() }
  const outcome = await migrate({ clickhouse: target, logger: LOGGER })
  if (!('applied' in outcome)) throw new Error(outcome.message)
  return target
}

/** An event received now. */
export function event(changes: Partial<Event> = {}): Event {
  const now = Date.now()
  const properties = { plan: 'pro', price: 9.5, items: [1, 2] }
  return makeEvent({ occurredAt: now, receivedAt: now, userId: 'user', properties, ...changes })
}

/** The bytes of a block of events, complete but for what `makeEvent` adds. */
export function blockOf(events: readonly Partial<Event>[]): Uint8Array {
  const block = new EventBlock()
  for (const changes of events) block.append(makeEvent(changes))
  const bytes = new Uint8Array(block.byteLength)
  block.writeTo(bytes, 0)
  return bytes
}

/** The bytes of a block of so many events; their `path` is /<name>/<index>. */
export function blockBytes(name: string, rows = 1): Uint8Array {
  return blockOf(Array.from({ length: rows }, (_, index) => event({ path: `/${name}/${index}` })))
}

/** Tries an insert again, as the flusher does, while another one with its token runs: one that was answered may not be quite over. */
export async function settled(insert: () => Promise<InsertOutcome>): Promise<InsertOutcome> {
  for (;;) {
    const outcome = await insert()
    const isRunning = outcome.outcome === 'failed' && outcome.failure.exceptionCode === QUERY_IS_RUNNING
    if (!isRunning) return outcome
    await Bun.sleep(1)
  }
}

/** Inserts events as one segment. */
export function insertEvents(
  target: InsertTarget,
  events: readonly Partial<Event>[],
  token: string,
): Promise<InsertOutcome> {
  const bytes = blockOf(events)
  return settled(() => insertNative(target, { body: [bytes], bodyBytes: bytes.length, token }))
}

/** A block as the log takes it. */
export function encoded(bytes: Uint8Array, rows = 1): EncodedBlock {
  return { rows, byteLength: bytes.byteLength, writeTo: (target, offset) => target.set(bytes, offset) }
}

/** A log that seals only when it is told to. */
export function openLog(directory: string, changes: Partial<WriteAheadLogOptions> = {}): Promise<WriteAheadLog> {
  return WriteAheadLog.open({
    directory: join(directory, 'log'),
    segmentBytes: 64 * 1024 * 1024,
    flushIntervalMs: 3_600_000,
    ringBytes: 1024 * 1024,
    logBytesMax: 1024 * 1024 * 1024,
    logger: LOGGER,
    ...changes,
  })
}

/** Commits blocks as one segment. */
export async function commitSegment(log: WriteAheadLog, blocks: readonly EncodedBlock[]): Promise<void> {
  const outcome = await log.commit(blocks)
  if (outcome !== 'durable') throw new Error(outcome)
  await log.seal()
}

/** A flusher that retries fast. */
export function makeFlusher(
  log: WriteAheadLog,
  target: InsertTarget,
  directory: string,
  changes: Partial<FlusherOptions> = {},
): Flusher {
  return new Flusher({
    log,
    target,
    logger: LOGGER,
    deadLettersDirectory: join(directory, 'dead-letters'),
    retryMinMs: 10,
    retryMaxMs: 200,
    ...changes,
  })
}

/** Waits until it is so; throws after a time that only a failure needs. */
export async function until(condition: () => boolean | Promise<boolean>, withinMs = 60_000): Promise<void> {
  const end = performance.now() + withinMs
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${condition}`)
    await Bun.sleep(10)
  }
}
