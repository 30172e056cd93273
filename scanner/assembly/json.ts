/**
 * A JSON object as a row of ClickHouse's JSON type: for every value its path, and the value with its type in front.
 * `src/native/json-column.ts` and `json-value.ts` describe the bytes; these are the same.
 *
 * Readers give the address behind what they read, and 0 when it is odd: not JSON, beyond a limit, or a case that is decided elsewhere.
 */
import { Bytes, copy, varuintBytes, writeVaruint } from './bytes'
import { behindValue, isEnd, Node, newRoot, readKey, valueAt } from './keys'
import { float, integer, isInteger, readNumber } from './number'
import { rankAll, sortByText, wantRank } from './order'
import {
  CLOSE_ARRAY,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  OPEN_ARRAY,
  OPEN_OBJECT,
  QUOTE,
  readText,
  skipSpace,
  textAt,
  textLength,
} from './text'

/** As `JSON_LIMITS` in `src/native/json-shape.ts`: what is beyond is refused, or cut, there. */
const DEPTH_MAX: u32 = 32
const VALUES_MAX: u32 = 2000
const PATH_BYTES_MAX: u32 = 256 * 1024
const TEXT_BYTES_MAX: u32 = 10240

/** Types in ClickHouse's binary encoding. */
const STRING: u32 = 0x15
const INT64: u32 = 0x0a
const FLOAT64: u32 = 0x0e
const BOOL: u32 = 0x2d
const NOTHING: u32 = 0x00
const ARRAY: u32 = 0x1e
const NULLABLE: u32 = 0x23
/** What the elements of an array have in common when no one type holds them. */
const OBJECTS: u32 = 0xfe
const MIXED: u32 = 0xff
/** An array that is not read to its end. */
const ODD: u32 = 0x100

const DYNAMIC = memory.data<u8>([0x2b, 16])
const JSON_OBJECT = memory.data<u8>([0x30, 0, 0, 16, 0, 0, 0])

/** The row that is being read: its values one behind the other, and of each the node of its key and where it begins. */
const values = new Bytes(4096)
const nodes = memory.data(VALUES_MAX * 4)
const begins = memory.data((VALUES_MAX + 1) * 4)
/** Positions in the lower half; the upper one is used for sorting. */
const order = memory.data(VALUES_MAX * 4)
let count: u32 = 0

/** An array that is being written: its length stands in front of it. */
const array = new Bytes(4096)

let valuesLeft: i32 = 0
/** Of all keys of the row. */
let pathBytes: u32 = 0
/** Number of the object in which a key may come once, and the last number that was given. */
let object: u32 = 0
let objects: u32 = 0

/** Roots of objects inside of arrays, by how deep the array is. */
const elementRoots = memory.data((DEPTH_MAX + 2) * 4)

/** After `forgetKeys`. */
export function resetElementRoots(): void {
  for (let depth: usize = 0; depth < DEPTH_MAX + 2; depth++)
    store<usize>(elementRoots + (depth << 2), changetype<usize>(newRoot()))
}

/** Begins a row: an object whose keys are looked for below a root of its own. */
export function beginRow(): void {
  values.length = 0
  count = 0
  valuesLeft = VALUES_MAX
  pathBytes = 0
  object = ++objects
}

/** Whether the key of a node has come in this row before; it has now. */
export function isRepeated(node: Node): bool {
  if (node.object === object) return true
  node.object = object
  return false
}

/** Counts a key of the row and the bytes of its path; false when there are too many. */
export function mayHave(node: Node): bool {
  pathBytes += node.textLength
  return --valuesLeft >= 0 && pathBytes <= PATH_BYTES_MAX
}

/** Reads an object of the row from behind its brace. */
export function readObject(at: usize, parent: Node, depth: u32): usize {
  if (depth > DEPTH_MAX) return 0
  at = skipSpace(at)
  if (load<u8>(at) === CLOSE_OBJECT) return at + 1
  let before: Node | null = null
  do {
    const node = readKey(at, parent, before)
    if (node === null || isRepeated(node) || !mayHave(node)) return 0
    before = node
    at = readRowValue(valueAt, node, depth)
    if (at !== 0) at = behindValue(at)
    if (at === 0) return 0
  } while (!isEnd)
  return at
}

/** Reads what stands in the row at a node: a value, or an object with more keys. */
export function readRowValue(at: usize, node: Node, depth: u32): usize {
  const first: u32 = load<u8>(at)
  if (first === OPEN_OBJECT) return readObject(at + 1, node, depth + 1)
  if (first === 0x6e) return literalEnd(at, 0x6c6c756e) // null is no value
  store<usize>(nodes + ((<usize>count) << 2), changetype<usize>(node))
  store<u32>(begins + ((<usize>count) << 2), values.length)
  count++
  if (first === QUOTE) {
    at = readText(at + 1)
    if (at === 0 || textLength > TEXT_BYTES_MAX) return 0
    const length = textLength
    values.ensure(length + 12)
    let to = writeVaruint(values.end, 1 + varuintBytes(length) + length)
    store<u8>(to, STRING)
    to = writeVaruint(to + 1, length)
    copy(to, textAt, length)
    values.length = <u32>(to - values.begin) + length
    return at
  }
  if (first === OPEN_ARRAY) {
    array.length = 0
    at = readArray(at, array, depth + 1)
    values.appendText(array.begin, array.length)
    return at
  }
  values.ensure(12)
  const begin = values.length
  values.length++
  at = readScalar(at, values)
  store<u8>(values.begin + begin, values.length - begin - 1)
  return at
}

/** Appends a number or a boolean with its type in front. */
function readScalar(at: usize, to: Bytes): usize {
  const first: u32 = load<u8>(at)
  if (first === 0x74 || first === 0x66) {
    to.appendByte(BOOL)
    to.appendByte(u32(first === 0x74))
    return first === 0x74 ? literalEnd(at, 0x65757274) : literalEnd(at + 1, 0x65736c61)
  }
  at = readNumber(at)
  to.appendByte(isInteger ? INT64 : FLOAT64)
  to.appendInt64(isInteger ? integer : reinterpret<i64>(float))
  return at
}

/** Behind four letters, given as they stand in memory. */
function literalEnd(at: usize, letters: u32): usize {
  return load<u32>(at) === letters ? at + 4 : 0
}

/** Appends the array that begins at `at`, with its type in front. */
function readArray(at: usize, to: Bytes, depth: u32): usize {
  if (depth > DEPTH_MAX) return 0
  const type = readElementType(at + 1, depth)
  if (type === ODD) return 0
  const length = elements
  valuesLeft -= length
  if (valuesLeft < 0) return 0
  to.appendByte(ARRAY)
  if (type === OBJECTS) to.append(JSON_OBJECT, 7)
  else if (type === MIXED) to.append(DYNAMIC, 2)
  else {
    to.appendByte(NULLABLE)
    to.appendByte(type)
  }
  to.appendVaruint(length)
  at = skipSpace(at + 1)
  for (let index: u32 = 0; index < length; index++) {
    if (type === OBJECTS) at = readElementObject(at, to, depth)
    else if (type === MIXED) at = readTyped(at, to, depth)
    else at = readElement(at, to, type)
    if (at === 0) return 0
    at = skipSpace(at)
    if (load<u8>(at) === COMMA) at = skipSpace(at + 1)
  }
  return load<u8>(at) === CLOSE_ARRAY ? at + 1 : 0
}

/** Elements of the array that `readElementType` looked through last. */
let elements: u32 = 0

/** The one type that holds every element of the array, nulls beside it; OBJECTS, MIXED, or ODD. Counts the elements. */
function readElementType(at: usize, depth: u32): u32 {
  elements = 0
  at = skipSpace(at)
  if (load<u8>(at) === CLOSE_ARRAY) return STRING
  let count: u32 = 0
  let found: i32 = -1
  let hasNulls = false
  while (true) {
    const first: u32 = load<u8>(at)
    let type: i32 = -1
    if (first === 0x6e) hasNulls = true
    else if (first === QUOTE) type = STRING
    else if (first === OPEN_OBJECT) type = OBJECTS
    else if (first === OPEN_ARRAY) type = MIXED
    else if (first === 0x74 || first === 0x66) type = BOOL
    at = skipValue(at, depth)
    if (at === 0) return ODD
    if (type === -1 && first !== 0x6e) type = isInteger ? INT64 : FLOAT64
    if (type !== -1 && found !== type) {
      if (found === -1) found = type
      else found = isNumeric(found) && isNumeric(type) ? FLOAT64 : MIXED
    }
    count++
    at = skipSpace(at)
    const next: u32 = load<u8>(at)
    if (next === CLOSE_ARRAY) break
    if (next !== COMMA) return ODD
    at = skipSpace(at + 1)
  }
  elements = count
  if (found === -1) return STRING
  return found === OBJECTS && hasNulls ? MIXED : found
}

function isNumeric(type: i32): bool {
  return type === INT64 || type === FLOAT64
}

/** Appends an element of an array of one scalar type: whether it is null, and else its value. */
function readElement(at: usize, to: Bytes, type: u32): usize {
  const first: u32 = load<u8>(at)
  if (first === 0x6e) {
    to.appendByte(1)
    return at + 4
  }
  to.appendByte(0)
  if (type === STRING) {
    at = readText(at + 1)
    if (textLength > TEXT_BYTES_MAX) return 0
    to.appendText(textAt, textLength)
    return at
  }
  if (type === BOOL) {
    to.appendByte(u32(first === 0x74))
    return at + (first === 0x74 ? 4 : 5)
  }
  at = readNumber(at)
  const asFloat = isInteger ? <f64>integer : float
  to.appendInt64(type === INT64 ? integer : reinterpret<i64>(asFloat))
  return at
}

/** Appends a value with its type in front, as an element of a mixed array or a value of an object in an array. */
function readTyped(at: usize, to: Bytes, depth: u32): usize {
  const first: u32 = load<u8>(at)
  if (first === OPEN_OBJECT) {
    to.append(JSON_OBJECT, 7)
    return readElementObject(at, to, depth)
  }
  if (first === OPEN_ARRAY) return readArray(at, to, depth + 1)
  if (first === 0x6e) {
    to.appendByte(NOTHING)
    return literalEnd(at, 0x6c6c756e)
  }
  if (first !== QUOTE) return readScalar(at, to)
  at = readText(at + 1)
  if (at === 0 || textLength > TEXT_BYTES_MAX) return 0
  to.appendByte(STRING)
  to.appendText(textAt, textLength)
  return at
}

/** Values of the object in an array that is being written. */
let objectValues: u32 = 0

/** Appends an object inside an array: how many values it has, then path and typed value of each. */
function readElementObject(at: usize, to: Bytes, depth: u32): usize {
  if (depth >= DEPTH_MAX) return 0
  const outerObject = object
  const outerValues = objectValues
  object = ++objects
  objectValues = 0
  const countAt = to.length
  to.appendByte(0)
  at = readElementKeys(at + 1, to, changetype<Node>(load<usize>(elementRoots + ((<usize>depth) << 2))), depth + 1)
  if (objectValues >= 0x80) return 0 // its number would take more than the byte that is kept for it
  store<u8>(to.begin + countAt, objectValues)
  object = outerObject
  objectValues = outerValues
  return at
}

function readElementKeys(at: usize, to: Bytes, parent: Node, depth: u32): usize {
  if (depth > DEPTH_MAX) return 0
  at = skipSpace(at)
  if (load<u8>(at) === CLOSE_OBJECT) return at + 1
  let before: Node | null = null
  do {
    const node = readKey(at, parent, before)
    // JavaScript moves keys that are numbers to the front.
    if (node === null || isRepeated(node) || !mayHave(node) || <u32>load<u8>(node.key) - 0x30 < 10) return 0
    before = node
    at = readElementValue(valueAt, to, node, depth)
    if (at !== 0) at = behindValue(at)
    if (at === 0) return 0
  } while (!isEnd)
  return at
}

function readElementValue(at: usize, to: Bytes, node: Node, depth: u32): usize {
  const first: u32 = load<u8>(at)
  if (first === OPEN_OBJECT) return readElementKeys(at + 1, to, node, depth + 1)
  if (first === 0x6e) return literalEnd(at, 0x6c6c756e)
  objectValues++
  to.append(node.path, node.pathLength)
  return readTyped(at, to, depth)
}

/** Behind a value of any kind. Of a number `isInteger` tells which. */
export function skipValue(at: usize, depth: u32): usize {
  const first: u32 = load<u8>(at)
  if (first === QUOTE) return readText(at + 1)
  if (first === OPEN_OBJECT || first === OPEN_ARRAY) return skipContainer(at, depth + 1)
  if (first === 0x6e) return literalEnd(at, 0x6c6c756e)
  if (first === 0x74) return literalEnd(at, 0x65757274)
  if (first === 0x66) return literalEnd(at + 1, 0x65736c61)
  return readNumber(at)
}

function skipContainer(at: usize, depth: u32): usize {
  if (depth > DEPTH_MAX) return 0
  const isObject = load<u8>(at) === OPEN_OBJECT
  const close = isObject ? CLOSE_OBJECT : CLOSE_ARRAY
  at = skipSpace(at + 1)
  if (load<u8>(at) === close) return at + 1
  while (true) {
    if (isObject) {
      if (load<u8>(at) !== QUOTE) return 0
      at = readText(at + 1)
      if (at === 0) return 0
      at = skipSpace(at)
      if (load<u8>(at) !== COLON) return 0
      at = skipSpace(at + 1)
    }
    at = skipValue(at, depth)
    if (at === 0) return 0
    at = skipSpace(at)
    const next: u32 = load<u8>(at)
    if (next === close) return at + 1
    if (next !== COMMA) return 0
    at = skipSpace(at + 1)
  }
}

/** Appends the row: where its entries end, their paths and their values, in the order of the paths. */
export function appendRow(ends: Bytes, paths: Bytes, allValues: Bytes): void {
  store<u32>(begins + ((<usize>count) << 2), values.length)
  sort()
  allValues.ensure(values.length)
  for (let index: u32 = 0; index < count; index++) {
    const position: usize = load<u32>(order + ((<usize>index) << 2)) & 0xffff
    const node = changetype<Node>(load<usize>(nodes + (position << 2)))
    paths.append(node.path, node.pathLength)
    const begin = load<u32>(begins + (position << 2))
    const length = load<u32>(begins + (position << 2), 4) - begin
    copy(allValues.end, values.begin + begin, length)
    allValues.length += length
  }
  ends.appendInt64((ends.length === 0 ? 0 : load<u64>(ends.end - 8)) + count)
}

/** Brings the entries into the order of their paths. */
function sort(): void {
  let areRanked = true
  for (let index: u32 = 0; index < count; index++) {
    const node = nodeOf(index)
    if (node.rank >= 0) continue
    areRanked = false
    wantRank(node)
  }
  if (areRanked || rankAll()) sortByRank()
  else sortNodes()
}

function nodeOf(index: u32): Node {
  return changetype<Node>(load<usize>(nodes + ((<usize>index) << 2)))
}

/** Sorts the entries by the ranks of their nodes: few, and often in order already. */
function sortByRank(): void {
  for (let index: u32 = 0; index < count; index++)
    store<u32>(order + ((<usize>index) << 2), ((<u32>nodeOf(index).rank) << 16) | index)
  let gap: u32 = 1
  while (gap * 3 < count) gap = gap * 3 + 1
  for (; gap > 0; gap /= 3) {
    for (let index = gap; index < count; index++) {
      const key = load<u32>(order + ((<usize>index) << 2))
      let to = index
      for (; to >= gap; to -= gap) {
        const other = load<u32>(order + ((<usize>(to - gap)) << 2))
        if (other <= key) break
        store<u32>(order + ((<usize>to) << 2), other)
      }
      store<u32>(order + ((<usize>to) << 2), key)
    }
  }
}

/** Sorts the entries of a row in which a node has no rank yet. */
function sortNodes(): void {
  copy(order, nodes, count << 2)
  for (let index: u32 = 0; index < count; index++) nodeOf(index).position = index
  sortByText(order, count)
  for (let at = order; at < order + ((<usize>count) << 2); at += 4)
    store<u32>(at, changetype<Node>(load<usize>(at)).position)
}
