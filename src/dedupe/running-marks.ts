/**
 * The requests whose commits are not settled, found by their marks: numbers of 32 bits, one after the other. An array instead of a map,
 * because there are two changes a request: the place of a mark is its low bits, and a mark whose place is taken is not used.
 *
 * After 2^32 requests marks come again. An id that an old request of the same mark left behind then waits for a commit that it has
 * nothing to do with, a few milliseconds.
 */
export class RunningMarks<Request> {
  private readonly first: number
  private last: number
  private places: ({ readonly mark: number; readonly request: Request } | undefined)[] = []
  private running = 0

  /** @param first the lowest mark that is given out; 0 and those below it never are */
  constructor(first: number) {
    this.first = first
    this.last = first - 1
    this.places = new Array(1024).fill(undefined)
  }

  /** A mark that no running request has. */
  next(): number {
    do this.last = (this.last + 1) | 0
    while (
      (this.last >= 0 && this.last < this.first) ||
      this.places[this.last & (this.places.length - 1)] !== undefined
    )
    return this.last
  }

  /** The mark that `next` gave last is this request's, until `end`. */
  set(mark: number, request: Request): void {
    this.places[mark & (this.places.length - 1)] = { mark, request }
    if (++this.running > this.places.length / 2) this.grow()
  }

  /** The running request with this mark. */
  get(mark: number): Request | undefined {
    const found = this.places[mark & (this.places.length - 1)]
    return found?.mark === mark ? found.request : undefined
  }

  /** The request with this mark is settled; nothing happens when none has it. */
  end(mark: number): void {
    if (this.get(mark) === undefined) return
    this.places[mark & (this.places.length - 1)] = undefined
    this.running--
  }

  private grow(): void {
    const places = new Array(2 * this.places.length).fill(undefined)
    for (const found of this.places) if (found !== undefined) places[found.mark & (places.length - 1)] = found
    this.places = places
  }
}
