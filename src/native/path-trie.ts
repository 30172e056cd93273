/**
 * The paths of JSON objects seen so far: from the keys on the way down to the path's bytes and its place in their order.
 * It is a cache, and keys are the clients' choice: it is begun anew when it has grown large.
 *
 * A new path has no rank yet: one more rank would change those of all behind it. Until then it is compared by its text. When that has been
 * done as often as there are paths, all new ones get their ranks at once. So clients that invent keys make no more work than n log n, and of
 * keys that stay nothing but ranks is compared.
 */
import { nativeString } from './byte-buffer.ts'

const NODES_MAX = 16_384
const KEY_CHARS_MAX = 1024 * 1024

const DOT = 0x2e
/** U+D800 to U+DFFF have these first five bits. */
const SURROGATES = 0xd800

/** The rank of a path that has none yet. */
export const UNRANKED = -1

export interface Path {
  /** Keys joined by dots, as a string in Native form. */
  readonly bytes: Uint8Array
  /** The text alone. */
  readonly utf8: Uint8Array
  /** Orders paths by the bytes of their text. May change with any new path: compare ranks, do not keep them. */
  rank: number
}

export interface PathNode {
  readonly text: string
  readonly children: Map<string, PathNode>
  /** Undefined until a value stands here. */
  path: Path | undefined
}

export class PathTrie {
  root: PathNode = { text: '', children: new Map(), path: undefined }
  private nodes = 0
  private keyChars = 0
  private byText = new Map<string, Path>()
  private ranked: Path[] = []
  private unranked: Path[] = []
  /** Since ranks were given last. */
  private comparisons = 0
  /** Texts that were compared and ranks that were given: what the order of paths has cost, whatever the machine. */
  work = 0

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
      path = { bytes: nativeString(node.text), utf8: Buffer.from(node.text), rank: UNRANKED }
      this.byText.set(node.text, path)
      this.unranked.push(path)
    }
    node.path = path
    return path
  }

  /** Whether any path has no rank. */
  get hasUnranked(): boolean {
    return this.unranked.length > 0
  }

  /** Orders paths of which some may have no rank. */
  compare(one: Path, other: Path): number {
    return one.rank !== UNRANKED && other.rank !== UNRANKED ? one.rank - other.rank : this.compareTexts(one, other)
  }

  /** Gives ranks to all paths if it is time to; says whether it has. To be asked once for a row with a path that has none. */
  rankAll(): boolean {
    const { ranked, unranked } = this
    // To be asked costs something, too: a path that is alone in its rows is compared with nothing.
    if (this.comparisons++ < ranked.length + unranked.length) return false
    unranked.sort((one, other) => this.compareTexts(one, other))
    // Merged from the end, in place: what is before the first new one stays as it is.
    let from = ranked.length - 1
    for (const path of unranked) ranked.push(path)
    for (let to = ranked.length - 1; unranked.length > 0; to--) {
      const known = ranked[from]
      const added = unranked[unranked.length - 1] as Path
      const isAdded = known === undefined || this.compareTexts(known, added) < 0
      const path = isAdded ? added : known
      if (isAdded) unranked.pop()
      else from--
      path.rank = to
      ranked[to] = path
      this.work++
    }
    this.comparisons = 0
    return true
  }

  private compareTexts(one: Path, other: Path): number {
    this.comparisons++
    this.work++
    return Buffer.compare(one.utf8, other.utf8)
  }

  /** Forgets everything when it has become too much. Only between blocks. */
  trim(): void {
    if (this.nodes < NODES_MAX && this.keyChars < KEY_CHARS_MAX) return
    this.root = { text: '', children: new Map(), path: undefined }
    this.nodes = 0
    this.keyChars = 0
    this.byText = new Map()
    this.ranked = []
    this.unranked = []
    this.comparisons = 0
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
