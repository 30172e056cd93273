/**
 * A set of signatures in little memory: 48 bits of each, in an open-addressed table. HMACs are spread evenly, so their bits are positions
 * as they are. That two of one set share 48 bits is less likely than a broken disk; the second one would be refused.
 */

const ROOM_MIN = 8
const FILL = 0.7
/** What an object of this class, its table, and its place in a Map take besides the table's content; as measured. */
const OVERHEAD_BYTES = 500
const EMPTY = -1
const REMOVED = -2

/** See the head of this file. */
export class SignatureSet {
  #table = new Float64Array(ROOM_MIN).fill(EMPTY)
  #taken = 0
  #removed = 0

  get size(): number {
    return this.#taken - this.#removed
  }

  /** Memory that it takes. */
  get bytes(): number {
    return OVERHEAD_BYTES + this.#table.byteLength
  }

  has(signature: Buffer): boolean {
    return this.#find(short(signature)) >= 0
  }

  /** Adds one that is not there. */
  add(signature: Buffer): void {
    if (this.#taken + 1 > this.#table.length * FILL) this.#grow()
    this.#put(short(signature))
  }

  /** False: it was not there. */
  remove(signature: Buffer): boolean {
    const at = this.#find(short(signature))
    if (at < 0) return false
    this.#table[at] = REMOVED
    this.#removed++
    return true
  }

  #find(value: number): number {
    const table = this.#table
    let at = value % table.length
    while (table[at] !== EMPTY) {
      if (table[at] === value) return at
      at = at + 1 === table.length ? 0 : at + 1
    }
    return -1
  }

  #put(value: number): void {
    const table = this.#table
    let at = value % table.length
    while (table[at] !== EMPTY) at = at + 1 === table.length ? 0 : at + 1
    table[at] = value
    this.#taken++
  }

  #grow(): void {
    const before = this.#table
    const room = Math.max(ROOM_MIN, Math.ceil((this.size + 1) * 2))
    this.#table = new Float64Array(room).fill(EMPTY)
    this.#taken = 0
    this.#removed = 0
    for (const value of before) if (value >= 0) this.#put(value)
  }
}

function short(signature: Buffer): number {
  return signature.readUIntBE(0, 6)
}
