/** Reads Native blocks as they were written here, from one end to the other. Nothing is allocated: a block of a few rows has two dozen columns. */
import type { ByteBuffer } from './byte-buffer.ts'

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
    const at = this.skip(8)
    return this.bytes.readUInt32LE(at) + this.bytes.readUInt32LE(at + 4) * 2 ** 32
  }

  /** Moves on; gives where it was. */
  skip(length: number): number {
    const begin = this.at
    this.at += length
    if (this.at > this.bytes.length) throw new NotOurs()
    return begin
  }

  /** Moves on behind so many texts, each with its length in front; gives where it was. */
  skipTexts(count: number): number {
    const begin = this.at
    for (let index = 0; index < count; index++) {
      const length = this.varuint() // moves on itself
      this.skip(length)
    }
    return begin
  }

  /** Appends all from there to here. */
  copy(begin: number, target: ByteBuffer): void {
    target.appendPart(this.bytes, begin, this.at)
  }

  /** Whether the column that comes next has this name and type; it is behind them then. */
  isHeader(header: Uint8Array): boolean {
    const { bytes, at } = this
    for (let index = 0; index < header.length; index++) if (bytes[at + index] !== header[index]) return false
    this.at = at + header.length
    return true
  }
}
