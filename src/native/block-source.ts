/** Reads Native blocks as they were written here, from one end to the other. */

/** The blocks are not as ours are written. */
export class NotOurs extends Error {}

/** What comes next of the blocks. Throws `NotOurs` where they end too early. */
export class Source {
  readonly bytes: Buffer
  at = 0

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isEnd(): boolean {
    return this.at === this.bytes.length
  }

  varuint(): number {
    const { bytes } = this
    let value = 0
    for (let shift = 1; shift < 2 ** 35; shift *= 128) {
      const byte = bytes[this.at++]
      if (byte === undefined) throw new NotOurs()
      value += (byte & 0x7f) * shift
      if (byte < 0x80) return value
    }
    throw new NotOurs()
  }

  /** A whole number of 8 bytes. */
  int64(): number {
    const bytes = this.take(8)
    return bytes.readUInt32LE(0) + bytes.readUInt32LE(4) * 2 ** 32
  }

  take(length: number): Buffer {
    const end = this.at + length
    if (end > this.bytes.length) throw new NotOurs()
    const taken = this.bytes.subarray(this.at, end)
    this.at = end
    return taken
  }

  /** So many texts, each with its length in front. */
  takeTexts(count: number): Buffer {
    const begin = this.at
    for (let index = 0; index < count; index++) {
      const length = this.varuint() // moves on itself
      this.at += length
    }
    const end = this.at
    this.at = begin
    return this.take(end - begin)
  }

  /** Whether the column that comes next has this name and type; it is behind them then. */
  isHeader(header: Uint8Array): boolean {
    const end = this.at + header.length
    if (end > this.bytes.length || this.bytes.compare(header, 0, header.length, this.at, end) !== 0) return false
    this.at = end
    return true
  }
}
