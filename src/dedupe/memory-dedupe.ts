/**
 * Deduplication in one process. The ids of a request are put into the table at once, under a mark that is the request's own; while that
 * mark is among the running ones, another copy waits. When the request's commit is durable its mark stops running, and that is all: its
 * ids are seen. When the commit failed, they are taken out again.
 */
import assert from 'node:assert/strict'
import type { Batch } from '../batch.ts'
import type { Dedupe, DedupeStats, PendingCopy, Reservation } from './dedupe.ts'
import { type IdKeys, KEY_BYTES, KEY_WORDS, type WorkspaceKeys } from './id-keys.ts'
import { IdTable, type IdTableOptions } from './id-table.ts'
import { RunningMarks } from './running-marks.ts'

/** What deduplication in memory is made with. */
export interface MemoryDedupeOptions extends IdTableOptions {
  readonly keys: IdKeys
  /** A clock that never goes back, in ms. */
  readonly monotonicNow?: () => number
}

/** The mark of ids that were durable before this process began. */
const SEEN = 1

/** What is known of an id: durable, being committed by a request of this process, or nothing. */
export type IdState = 'seen' | 'pending' | 'unknown'

/** What became of an id that a reservation had for fresh, when someone else was asked. */
export type Verdict = 'fresh' | 'seen' | 'forgotten'

/** See the head of the file. */
export class MemoryDedupe implements Dedupe {
  private readonly keys: IdKeys
  private readonly table: IdTable
  private readonly now: () => number
  private readonly running = new RunningMarks<MemoryReservation>(SEEN + 1)
  private duplicates = 0
  /** Keys of the ids of the request that is being looked at. */
  private words = new Int32Array(KEY_WORDS * 128)

  constructor(options: MemoryDedupeOptions) {
    this.keys = options.keys
    this.now = options.monotonicNow ?? (() => performance.now())
    this.table = new IdTable(options, this.now())
  }

  reserve(batch: Batch): MemoryReservation {
    const { table, running } = this
    const words = this.keysOf(batch)
    const mark = running.next()
    const ids: number[] = []
    const pending: PendingCopy[] = []
    let duplicates = 0
    let fresh: number[] | undefined
    let at = 0
    for (let index = 0; index < batch.length; index++) {
      if (batch.hasId(index)) {
        const first = words[at++] as number
        const second = words[at++] as number
        const third = words[at++] as number
        const found = table.add(first, second, third, mark)
        if (found !== 0) {
          fresh ??= Array.from({ length: index }, (_, before) => before)
          const other = running.get(found) // not this request itself: its second copy of an event is a duplicate
          if (other === undefined) duplicates++
          else pending.push({ index, settled: other.settled })
          continue
        }
        ids.push(first, second, third)
      }
      fresh?.push(index)
    }
    this.duplicates += duplicates
    const freshBatch = fresh === undefined ? batch : batch.pick(fresh)
    const reservation = new MemoryReservation(this, mark, freshBatch, ids, duplicates, pending)
    if (ids.length > 0) running.set(mark, reservation)
    return reservation
  }

  /** The keys of those events that have ids; the table is ready for them. */
  private keysOf(batch: Batch): Int32Array {
    const needed = KEY_WORDS * batch.length
    if (this.words.length < needed) this.words = new Int32Array(needed)
    const { words } = this
    let keys: WorkspaceKeys | undefined
    let length = 0
    for (let index = 0; index < batch.length; index++) {
      if (!batch.hasId(index)) continue
      keys ??= this.keys.of(batch.tenantId, batch.workspaceId)
      const key = batch.keyOf(index, keys)
      words[length++] = key.first
      words[length++] = key.second
      words[length++] = key.third
    }
    if (length === 0) return words
    this.table.tick(this.now())
    this.table.readAhead(words, length)
    return words
  }

  /** What is known of an id now, whose 16 bytes (see `native/uuid.ts`) begin at `offset`. */
  stateOf(tenantId: string, workspaceId: string, bytes: DataView, offset: number): IdState {
    const { first, second, third } = this.keys.of(tenantId, workspaceId).ofBytes(bytes, offset)
    this.table.tick(this.now())
    const mark = this.table.markOf(first, second, third)
    return mark === 0 ? 'unknown' : this.running.get(mark) === undefined ? 'seen' : 'pending'
  }

  /** Ids that were durable before, as the log kept their keys; the oldest first. */
  restore(keys: Uint8Array): void {
    assert(keys.byteLength % KEY_BYTES === 0)
    const words = new Int32Array(keys.byteLength / 4)
    new Uint8Array(words.buffer).set(keys)
    this.table.tick(this.now())
    this.table.addAll(words, SEEN)
  }

  /** A reservation is over; ids that did not become durable are unknown again. */
  settle(mark: number, ids: readonly number[], durable: boolean): void {
    if (ids.length > 0 && !durable) this.forget(mark, ids)
    this.running.end(mark)
  }

  /** Takes ids out that were put in under this mark. */
  forget(mark: number, ids: readonly number[]): void {
    for (let at = 0; at < ids.length; at += KEY_WORDS) {
      this.table.remove(ids[at] as number, ids[at + 1] as number, ids[at + 2] as number, mark)
    }
  }

  /** Adds copies that someone else has found. */
  countDuplicates(count: number): void {
    this.duplicates += count
  }

  stats(): DedupeStats {
    this.table.tick(this.now())
    const { keys, bytes, coveredMs } = this.table
    return { ids: keys, bytes, duplicates: this.duplicates, coveredMs: Math.round(coveredMs) }
  }

  async close(): Promise<void> {}
}

/** The ids of one request on their way to the log. */
export class MemoryReservation implements Reservation {
  fresh: Batch
  ids: readonly number[]
  duplicates: number
  readonly undecided = 0
  readonly pending: readonly PendingCopy[]
  private readonly owner: MemoryDedupe
  private readonly mark: number
  private isSettled = false
  private settlement: PromiseWithResolvers<void> | undefined

  constructor(
    owner: MemoryDedupe,
    mark: number,
    fresh: Batch,
    ids: readonly number[],
    duplicates: number,
    pending: readonly PendingCopy[],
  ) {
    this.owner = owner
    this.mark = mark
    this.fresh = fresh
    this.ids = ids
    this.duplicates = duplicates
    this.pending = pending
  }

  /** Resolves when the reservation is settled. */
  get settled(): Promise<void> {
    this.settlement ??= Promise.withResolvers()
    return this.settlement.promise
  }

  /** Goes on with a part of the fresh events; there is a verdict for each of them that has an id, in their order. */
  narrow(verdicts: readonly Verdict[]): void {
    const kept: number[] = []
    const forgotten: number[] = []
    const fresh: number[] = []
    let position = 0
    let seen = 0
    for (let index = 0; index < this.fresh.length; index++) {
      if (!this.fresh.hasId(index)) {
        fresh.push(index)
        continue
      }
      const at = KEY_WORDS * position
      const verdict = verdicts[position++]
      if (verdict === 'seen') seen++
      else (verdict === 'fresh' ? kept : forgotten).push(...this.ids.slice(at, at + KEY_WORDS))
      if (verdict === 'fresh') fresh.push(index)
    }
    this.fresh = this.fresh.pick(fresh)
    this.ids = kept
    this.duplicates += seen
    this.owner.countDuplicates(seen)
    this.owner.forget(this.mark, forgotten)
  }

  settle(durable: boolean): undefined {
    assert(!this.isSettled, 'a reservation is settled once')
    this.isSettled = true
    this.owner.settle(this.mark, this.ids, durable)
    this.settlement?.resolve()
  }
}
