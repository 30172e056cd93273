/** Ids that are durable here and of which other collectors have yet to be told, because Redis was away: a few, and not for ever. */
import type { SharedIds } from './shared-claims.ts'

/** Ids of one request. */
export interface UntoldIds {
  readonly ids: SharedIds
  /** The claims that they settle. */
  readonly fields: readonly string[]
  /** When they became durable, on the clock of `performance.now`. */
  readonly at: number
}

/** About 10 MB. */
const IDS_MAX = 100_000

/** A queue; when it is full the oldest are dropped. */
export class Untold {
  private requests: UntoldIds[] = []
  private ids = 0
  /** Requests that were dropped. */
  dropped = 0

  /** Requests that wait. */
  get length(): number {
    return this.requests.length
  }

  push(request: UntoldIds): void {
    this.requests.push(request)
    this.ids += request.ids.uuids.length
    while (this.ids > IDS_MAX) {
      this.shift()
      this.dropped++
    }
  }

  /** The oldest; it stays. */
  first(): UntoldIds | undefined {
    return this.requests[0]
  }

  /** Takes the oldest out. */
  shift(): void {
    this.ids -= this.requests.shift()?.ids.uuids.length ?? 0
  }
}
