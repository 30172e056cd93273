/** Segments that wait for a flusher, the lowest number first, and those who wait for a segment: each may want some numbers only. */

/** Whether a segment of this number is wanted. */
export type IsWanted = (number: number) => boolean

interface Taker<Segment> {
  readonly isWanted: IsWanted
  readonly resolve: (segment: Segment | undefined) => void
}

const ANY: IsWanted = () => true

export class SealedQueue<Segment extends { readonly number: number }> {
  #waiting: Segment[] = []
  #first = 0
  #takers: Taker<Segment>[] = []
  #isClosed = false

  /** Segments that nobody has taken. */
  get length(): number {
    return this.#waiting.length - this.#first
  }

  /** Whether somebody waits for a segment that is not there. */
  get hasTaker(): boolean {
    return this.#takers.length > 0
  }

  /** Adds a segment at its place in the order, or hands it to who waits for it. */
  push(segment: Segment): void {
    const index = this.#takers.findIndex(({ isWanted }) => isWanted(segment.number))
    const [taker] = index < 0 ? [] : this.#takers.splice(index, 1)
    if (taker !== undefined) {
      taker.resolve(segment)
      return
    }
    let place = this.#waiting.length
    while (place > this.#first && (this.#waiting[place - 1]?.number ?? 0) > segment.number) place -= 1
    if (place === this.#waiting.length) this.#waiting.push(segment)
    else this.#waiting.splice(place, 0, segment)
  }

  /** The lowest number that is wanted; waits for one; undefined once the queue is closed and has none. */
  take(isWanted: IsWanted = ANY): Promise<Segment | undefined> {
    let place = this.#first
    while (place < this.#waiting.length && !isWanted(this.#waiting[place]?.number ?? 0)) place += 1
    const segment = this.#waiting[place]
    if (segment !== undefined) {
      if (place > this.#first) this.#waiting.splice(place, 1)
      else this.#first += 1
      if (this.#first >= 1024 && this.#first * 2 >= this.#waiting.length) {
        this.#waiting = this.#waiting.slice(this.#first)
        this.#first = 0
      }
      return Promise.resolve(segment)
    }
    if (this.#isClosed) return Promise.resolve(undefined)
    return new Promise((resolve) => this.#takers.push({ isWanted, resolve }))
  }

  /** Nothing is added any more: who waits gets undefined. */
  close(): void {
    this.#isClosed = true
    for (const taker of this.#takers.splice(0)) taker.resolve(undefined)
  }
}
