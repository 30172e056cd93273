import assert from 'node:assert/strict'

/** A contiguous part of the ring's memory, reserved until it is released. */
export interface RingRegion {
  /** Offset in the ring's memory, in bytes. */
  readonly offset: number
  readonly byteLength: number
}

interface Reservation extends RingRegion {
  /** Position before the reservation, and behind it: positions only grow, a place in memory is position modulo size. */
  readonly begin: number
  readonly end: number
  released: boolean
}

/**
 * Memory of a fixed size, allocated once, handed out in contiguous regions in the order of the log.
 * Regions may be released in any order; space is given back in the order it was reserved.
 * When it is full, `reserve` says so and the caller decides: the write-ahead log goes on without the ring, the memory log refuses.
 */
export class Ring {
  readonly memory: Uint8Array
  #head = 0
  #tail = 0
  #reservations: Reservation[] = []
  #first = 0

  /** @param byteLength size of the ring, in bytes */
  constructor(byteLength: number) {
    assert(Number.isSafeInteger(byteLength) && byteLength >= 0)
    this.memory = new Uint8Array(byteLength)
  }

  /** Bytes reserved, with what is lost at the end of the memory because a region is contiguous. */
  get usedBytes(): number {
    return this.#head - this.#tail
  }

  /** A contiguous region behind the newest one, or undefined when there is no room for it. */
  reserve(byteLength: number): RingRegion | undefined {
    const size = this.memory.byteLength
    if (byteLength > size) return undefined
    let start = this.#head
    const place = start % size
    if (place + byteLength > size) start += size - place
    const end = start + byteLength
    if (end - this.#tail > size) return undefined
    const reservation = { offset: start % size, byteLength, begin: this.#head, end, released: false }
    this.#reservations.push(reservation)
    this.#head = end
    return reservation
  }

  /** Takes the newest reservation back, as if it had never been made. */
  cancel(region: RingRegion): void {
    const newest = this.#reservations.pop()
    assert(newest === region && !newest.released, 'only the newest reservation can be cancelled')
    this.#head = newest.begin
    this.#giveBack()
  }

  /** The region's bytes are not needed any more; its memory is used again when everything before it is released too. */
  release(region: RingRegion): void {
    const reservation = region as Reservation
    assert(!reservation.released, 'a region is released once')
    reservation.released = true
    this.#giveBack()
  }

  #giveBack(): void {
    let oldest = this.#reservations[this.#first]
    while (oldest?.released) {
      this.#tail = oldest.end
      this.#first += 1
      oldest = this.#reservations[this.#first]
    }
    if (oldest === undefined) {
      // Empty: start again at the beginning of the memory, where the longest region fits.
      this.#reservations = []
      this.#first = 0
      const size = this.memory.byteLength
      if (size > 0) this.#head = Math.ceil(this.#head / size) * size
      this.#tail = this.#head
    } else if (this.#first >= 1024 && this.#first * 2 >= this.#reservations.length) {
      this.#reservations = this.#reservations.slice(this.#first)
      this.#first = 0
    }
    assert(this.#tail <= this.#head && this.#head - this.#tail <= this.memory.byteLength)
  }
}
