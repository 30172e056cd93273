/**
 * The paths of JSON objects seen so far: from the keys on the way down to the path's bytes and its place in their order.
 * It is a cache, and keys are the clients' choice: it is begun anew when it has grown large.
 */
import { nativeString } from './byte-buffer.ts'

const NODES_MAX = 16_384
const KEY_CHARS_MAX = 1024 * 1024

const DOT = 0x2e
/** U+D800 to U+DFFF have these first five bits. */
const SURROGATES = 0xd800

export interface Path {
  /** Keys joined by dots, as a string in Native form. */
  readonly bytes: Uint8Array
  /** Orders paths by the bytes of their text. Renumbered when a path is added: compare ranks, do not keep them. */
  rank: number
}

export interface PathNode {
  readonly text: string
  readonly children: Map<string, PathNode>
  /** Undefined until a value stands here. */
  path: Path | undefined
}

interface SortedPath extends Path {
  readonly utf8: Uint8Array
}

export class PathTrie {
  root: PathNode = { text: '', children: new Map(), path: undefined }
  private nodes = 0
  private keyChars = 0
  private byText = new Map<string, SortedPath>()
  private sorted: SortedPath[] = []

  /** The node of `key` below `node`, made. */
  add(node: PathNode, key: string): PathNode {
    const text = node === this.root ? pathPart(key) : `${node.text}.${pathPart(key)}`
    const child: PathNode = { text, children: new Map(), path: undefined }
    node.children.set(key, child)
    this.nodes++
    this.keyChars += text.length
    return child
  }

  /** Makes the path of a node at which a value stands for the first time. */
  addPath(node: PathNode): Path {
    let path = this.byText.get(node.text)
    if (path === undefined) {
      path = { bytes: nativeString(node.text), utf8: Buffer.from(node.text), rank: 0 }
      this.byText.set(node.text, path)
      this.insert(path)
    }
    node.path = path
    return path
  }

  private insert(path: SortedPath): void {
    let low = 0
    let high = this.sorted.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (Buffer.compare((this.sorted[middle] as SortedPath).utf8, path.utf8) < 0) low = middle + 1
      else high = middle
    }
    this.sorted.splice(low, 0, path)
    for (let rank = low; rank < this.sorted.length; rank++) (this.sorted[rank] as SortedPath).rank = rank
  }

  /** Forgets everything when it has become too much. Only between blocks. */
  trim(): void {
    if (this.nodes < NODES_MAX && this.keyChars < KEY_CHARS_MAX) return
    this.root = { text: '', children: new Map(), path: undefined }
    this.nodes = 0
    this.keyChars = 0
    this.byText = new Map()
    this.sorted = []
  }
}

/**
 * A key as a part of a path. A dot inside it is escaped, as ClickHouse's `json_type_escape_dots_in_keys` does it: {"a.b": 1} is not
 * {"a": {"b": 1}}. A lone surrogate is U+FFFD already here and not only in the bytes: ClickHouse refuses, for ever, an object in an array that has
 * one path twice.
 */
export function pathPart(key: string): string {
  // Looking for either in one loop is quicker than asking for both.
  for (let at = 0; at < key.length; at++) {
    const unit = key.charCodeAt(at)
    if (unit === DOT || (unit & 0xf800) === SURROGATES) return key.replaceAll('.', '%2E').toWellFormed()
  }
  return key
}
