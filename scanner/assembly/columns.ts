/** Columns of a Native block, as `src/native/columns.ts` and `json-column.ts` describe them: these write the same bytes. */
import { Bytes } from './bytes'
import { Entry } from './dictionary'
import { Kind } from './table'

/** Number of the block that is being gathered: what entries know of another one does not hold. */
let gathering: u32 = 1

export function beginBlock(): void {
  gathering++
}

/** LowCardinality: `u64 1`, `u64 0x600 | index type`, `u64 entries`, the dictionary, `u64 rows`, the indexes; of these the numbers. */
const LOW_CARDINALITY_BYTES: u32 = 32

/** JSON: `u64 0`, varuint `max_dynamic_paths`, varuint 0; the former is 0 in the tables. */
const JSON_PREFIX_BYTES: u32 = 10
const JSON_PREFIX = memory.data(16)

/** A column of any kind. */
@unmanaged
export class Column {
  private kind: Kind
  /** Name and type. */
  header: Bytes = new Bytes(64)
  /** Of fixed size and text: the values. Of LowCardinality: the indexes. Of JSON: where the rows' entries end. */
  private data: Bytes = new Bytes(2048)
  /** Of LowCardinality. */
  private dictionary: Bytes
  private entries: u32 = 0
  private isWide: bool = false
  /** Of JSON. */
  private paths: Bytes
  private values: Bytes

  constructor(kind: Kind) {
    this.kind = kind
    this.dictionary = new Bytes(kind === Kind.LOW_CARDINALITY ? 512 : 0)
    this.paths = new Bytes(kind === Kind.JSON ? 4096 : 0)
    this.values = new Bytes(kind === Kind.JSON ? 4096 : 0)
    this.clear()
  }

  append(rows: Bytes, paths: Bytes, values: Bytes): void {
    if (this.kind === Kind.LOW_CARDINALITY) this.appendEntries(rows)
    else if (this.kind === Kind.JSON) this.appendJson(rows, paths, values)
    else this.data.append(rows.begin, rows.length)
  }

  private appendEntries(rows: Bytes): void {
    const end = rows.end
    this.data.ensure(rows.length)
    for (let at = rows.begin; at < end; at += 4) {
      const entry = changetype<Entry>(load<usize>(at))
      const index = entry.block === gathering ? entry.index : this.add(entry)
      if (this.isWide) {
        store<u16>(this.data.end, index)
        this.data.length += 2
      } else {
        store<u8>(this.data.end, index)
        this.data.length++
      }
    }
  }

  private add(entry: Entry): u32 {
    entry.block = gathering
    entry.index = 0
    if (entry.length === 0) return 0
    entry.index = this.entries++
    this.dictionary.appendText(entry.text, entry.length)
    if (entry.index === 0x100) this.widen()
    return entry.index
  }

  /** Indexes of two bytes from now on, also those that are there. */
  private widen(): void {
    const data = this.data
    const rows = data.length
    data.ensure(data.capacity)
    for (let row = rows; row > 0; row--) store<u16>(data.begin + ((row - 1) << 1), load<u8>(data.begin + row - 1))
    data.length = rows * 2
    this.isWide = true
  }

  private appendJson(ends: Bytes, paths: Bytes, values: Bytes): void {
    const before = this.lastEnd()
    const data = this.data
    data.ensure(ends.length)
    for (let at: u32 = 0; at < ends.length; at += 8) store<u64>(data.end + at, load<u64>(ends.begin + at) + before)
    data.length += ends.length
    this.paths.append(paths.begin, paths.length)
    this.values.append(values.begin, values.length)
  }

  private lastEnd(): u64 {
    return this.data.length === 0 ? 0 : load<u64>(this.data.end - 8)
  }

  /** Whether every value is its default: then a block leaves the column out. */
  isDefault(rows: u32): bool {
    if (this.kind === Kind.LOW_CARDINALITY) return this.entries === 1
    if (this.kind === Kind.JSON) return this.lastEnd() === 0
    return this.kind === Kind.TEXT && this.data.length === rows
  }

  /** Exact size of what `write` writes. */
  bytes(): u32 {
    const bytes =
      this.header.length + this.data.length + this.dictionary.length + this.paths.length + this.values.length
    if (this.kind === Kind.LOW_CARDINALITY) return bytes + LOW_CARDINALITY_BYTES
    return this.kind === Kind.JSON ? bytes + JSON_PREFIX_BYTES : bytes
  }

  write(to: Bytes): void {
    to.appendAll(this.header)
    if (this.kind === Kind.LOW_CARDINALITY) {
      to.appendInt64(1)
      to.appendInt64(this.isWide ? 0x601 : 0x600)
      to.appendInt64(this.entries)
      to.appendAll(this.dictionary)
      to.appendInt64(this.isWide ? this.data.length >> 1 : this.data.length)
    } else if (this.kind === Kind.JSON) to.append(JSON_PREFIX, JSON_PREFIX_BYTES)
    to.appendAll(this.data)
    if (this.kind !== Kind.JSON) return
    to.appendAll(this.paths)
    to.appendAll(this.values)
  }

  clear(): void {
    this.data.clear()
    this.paths.clear()
    this.values.clear()
    if (this.kind !== Kind.LOW_CARDINALITY) return
    this.dictionary.clear()
    this.dictionary.appendByte(0) // entry 0 is the empty text
    this.entries = 1
    this.isWide = false
  }
}
