/** Bounds the memory of request bodies: what all requests together may hold at one time. Full means 503, not a queue. */

export class InFlightBytes {
  private held = 0
  readonly bytesMax: number

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get heldBytes(): number {
    return this.held
  }

  /** False when there is no room; otherwise `release` the same number of bytes later. */
  take(bytes: number): boolean {
    if (this.held + bytes > this.bytesMax) return false
    this.held += bytes
    return true
  }

  release(bytes: number): void {
    this.held -= bytes
  }
}
