/** Reads the beginning of a Native block, piece by piece, as `byte-buffer.ts` and `columns.ts` have written it. */

/** Behind the end of the block everything is undefined. */
export class BlockReader {
  private readonly block: Buffer
  private position = 0

  constructor(block: Uint8Array) {
    this.block = Buffer.from(block.buffer, block.byteOffset, block.byteLength)
  }

  /** Unsigned LEB128 below 2^32. */
  varuint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.block[this.position++] ?? 0
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) break
    }
    return value
  }

  string(): string | undefined {
    return this.bytes(this.varuint())?.toString()
  }

  bytes(length: number): Buffer | undefined {
    const start = this.position
    this.position += length
    return this.position <= this.block.byteLength ? this.block.subarray(start, this.position) : undefined
  }

  /** What gives a row's value in a `LowCardinality(String)` column; the layout is described at `LowCardinalityColumn`. */
  lowCardinality(rows: number): ((row: number) => string) | undefined {
    this.bytes(8) // version
    const indexBytes = 1 << ((this.uint64() ?? 0) & 0xff)
    const dictionary = this.strings(this.uint64() ?? 0)
    const indexes = this.uint64() === rows ? this.bytes(indexBytes * rows) : undefined
    if (dictionary === undefined || indexes === undefined || indexBytes > 4) return undefined
    const view = new DataView(indexes.buffer, indexes.byteOffset, indexes.byteLength)
    return (row) => {
      const at = row * indexBytes
      const index =
        indexBytes === 1 ? view.getUint8(at) : indexBytes === 2 ? view.getUint16(at, true) : view.getUint32(at, true)
      return dictionary[index] ?? ''
    }
  }

  strings(count: number): string[] | undefined {
    const values: string[] = []
    for (let index = 0; index < count; index++) {
      const value = this.string()
      if (value === undefined) return undefined
      values.push(value)
    }
    return values
  }

  private uint64(): number | undefined {
    const bytes = this.bytes(8)
    return bytes && Number(bytes.readBigUInt64LE())
  }
}
