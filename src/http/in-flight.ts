/** Bounds the memory of request bodies: what all requests together may hold at one time. Full means 503, not a queue. */

export class InFlightBytes {
  private held = 0
  readonly bytesMax: number
  private readonly whole: InFlightBytes | undefined

  /** @param whole of which this is a part: what is held here is held there too */
  constructor(bytesMax: number, whole?: InFlightBytes) {
    this.bytesMax = bytesMax
    this.whole = whole
  }

  get heldBytes(): number {
    return this.held
  }

  /** False when there is no room; otherwise `release` the same number of bytes later. */
  take(bytes: number): boolean {
    if (this.held + bytes > this.bytesMax || this.whole?.take(bytes) === false) return false
    this.held += bytes
    return true
  }

  release(bytes: number): void {
    this.held -= bytes
    this.whole?.release(bytes)
  }

  /** Makes room in this part: from now on they are held in the whole alone, to be released there. */
  leave(bytes: number): void {
    this.held -= bytes
  }
}
