/**
 * The keys of JSON objects that were met, as a tree: a node for every key below the keys around it. It knows where a value in a row of
 * ClickHouse's JSON type goes (its path), and which key of an event has a meaning of its own.
 *
 * It is a cache, and keys are the clients' choice: it is begun anew when it has grown large. Most objects have the keys of the one
 * before, in the same order; so a node remembers which came next, and that is compared before anything is searched.
 */
import { Arena, copy, hash, isEqual, varuintBytes, writeVaruint } from './bytes'
import { forgetRanks, NO_RANK } from './order'
import { BACKSLASH, CLOSE_OBJECT, COLON, COMMA, characterEnd, plainEnd, QUOTE, skipSpace } from './text'

const NODES_MAX: u32 = 16384
const TEXT_BYTES_MAX: u32 = 4 * 1024 * 1024
/** As the reader of objects has it; longer ones are its business. */
const KEY_BYTES_MAX: u32 = 256

/** Twice the nodes. A power of two. */
const SLOTS: u32 = 2 * NODES_MAX

const DOT: u32 = 0x2e
const PERCENT: u32 = 0x25

@unmanaged
export class Node {
  /** The key as it stands in the body, and the quote behind it. */
  key: usize = 0
  keyLength: u32 = 0
  hash: u32 = 0
  parent: Node | null = null
  /** The key that came next, and the first one below, when this one was met last. */
  next: Node | null = null
  first: Node | null = null
  /** The object in which it was met last. */
  object: u32 = 0
  /** Which of an event's own keys it is; 0: none. */
  field: u32 = 0
  /** The keys down to here, joined by dots, as varuint length and text: where ClickHouse's JSON type has the value. */
  path: usize = 0
  pathLength: u32 = 0
  /** Of `pathLength`, that of the text alone. */
  textLength: u32 = 0
  /** Orders paths by the bytes of their texts; may change with any new path. Below 0: there is none, see `order.ts`. */
  rank: i32 = -1
  /** Of the value that stands here in the row that is being sorted. */
  position: u32 = 0
}

const arena = new Arena()
const slots = memory.data(SLOTS * 4)
let nodes: u32 = 0

/** Too many keys to go on with: `forgetKeys` before the next scan. */
export function areKeysMany(): bool {
  return nodes >= NODES_MAX || arena.bytes > TEXT_BYTES_MAX
}

/** Forgets all nodes. */
export function forgetKeys(): void {
  memory.fill(slots, 0, SLOTS * 4)
  arena.clear()
  forgetRanks()
  nodes = 0
}

/** A node that is no key: objects of one kind begin here. */
export function newRoot(): Node {
  const root = changetype<Node>(arena.take(<u32>offsetof<Node>()))
  root.rank = NO_RANK
  return root
}

/** Where the value of the key begins that was read last. */
export let valueAt: usize = 0
/** Whether the object has ended behind the value that was read last. */
export let isEnd: bool = false

/**
 * Reads the key that begins at `at`; its value begins at `valueAt`.
 * @param before the key before it in the same object
 * @returns null when it is not plain: no key, with escapes, not UTF-8, too long, or one too many
 */
export function readKey(at: usize, parent: Node, before: Node | null): Node | null {
  if (load<u8>(at) !== QUOTE) return null
  let node: Node | null = before === null ? parent.first : before.next
  if (node === null || !isEqual(at + 1, node.key, node.keyLength + 1)) {
    const end = keyEnd(at + 1)
    if (end === 0) return null
    node = findNode(parent, at + 1, <u32>(end - at - 1))
    if (node === null) return null
    if (before === null) parent.first = node
    else before.next = node
  }
  at = skipSpace(at + node.keyLength + 2)
  if (load<u8>(at) !== COLON) return null
  valueAt = skipSpace(at + 1)
  return node
}

/** From behind a value to the next key, or, when `isEnd`, behind the object; 0 when neither follows. */
export function behindValue(at: usize): usize {
  at = skipSpace(at)
  const next: u32 = load<u8>(at)
  isEnd = next === CLOSE_OBJECT
  if (isEnd) return at + 1
  return next === COMMA ? skipSpace(at + 1) : 0
}

function keyEnd(at: usize): usize {
  while (true) {
    at = plainEnd(at)
    const byte: u32 = load<u8>(at)
    if (byte === QUOTE) return at
    if (byte === BACKSLASH || byte < 0x20) return 0
    at = characterEnd(at)
    if (at === 0) return 0
  }
}

/** The node of a key below another one, made when it is not there. Null when there is no room, or the key is too long. */
export function findNode(parent: Node, at: usize, length: u32): Node | null {
  const keyHash = hash(at, length, <u32>changetype<usize>(parent))
  let slot = keyHash & (SLOTS - 1)
  while (true) {
    const found = load<usize>(slots + (slot << 2))
    if (found === 0) break
    const node = changetype<Node>(found)
    if (node.hash === keyHash && node.keyLength === length && node.parent === parent && isEqual(at, node.key, length))
      return node
    slot = (slot + 1) & (SLOTS - 1)
  }
  if (length > KEY_BYTES_MAX || areKeysMany()) return null
  const node = newNode(parent, at, length)
  if (node === null) return null
  node.hash = keyHash
  store<usize>(slots + (slot << 2), changetype<usize>(node))
  nodes++
  return node
}

function newNode(parent: Node, at: usize, length: u32): Node | null {
  let dots: u32 = 0
  for (let index: usize = 0; index < length; index++) {
    const byte: u32 = load<u8>(at + index)
    if (byte === DOT) dots++
    // {"a.b": 1} and {"a%2Eb": 1} are one path: which of two values stays is not decided here.
    else if (byte === PERCENT) return null
  }
  const node = newRoot()
  node.parent = parent
  node.key = arena.take(length + 1)
  node.keyLength = length
  copy(node.key, at, length)
  store<u8>(node.key + length, QUOTE)
  setPath(node, parent, length + 2 * dots)
  return node
}

/** Gives a node its path: a dot inside a key is escaped, as ClickHouse's `json_type_escape_dots_in_keys` has it. */
function setPath(node: Node, parent: Node, escapedLength: u32): void {
  const isBelowRoot = parent.parent === null
  const before = isBelowRoot ? 0 : parent.textLength + 1
  node.textLength = before + escapedLength
  node.pathLength = varuintBytes(node.textLength) + node.textLength
  node.path = arena.take(node.pathLength)
  let to = writeVaruint(node.path, node.textLength)
  if (!isBelowRoot) {
    memory.copy(to, textOf(parent), parent.textLength)
    to += before
    store<u8>(to - 1, DOT)
  }
  for (let index: usize = 0; index < node.keyLength; index++) {
    const byte: u32 = load<u8>(node.key + index)
    if (byte === DOT) {
      store<u8>(to, PERCENT)
      store<u8>(to + 1, 0x32)
      store<u8>(to + 2, 0x45)
      to += 3
    } else store<u8>(to++, byte)
  }
}

/** The text of a node's path, of `textLength`. */
export function textOf(node: Node): usize {
  return node.path + node.pathLength - node.textLength
}
