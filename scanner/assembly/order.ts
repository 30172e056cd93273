/**
 * The order of paths, which is that of the bytes of their texts, as ranks of the nodes at which a value has stood.
 *
 * A new node has no rank yet: one more rank would change those of all behind it. Until then it is compared by its text. When that has been
 * done as often as there are nodes here, all new ones get their ranks at once. So clients that invent keys make no more work than n log n, and
 * of keys that stay nothing but ranks is compared. `src/native/path-trie.ts` does the same.
 */
import { Bytes, compare } from './bytes'
import { Node, textOf } from './keys'

/** Ranks of nodes at which no value has stood, and of those that wait for their rank. */
export const NO_RANK: i32 = -1
const WAITING: i32 = -2

/** Nodes with a rank, in the order of it, and those that wait for one. */
const ranked = new Bytes(4096)
const waiting = new Bytes(1024)
/** Nodes that are being merged. */
const merging = new Bytes(1024)
/** Since ranks were given last. */
let comparisons: u32 = 0
let work: u64 = 0

/** Texts that were compared and ranks that were given: what the order of paths has cost, whatever the machine. */
export function orderWork(): f64 {
  return <f64>work
}

/** When all nodes are forgotten. */
export function forgetRanks(): void {
  ranked.clear()
  waiting.clear()
  comparisons = 0
}

/** A value stands at a node without a rank: it is to have one. */
export function wantRank(node: Node): void {
  if (node.rank === WAITING) return
  node.rank = WAITING
  waiting.ensure(4)
  store<usize>(waiting.end, changetype<usize>(node))
  waiting.length += 4
}

/** Gives ranks to all nodes that wait for one if it is time to; says whether it has. To be asked once for a row with such a node. */
export function rankAll(): bool {
  const before = ranked.length >> 2
  const more = waiting.length >> 2
  const count = before + more
  // To be asked costs something, too: a node that is alone in its rows is compared with nothing.
  if (comparisons++ < count) return false
  sortByText(waiting.begin, more)
  ranked.appendAll(waiting)
  waiting.clear()
  if (before > 0) merge(ranked.begin, before, count)
  for (let rank: u32 = 0; rank < count; rank++) nodeAt(ranked.begin, rank).rank = rank
  work += count
  comparisons = 0
  return true
}

/** Sorts nodes, given by their addresses one behind the other. */
export function sortByText(at: usize, count: u32): void {
  for (let width: u32 = 1; width < count; width <<= 1) {
    for (let begin: u32 = 0; begin + width < count; begin += width << 1)
      merge(at + ((<usize>begin) << 2), width, min(width << 1, count - begin))
  }
}

/** Makes one sorted run of two that follow one another, of `middle` nodes and of the rest. */
function merge(at: usize, middle: u32, length: u32): void {
  if (compareTexts(nodeAt(at, middle - 1), nodeAt(at, middle)) <= 0) return
  merging.clear()
  merging.append(at, middle << 2)
  let left: u32 = 0
  let right = middle
  for (let to = at; left < middle; to += 4) {
    const isRight = right < length && compareTexts(nodeAt(at, right), nodeAt(merging.begin, left)) < 0
    const node = isRight ? nodeAt(at, right++) : nodeAt(merging.begin, left++)
    store<usize>(to, changetype<usize>(node))
  }
}

function nodeAt(begin: usize, index: u32): Node {
  return changetype<Node>(load<usize>(begin + ((<usize>index) << 2)))
}

function compareTexts(one: Node, other: Node): i32 {
  comparisons++
  work++
  return compare(textOf(one), one.textLength, textOf(other), other.textLength)
}
