/**
 * A JSON column in ClickHouse's Native format. Every value goes into the column's shared data, a map from path to value, so that a
 * row costs what its own values cost, however many distinct keys its neighbours have:
 *
 *     u64 0 (serialization version 1), varuint max_dynamic_paths, varuint 0 (paths with columns of their own)
 *     u64 a row: where its entries end in what follows (counted in entries, cumulative)
 *     the path of every entry: string, dots for nesting, sorted within the row by their bytes
 *     the value of every entry: string holding the value with its type in front (see `json-value.ts`)
 *
 * ClickHouse moves the most frequent paths into columns of their own when it merges parts (`max_dynamic_paths` of the table).
 *
 * Paths are known by a trie of keys that is kept from block to block. What may come in here is decided before, in `json-shape.ts`.
 */
import { ByteBuffer, varuintBytes, writeVaruint } from './byte-buffer.ts'
import { type Column, columnHeader } from './columns.ts'
import { appendJsonValue } from './json-value.ts'
import { type Path, type PathNode, PathTrie, UNRANKED } from './path-trie.ts'

export type JsonObject = { readonly [key: string]: unknown }

/** Up to this many values in a row, sorting by insertion beats the library's sort. */
const INSERTION_SORT_MAX = 32

export class JsonColumn implements Column {
  rows = 0
  readonly header: Uint8Array
  private readonly prefix: Uint8Array
  private readonly trie: PathTrie
  private readonly ends = new ByteBuffer(2048)
  private readonly paths = new ByteBuffer(8192)
  private readonly values = new ByteBuffer(8192)
  private entries = 0
  /** The row being appended: its paths and values, side by side. */
  private readonly rowPaths: Path[] = []
  private readonly rowValues: unknown[] = []

  /** @param dynamicPathsMax `max_dynamic_paths` of the table's column: another one would make ClickHouse convert every value */
  constructor(name: string, dynamicPathsMax: number, trie = new PathTrie()) {
    this.trie = trie
    this.header = columnHeader(name, `JSON(max_dynamic_paths=${dynamicPathsMax})`)
    this.prefix = new Uint8Array(8 + varuintBytes(dynamicPathsMax) + 1)
    writeVaruint(this.prefix, 8, dynamicPathsMax)
  }

  get isDefault(): boolean {
    return this.entries === 0
  }

  append(object: JsonObject): void {
    const { rowPaths, rowValues, trie } = this
    this.collect(object, trie.root)
    if (trie.hasUnranked && this.hasUnranked() && !trie.rankAll()) this.librarySort((a, b) => trie.compare(a, b))
    else if (rowPaths.length <= INSERTION_SORT_MAX) this.insertionSort()
    else this.librarySort((a, b) => a.rank - b.rank)
    let last: Path | undefined
    for (let index = 0; index < rowPaths.length; index++) {
      const path = rowPaths[index] as Path
      // {"a.b": 1} and {"a%2Eb": 1} are one path to ClickHouse, and so are two lone surrogates: the first stays.
      if (path === last) continue
      last = path
      this.paths.append(path.bytes)
      appendJsonValue(this.values, rowValues[index])
      this.entries++
    }
    rowPaths.length = 0
    rowValues.length = 0
    this.ends.int64(this.entries)
    this.rows++
  }

  private collect(object: JsonObject, node: PathNode): void {
    for (const key in object) {
      const value = object[key]
      if (value === null) continue
      const child = node.children.get(key) ?? this.trie.add(node, key)
      if (typeof value === 'object' && !Array.isArray(value)) {
        this.collect(value as JsonObject, child)
      } else {
        this.rowPaths.push(child.path ?? this.trie.addPath(child))
        this.rowValues.push(value)
      }
    }
  }

  private hasUnranked(): boolean {
    for (const { rank } of this.rowPaths) if (rank === UNRANKED) return true
    return false
  }

  private insertionSort(): void {
    const { rowPaths, rowValues } = this
    for (let index = 1; index < rowPaths.length; index++) {
      const path = rowPaths[index] as Path
      if ((rowPaths[index - 1] as Path).rank <= path.rank) continue
      const value = rowValues[index]
      let at = index
      for (; at > 0 && (rowPaths[at - 1] as Path).rank > path.rank; at--) {
        rowPaths[at] = rowPaths[at - 1] as Path
        rowValues[at] = rowValues[at - 1]
      }
      rowPaths[at] = path
      rowValues[at] = value
    }
  }

  private librarySort(compare: (a: Path, b: Path) => number): void {
    const { rowPaths, rowValues } = this
    const order = rowPaths
      .map((path, index) => ({ path, value: rowValues[index] }))
      .sort((a, b) => compare(a.path, b.path))
    for (const [index, { path, value }] of order.entries()) {
      rowPaths[index] = path
      rowValues[index] = value
    }
  }

  byteLength(): number {
    return this.header.length + this.prefix.length + this.ends.length + this.paths.length + this.values.length
  }

  writeTo(target: Uint8Array, offset: number): number {
    target.set(this.header, offset)
    target.set(this.prefix, offset + this.header.length)
    let at = offset + this.header.length + this.prefix.length
    at = this.ends.copyTo(target, at)
    at = this.paths.copyTo(target, at)
    return this.values.copyTo(target, at)
  }

  clear(): void {
    this.rows = 0
    this.entries = 0
    // Something is in them when a row could not be appended.
    this.rowPaths.length = 0
    this.rowValues.length = 0
    this.ends.clear()
    this.paths.clear()
    this.values.clear()
    this.trie.trim()
  }
}
