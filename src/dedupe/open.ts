/** Builds deduplication as the configuration has it, and brings back the ids that the log kept. */
import type { EventLog } from '../log/event-log.ts'
import { readBlockIds } from '../native/block-ids.ts'
import type { Redis } from '../redis.ts'
import type { Logger } from '../telemetry/logger.ts'
import { type Dedupe, NO_DEDUPE } from './dedupe.ts'
import { IdKeys, KEY_WORDS } from './id-keys.ts'
import { MemoryDedupe } from './memory-dedupe.ts'
import { RedisDedupe } from './redis-dedupe.ts'

/** What deduplication is opened with. */
export interface DedupeOptions {
  /** 0: every event is new. */
  readonly windowMs: number
  readonly idsMax: number
  readonly log: EventLog
  /** Of several collectors; undefined: this one is alone. */
  readonly redis?: Redis | undefined
  readonly logger: Logger
}

/** Before the first event is taken. */
export async function openDedupe({ windowMs, idsMax, log, redis, logger }: DedupeOptions): Promise<Dedupe> {
  if (windowMs === 0) return NO_DEDUPE
  const keys = new IdKeys(log.id)
  const memory = new MemoryDedupe({ windowMs, idsMax, keys })
  const begunAt = performance.now()
  await log.restoreIds({
    keysOf: (block) => keysOfBlock(keys, block),
    take: (restored) => memory.restore(restored),
  })
  const { ids } = memory.stats()
  if (ids > 0) logger.info({ ids, ms: Math.round(performance.now() - begunAt) }, 'event ids of before are known again')
  return redis === undefined ? memory : new RedisDedupe({ memory, redis, collectorId: log.id, windowMs, logger })
}

/** The keys of all ids in a block: those that this collector made are there, too, and do no harm. */
function keysOfBlock(keys: IdKeys, block: Uint8Array): Uint8Array | undefined {
  const ids = readBlockIds(block)
  if (ids === undefined) return undefined
  const words = new Int32Array(KEY_WORDS * ids.rows)
  for (let row = 0; row < ids.rows; row++) {
    const workspace = keys.of(ids.tenantOf(row), ids.workspaceOf(row))
    const { first, second, third } = workspace.ofBytes(ids.eventIds, 16 * row)
    words[KEY_WORDS * row] = first
    words[KEY_WORDS * row + 1] = second
    words[KEY_WORDS * row + 2] = third
  }
  return new Uint8Array(words.buffer)
}
