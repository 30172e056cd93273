/** Segments that wait for the flusher, the lowest number first, and those who wait for a segment. */
export class SealedQueue<Segment extends { readonly number: number }> {
  #waiting: Segment[] = []
  #first = 0
  #takers: ((segment: Segment | undefined) => void)[] = []
  #isClosed = false

  /** Segments that nobody has taken. */
  get length(): number {
    return this.#waiting.length - this.#first
  }

  /** Adds a segment at its place in the order, or hands it to who waits. */
  push(segment: Segment): void {
    const taker = this.#takers.shift()
    if (taker !== undefined) {
      taker(segment)
      return
    }
    let place = this.#waiting.length
    while (place > this.#first && (this.#waiting[place - 1]?.number ?? 0) > segment.number) place -= 1
    if (place === this.#waiting.length) this.#waiting.push(segment)
    else this.#waiting.splice(place, 0, segment)
  }

  /** The lowest number; waits for one; undefined once the queue is closed and empty. */
  take(): Promise<Segment | undefined> {
    const segment = this.#waiting[this.#first]
    if (segment !== undefined) {
      this.#first += 1
      if (this.#first >= 1024 && this.#first * 2 >= this.#waiting.length) {
        this.#waiting = this.#waiting.slice(this.#first)
        this.#first = 0
      }
      return Promise.resolve(segment)
    }
    if (this.#isClosed) return Promise.resolve(undefined)
    return new Promise((resolve) => this.#takers.push(resolve))
  }

  /** Nothing is added any more: who waits gets undefined. */
  close(): void {
    this.#isClosed = true
    for (const taker of this.#takers.splice(0)) taker(undefined)
  }
}
