/** The events of one request as columns, before it is decided which of them are stored. */
import { Bytes, SLACK } from './bytes'
import { Entry } from './dictionary'
import { COLUMNS, PROPERTIES } from './table'

/** Runs of bytes in rows. */
const RUNS: u32 = COLUMNS + 5

/**
 * Of each column what its rows have, one behind the other: values of one size as they are, texts with their length in front, of
 * LowCardinality the entry of the dictionary, of JSON where a row's entries end. Their paths and values stand beside.
 *
 * They begin small, since requests of one event may wait in large numbers, and have grown where they are used again.
 */
@unmanaged
export class Rows {
  count: u32 = 0
  private columns: usize = heap.alloc(COLUMNS * 4)
  /** One byte a row: whether the event's id is the client's. */
  areIdsGiven: Bytes = new Bytes(16)
  propertyPaths: Bytes = new Bytes(128)
  propertyValues: Bytes = new Bytes(128)
  contextPaths: Bytes = new Bytes(64)
  contextValues: Bytes = new Bytes(64)

  constructor() {
    for (let column: u32 = 0; column < COLUMNS; column++)
      store<usize>(this.columns + ((<usize>column) << 2), changetype<usize>(new Bytes(32)))
  }

  @inline
  column(column: u32): Bytes {
    return changetype<Bytes>(load<usize>(this.columns + ((<usize>column) << 2)))
  }

  /** Paths and values of a JSON column. */
  pathsOf(column: u32): Bytes {
    return column === PROPERTIES ? this.propertyPaths : this.contextPaths
  }

  valuesOf(column: u32): Bytes {
    return column === PROPERTIES ? this.propertyValues : this.contextValues
  }

  putText(column: u32, text: usize, length: u32): void {
    this.column(column).appendText(text, length)
  }

  putNoText(column: u32): void {
    this.column(column).appendByte(0)
  }

  putInt64(column: u32, value: i64): void {
    this.column(column).appendInt64(value)
  }

  putEntry(column: u32, entry: Entry | null): void {
    const to = this.column(column)
    to.ensure(4)
    store<usize>(to.end, changetype<usize>(entry))
    to.length += 4
  }

  /** Bytes of paths and values. */
  jsonBytes(): u32 {
    return this.propertyPaths.length + this.propertyValues.length + this.contextPaths.length + this.contextValues.length
  }

  /** Bytes of memory that they hold. */
  memory(): u32 {
    let bytes = RUNS * (<u32>offsetof<Bytes>() + SLACK) + this.areIdsGiven.capacity
    for (let column: u32 = 0; column < COLUMNS; column++) bytes += this.column(column).capacity
    bytes += this.propertyPaths.capacity + this.propertyValues.capacity
    return bytes + this.contextPaths.capacity + this.contextValues.capacity
  }

  /** Gives all memory back; they are not to be used any more. */
  free(): void {
    for (let column: u32 = 0; column < COLUMNS; column++) this.column(column).free()
    heap.free(this.columns)
    this.areIdsGiven.free()
    this.propertyPaths.free()
    this.propertyValues.free()
    this.contextPaths.free()
    this.contextValues.free()
    heap.free(changetype<usize>(this))
  }

  clear(): void {
    this.count = 0
    for (let column: u32 = 0; column < COLUMNS; column++) this.column(column).clear()
    this.areIdsGiven.clear()
    this.propertyPaths.clear()
    this.propertyValues.clear()
    this.contextPaths.clear()
    this.contextValues.clear()
  }
}
