/** Joins Native blocks of events into one: the block that `event-block.ts` would have made of all their events. */
import assert from 'node:assert/strict'
import { NotOurs, Source } from './block-source.ts'
import { varuintBytes, writeVaruint } from './byte-buffer.ts'
import { COLUMN_HEADERS } from './event-block.ts'
import { columnOf } from './join-columns.ts'

/** Joins one group of blocks after the other; keeps its memory between them. */
export class BlockJoiner {
  private readonly columns = COLUMN_HEADERS.map((header) => ({ header, data: columnOf(header) }))
  private rows = 0

  /**
   * Takes more blocks of the group.
   * @param blocks one behind the other
   * @returns false when one is not as ours are written: the group cannot be joined, and a new one begins
   */
  add(blocks: Uint8Array): boolean {
    const source = new Source(blocks)
    try {
      while (!source.isEnd) this.read(source)
      return true
    } catch (error) {
      this.clear()
      if (error instanceof NotOurs) return false
      throw error
    }
  }

  /** One block with the rows of all, in their order: the same bytes for the same blocks. A new group begins. */
  take(): Uint8Array {
    const block = this.written()
    this.clear()
    return block
  }

  private clear(): void {
    this.rows = 0
    for (const { data } of this.columns) data.clear()
  }

  private read(source: Source): void {
    let left = source.varuint()
    const rows = source.varuint()
    if (rows > source.bytes.length) throw new NotOurs() // each takes a byte of some column at least
    for (const { header, data } of this.columns) {
      if (left > 0 && source.isHeader(header)) {
        data.read(source, rows)
        left--
      } else data.addDefaults(rows)
    }
    if (left > 0) throw new NotOurs()
    this.rows += rows
  }

  private written(): Uint8Array {
    const columns = this.columns.filter(({ data }) => !data.isDefault)
    let bytes = varuintBytes(columns.length) + varuintBytes(this.rows)
    for (const { header, data } of columns) bytes += header.length + data.byteLength
    const block = new Uint8Array(bytes)
    let at = writeVaruint(block, writeVaruint(block, 0, columns.length), this.rows)
    for (const { header, data } of columns) {
      block.set(header, at)
      at = data.writeTo(block, at + header.length)
    }
    assert.equal(at, bytes)
    return block
  }
}
