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
import { isRedisFailure, type Redis } from '../redis.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Dedupe, DedupeStats, PendingCopy, Reservation } from './dedupe.ts'
import type { MemoryDedupe, MemoryReservation, Verdict } from './memory-dedupe.ts'
import { type ClaimVerdict, SharedClaims, type SharedIds, sharedIds } from './shared-claims.ts'
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
/** Ids in one command. */
const PART_IDS_MAX = 1_000
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
    const claimed: string[] = []
    const outcomes = verdicts.map((verdict, index): Verdict => {
      if (verdict === 'claimed') claimed.push(ids.uuids[index] as string)
      return OUTCOMES[verdict]
    })
    const undecided = outcomes.filter((outcome) => outcome === 'forgotten').length
    if (claimed.length < ids.uuids.length) reservation.narrow(outcomes)
    this.counts.undecided += undecided
    this.counts.duplicates += ids.uuids.length - claimed.length - undecided
    return new SharedReservation(reservation, undecided, (durable) =>
      claimed.length === 0 ? undefined : this.settle({ ...ids, uuids: claimed }, fields, durable),
    )
  }

  /** A verdict for each id, after the claims of other collectors were waited for. `fields` gets the names of the claims made. */
  private async claim(ids: SharedIds, fields: string[]): Promise<ClaimVerdict[]> {
    const deadline = performance.now() + (this.options.patienceMs ?? PATIENCE_MS)
    const verdicts = new Array<ClaimVerdict>(ids.uuids.length).fill('elsewhere')
    let open = [...verdicts.keys()]
    for (let waitMs = LOOK_MIN_MS; ; waitMs = Math.min(2 * waitMs, LOOK_MAX_MS)) {
      const isFirst = fields.length === 0
      await Promise.all(partsOf(open).map((part) => this.claimPart(ids, part, fields, isFirst, verdicts)))
      open = open.filter((index) => verdicts[index] === 'elsewhere')
      if (open.length === 0 || performance.now() + waitMs > deadline) return verdicts
      await sleep(waitMs)
    }
  }

  /** One round trip, for the ids at these positions. */
  private async claimPart(
    ids: SharedIds,
    positions: readonly number[],
    fields: string[],
    isFirst: boolean,
    verdicts: ClaimVerdict[],
  ): Promise<void> {
    const field = this.claims.nextField()
    fields.push(field)
    const uuids = positions.map((position) => ids.uuids[position] as string)
    const found = this.options.redis.available ? await this.claims.claim({ ...ids, uuids }, field) : undefined
    if (found === undefined || isRedisFailure(found)) {
      // Nobody can be asked: this collector decides alone. But what another one had a moment ago stays undecided.
      if (!isFirst) return
      for (const position of positions) verdicts[position] = 'claimed'
      this.counts.unasked += positions.length
    } else {
      for (const [index, position] of positions.entries()) verdicts[position] = found[index] as ClaimVerdict
    }
  }

  private async settle(ids: SharedIds, fields: readonly string[], durable: boolean): Promise<void> {
    const at = performance.now()
    const told = partsOf(ids.uuids).map(async (uuids) => {
      const part = { ...ids, uuids }
      // A release is not tried again: by then the id may be claimed for a new attempt. The claim ends by itself.
      if (!durable) return void (await this.claims.release(part, fields))
      const isTold = this.options.redis.available && (await this.claims.confirm(part, fields)) === undefined
      if (!isTold) this.untold.push(part, fields, at)
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
      if (!isTooOld && (await this.claims.confirm(next.ids, next.fields, ageMs)) !== undefined) return
      this.untold.remove(next)
    }
  }

  /** What the process before had claimed when it ended. False when Redis does not answer. */
  private async settleLeftClaims(): Promise<boolean> {
    const { memory, logger } = this.options
    const left = await this.claims.left()
    if (isRedisFailure(left)) return false
    for (const { field, ...ids } of left) {
      // Between this look and the sending of the commands nothing else can happen, and commands come in their order.
      const states = ids.uuids.map((uuid) => memory.stateOf(ids.tenantId, ids.workspaceId, uuid))
      const of = (state: (typeof states)[number]) => ({
        ...ids,
        uuids: ids.uuids.filter((_, at) => states[at] === state),
      })
      const failures = await Promise.all([
        this.claims.confirm(of('seen'), [field]),
        this.claims.release(of('unknown'), [field]),
      ])
      if (failures.some((failure) => failure !== undefined)) return false
    }
    this.hasLeftClaims = false
    if (left.length > 0) logger.info({ claims: left.length }, 'claims on event ids that were left are settled')
    return true
  }
}

/** In pieces that Redis does in about a millisecond. */
function partsOf<Item>(items: readonly Item[]): Item[][] {
  const parts: Item[][] = []
  for (let at = 0; at < items.length; at += PART_IDS_MAX) parts.push(items.slice(at, at + PART_IDS_MAX))
  return parts
}

const OUTCOMES: Readonly<Record<ClaimVerdict, Verdict>> = {
  claimed: 'fresh',
  durable: 'seen',
  elsewhere: 'forgotten',
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
