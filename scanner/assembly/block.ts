/** A block of ClickHouse's Native format in the making, as `src/native/event-block.ts` describes it. */
import { Bytes, varuintBytes } from './bytes'
import { Column } from './columns'
import { Rows } from './rows'
import { COLUMNS, kindOf } from './table'

@unmanaged
export class Block {
  rows: u32 = 0
  private columns: usize = heap.alloc(COLUMNS * 4)

  constructor() {
    for (let column: u32 = 0; column < COLUMNS; column++)
      store<usize>(this.columns + ((<usize>column) << 2), changetype<usize>(new Column(kindOf(column))))
  }

  column(column: u32): Column {
    return changetype<Column>(load<usize>(this.columns + ((<usize>column) << 2)))
  }

  append(from: Rows): void {
    for (let column: u32 = 0; column < COLUMNS; column++)
      this.column(column).append(from.column(column), from.pathsOf(column), from.valuesOf(column))
    this.rows += from.count
  }

  /** Exact size, in bytes. */
  bytes(): u32 {
    let columns: u32 = 0
    let bytes: u32 = 0
    for (let column: u32 = 0; column < COLUMNS; column++) {
      if (this.column(column).isDefault(this.rows)) continue
      columns++
      bytes += this.column(column).bytes()
    }
    return bytes + varuintBytes(columns) + varuintBytes(this.rows)
  }

  write(to: Bytes): void {
    let columns: u32 = 0
    for (let column: u32 = 0; column < COLUMNS; column++) columns += u32(!this.column(column).isDefault(this.rows))
    to.appendVaruint(columns)
    to.appendVaruint(this.rows)
    for (let column: u32 = 0; column < COLUMNS; column++)
      if (!this.column(column).isDefault(this.rows)) this.column(column).write(to)
  }

  clear(): void {
    this.rows = 0
    for (let column: u32 = 0; column < COLUMNS; column++) this.column(column).clear()
  }
}
