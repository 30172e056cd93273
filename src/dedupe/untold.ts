/** Ids that are durable here and of which other collectors have yet to be told, because Redis was away: a limited number, the newest. */
import { LOT_IDS_MAX } from './claim-scripts.ts'
import { countOf, type SharedIds } from './shared-ids.ts'

/** Ids that are told together. */
export interface UntoldIds {
  ids: SharedIds
  /** The claims that they settle. */
  readonly fields: string[]
  /** When the first of them became durable, on the clock of `performance.now`. */
  readonly at: number
}

/** A few megabytes. */
const IDS_MAX = 100_000
/** Ids of one workspace that come within so short a time are told together, as many as go in one script. */
const TOGETHER_MS = 1_000

/** A queue; when it is full the oldest are dropped. */
export class Untold {
  private queue: UntoldIds[] = []
  /** Ids that wait. */
  ids = 0
  /** Ids that were dropped. */
  dropped = 0

  /** @param at when they became durable, on the clock of `performance.now` */
  push(ids: SharedIds, fields: readonly string[], at: number): void {
    const last = this.queue.at(-1)
    // The first may be on its way just now.
    if (last !== undefined && this.queue.length > 1 && isTogether(last, ids, at)) {
      last.ids = { ...ids, bytes: Buffer.concat([last.ids.bytes, ids.bytes]) }
      last.fields.push(...fields)
    } else {
      this.queue.push({ ids, fields: [...fields], at })
    }
    this.ids += countOf(ids)
    for (let first = this.first(); first !== undefined && this.ids > IDS_MAX; first = this.first()) {
      this.dropped += countOf(first.ids)
      this.remove(first)
    }
  }

  /** The oldest. */
  first(): UntoldIds | undefined {
    return this.queue[0]
  }

  /** Takes out what `first` has given, if it is still there. */
  remove(told: UntoldIds): void {
    if (this.queue[0] !== told) return
    this.queue.shift()
    this.ids -= countOf(told.ids)
  }
}

function isTogether({ ids, at }: UntoldIds, more: SharedIds, moreAt: number): boolean {
  if (ids.tenantId !== more.tenantId || ids.workspaceId !== more.workspaceId) return false
  return moreAt - at <= TOGETHER_MS && countOf(ids) + countOf(more) <= LOT_IDS_MAX
}
