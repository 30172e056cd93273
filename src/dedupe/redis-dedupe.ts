/**
 * Deduplication across collectors. The memory of this process is asked first: what it knows needs no round trip. Events that are new to
 * it are claimed in Redis, all ids of a request at once; when they are durable, and before the request is answered, the others are told.
 *
 * A copy of what another collector is committing is looked at again for a short time, and then left undecided: the client is to come
 * again. When Redis is away every collector goes by its memory alone, and tells the others afterwards, as far as it can keep that.
 *
 * After a start, claims that this collector had not settled are: the ids that are in its log are durable, the others free again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Batch } from '../batch.ts'
import { UUID_BYTES } from '../native/uuid.ts'
import { isRedisFailure, type Redis } from '../redis.ts'
import type { Logger } from '../telemetry/logger.ts'
import { LOT_IDS_MAX } from './claim-scripts.ts'
import type { Dedupe, DedupeStats, PendingCopy, Reservation } from './dedupe.ts'
import type { IdState, MemoryDedupe, MemoryReservation, Verdict } from './memory-dedupe.ts'
import { type ClaimVerdict, SharedClaims } from './shared-claims.ts'
import { countOf, lotsOf, pick, type SharedIds, sharedIds } from './shared-ids.ts'
import { Untold } from './untold.ts'

/** What deduplication across collectors is made with. */
export interface RedisDedupeOptions {
  readonly memory: MemoryDedupe
  readonly redis: Redis
  /** Random, the same after a start with the same log. */
  readonly collectorId: string
  readonly windowMs: number
  readonly logger: Logger
  /** How long a copy of what another collector is committing is looked at again. */
  readonly patienceMs?: number
}

const PATIENCE_MS = 2_000
/** Waits between two looks double from the first to the last. */
const LOOK_MIN_MS = 5
const LOOK_MAX_MS = 200
/** For the last of them, at the end. */
const LAST_TELL_MS = 1_000
/** Between two attempts to tell the others what they do not know. */
const TELL_INTERVAL_MS = 250

/** See the head of the file. */
export class RedisDedupe implements Dedupe {
  private readonly options: RedisDedupeOptions
  private readonly claims: SharedClaims
  private readonly untold = new Untold()
  private readonly counts = { duplicates: 0, unasked: 0, undecided: 0 }
  private readonly closing = new AbortController()
  private hasLeftClaims = true
  private telling: Promise<void> | undefined

  constructor(options: RedisDedupeOptions) {
    this.options = options
    this.claims = new SharedClaims(options.redis, options.collectorId, options.windowMs)
    this.tellLater()
  }

  reserve(batch: Batch): Reservation | Promise<Reservation> {
    const reservation = this.options.memory.reserve(batch)
    return reservation.ids.length === 0 ? reservation : this.share(reservation)
  }

  stats(): DedupeStats {
    const shared = { ...this.counts, untold: this.untold.ids, neverTold: this.untold.dropped }
    return { ...this.options.memory.stats(), shared }
  }

  /** What the others do not know yet is told them, if Redis is there. */
  async close(): Promise<void> {
    this.closing.abort()
    await this.telling
    await this.tell(performance.now() + LAST_TELL_MS)
    this.untold.dropped += this.untold.ids
  }

  private async share(reservation: MemoryReservation): Promise<Reservation> {
    const ids = sharedIds(reservation.fresh)
    const fields: string[] = []
    const verdicts = await this.claim(ids, fields)
    const claimed = positionsOf('c', verdicts)
    const undecided = positionsOf('p', verdicts).length
    if (claimed.length < verdicts.length)
      reservation.narrow(Array.from(verdicts, (verdict) => OUTCOMES[verdict as ClaimVerdict]))
    this.counts.undecided += undecided
    this.counts.duplicates += verdicts.length - claimed.length - undecided
    return new SharedReservation(reservation, undecided, (durable) =>
      claimed.length === 0 ? undefined : this.settle(pick(ids, claimed), fields, durable),
    )
  }

  /** A verdict for each id, after the claims of other collectors were waited for. `fields` gets the names of the claims made. */
  private async claim(ids: SharedIds, fields: string[]): Promise<string> {
    const deadline = performance.now() + (this.options.patienceMs ?? PATIENCE_MS)
    let verdicts = await this.look(ids, fields, 'c')
    for (let waitMs = LOOK_MIN_MS; verdicts.includes('p'); waitMs = Math.min(2 * waitMs, LOOK_MAX_MS)) {
      if (performance.now() + waitMs > deadline) break
      await sleep(waitMs)
      const found = await this.look(pick(ids, positionsOf('p', verdicts)), fields, 'p')
      let next = 0
      verdicts = verdicts.replaceAll('p', () => found[next++] as string)
    }
    return verdicts
  }

  /**
   * One round trip for every LOT_IDS_MAX ids. When nobody can be asked this collector decides alone: `c` at the first look; but what
   * another one had a moment ago stays undecided: `p`.
   */
  private async look(ids: SharedIds, fields: string[], alone: ClaimVerdict): Promise<string> {
    const found = lotsOf(ids, LOT_IDS_MAX).map(async (lot) => {
      const field = this.claims.nextField()
      fields.push(field)
      const verdicts = this.options.redis.available ? await this.claims.claim(lot, field) : undefined
      if (verdicts !== undefined && !isRedisFailure(verdicts)) return verdicts
      if (alone === 'c') this.counts.unasked += countOf(lot)
      return alone.repeat(countOf(lot))
    })
    return (await Promise.all(found)).join('')
  }

  private async settle(ids: SharedIds, fields: readonly string[], durable: boolean): Promise<void> {
    const at = performance.now()
    const told = lotsOf(ids, LOT_IDS_MAX).map(async (lot) => {
      // A release is not tried again: by then the id may be claimed for a new attempt. The claim ends by itself.
      if (!durable) return void (await this.claims.release(lot, fields))
      const isTold = this.options.redis.available && (await this.claims.confirm(lot, fields)) === undefined
      if (!isTold) this.untold.push(lot, fields, at)
    })
    await Promise.all(told)
    if (this.untold.ids > 0) this.tellLater()
  }

  /** One loop, as long as there is something to tell. */
  private tellLater(): void {
    if (!this.closing.signal.aborted) this.telling ??= this.keepTelling()
  }

  private async keepTelling(): Promise<void> {
    const { signal } = this.closing
    do {
      await this.tell()
      await sleep(TELL_INTERVAL_MS, undefined, { signal }).catch(() => undefined)
    } while (!signal.aborted && (this.hasLeftClaims || this.untold.ids > 0))
    this.telling = undefined
  }

  private async tell(deadline = Number.POSITIVE_INFINITY): Promise<void> {
    if (!this.options.redis.available) return
    if (this.hasLeftClaims && !(await this.settleLeftClaims())) return
    for (let next = this.untold.first(); next !== undefined; next = this.untold.first()) {
      const ageMs = performance.now() - next.at
      if (performance.now() > deadline) return
      const isTooOld = ageMs >= this.options.windowMs
      if (!isTooOld && (await this.claims.confirmOld(next.ids, next.fields, ageMs)) !== undefined) return
      this.untold.remove(next)
    }
  }

  /** What the process before had claimed when it ended. False when Redis does not answer. */
  private async settleLeftClaims(): Promise<boolean> {
    const left = await this.claims.left()
    if (isRedisFailure(left)) return false
    for (const { field, ...ids } of left) {
      // Between this look and the sending of the commands nothing else can happen, and commands come in their order.
      const { seen, unknown } = this.statesOf(ids)
      const failures = await Promise.all([
        this.claims.confirmOld(seen, [field], 0),
        this.claims.release(unknown, [field]),
      ])
      if (failures.some((failure) => failure !== undefined)) return false
    }
    this.hasLeftClaims = false
    if (left.length > 0)
      this.options.logger.info({ claims: left.length }, 'claims on event ids that were left are settled')
    return true
  }

  private statesOf(ids: SharedIds): { readonly seen: SharedIds; readonly unknown: SharedIds } {
    const { tenantId, workspaceId, bytes } = ids
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const positions: Record<IdState, number[]> = { seen: [], unknown: [], pending: [] }
    for (let position = 0; position < countOf(ids); position++)
      positions[this.options.memory.stateOf(tenantId, workspaceId, view, UUID_BYTES * position)].push(position)
    return { seen: pick(ids, positions.seen), unknown: pick(ids, positions.unknown) }
  }
}

function positionsOf(wanted: ClaimVerdict, verdicts: string): number[] {
  const positions: number[] = []
  for (let at = 0; at < verdicts.length; at++) if (verdicts[at] === wanted) positions.push(at)
  return positions
}

const OUTCOMES: Readonly<Record<ClaimVerdict, Verdict>> = {
  c: 'fresh',
  d: 'seen',
  p: 'forgotten',
}

/** A reservation that other collectors know of. */
class SharedReservation implements Reservation {
  readonly undecided: number
  private readonly own: MemoryReservation
  private readonly tell: (durable: boolean) => Promise<void> | undefined

  constructor(own: MemoryReservation, undecided: number, tell: (durable: boolean) => Promise<void> | undefined) {
    this.own = own
    this.undecided = undecided
    this.tell = tell
  }

  get fresh(): Batch {
    return this.own.fresh
  }

  get ids(): readonly number[] {
    return this.own.ids
  }

  get duplicates(): number {
    return this.own.duplicates
  }

  get pending(): readonly PendingCopy[] {
    return this.own.pending
  }

  settle(durable: boolean): Promise<void> | undefined {
    this.own.settle(durable)
    return this.tell(durable)
  }
}
