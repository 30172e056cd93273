/**
 * One JSON value as ClickHouse keeps it in the shared data of a JSON column: its type in ClickHouse's binary encoding of types, then
 * the value as in RowBinary, the two together as a string (varuint byte length in front).
 *
 *     String 0x15 · Int64 0x0a · UInt64 0x04 · Float64 0x0e · Bool 0x2d · Array(T) 0x1e T · Nullable(T) 0x23 T
 *     Dynamic 0x2b, max_dynamic_types · JSON 0x30, version 0, varuint max_dynamic_paths, max_dynamic_types, no typed paths, no skips
 *
 * An array is Array(Nullable(T)) when one scalar type holds all its elements, Array(JSON) when all are objects, else Array(Dynamic),
 * whose elements each carry their own type.
 */
import { ByteBuffer, varuintBytes } from './byte-buffer.ts'
import { pathPart } from './path-trie.ts'

const STRING = 0x15
const INT64 = 0x0a
const UINT64 = 0x04
const FLOAT64 = 0x0e
const BOOL = 0x2d
const NOTHING = 0x00
const ARRAY = 0x1e
const NULLABLE = 0x23
const DYNAMIC = [0x2b, 16]
const JSON_OBJECT = [0x30, 0, 0, 16, 0, 0, 0]
/** What `elementType` says of an array that no one type holds; taken from the end of the range, ClickHouse has no such types. */
const OBJECTS = 0xfe
const MIXED = 0xff

/** The longest ASCII string whose value (type, length, text) has a length of one byte. */
const SHORT_CHARS_MAX = 0x7f - 2
const INT64_MAX = 2n ** 63n - 1n

/** Arrays are written here first: their length stands in front of them. */
const scratch = new ByteBuffer(4096)

/** Appends a string, number, bigint (an integer beyond 2^53), boolean or array. */
export function appendJsonValue(target: ByteBuffer, value: unknown): void {
  switch (typeof value) {
    case 'string':
      return appendString(target, value)
    case 'boolean':
      target.byte(2)
      return appendTyped(target, value)
    case 'object':
      scratch.clear()
      appendTyped(scratch, value)
      target.varuint(scratch.length)
      return target.append(scratch.bytes, scratch.length)
    default:
      target.byte(9)
      return appendTyped(target, value)
  }
}

function appendString(target: ByteBuffer, value: string): void {
  const start = target.length
  const chars = value.length
  if (chars <= SHORT_CHARS_MAX) {
    target.byte(chars + 2)
    target.byte(STRING)
    target.string(value)
    if (target.length === start + chars + 3) return
    target.length = start // not ASCII: it takes more bytes than it has characters
  }
  const textBytes = Buffer.byteLength(value)
  target.varuint(1 + varuintBytes(textBytes) + textBytes)
  target.byte(STRING)
  target.string(value)
}

function appendTyped(target: ByteBuffer, value: unknown): void {
  if (value === null) return target.byte(NOTHING)
  if (Array.isArray(value)) return appendArray(target, value)
  if (typeof value === 'object') {
    for (const byte of JSON_OBJECT) target.byte(byte)
    return appendObject(target, value as object)
  }
  const type = scalarType(value)
  target.byte(type)
  appendScalar(target, type, value)
}

function appendArray(target: ByteBuffer, array: readonly unknown[]): void {
  const type = elementType(array)
  target.byte(ARRAY)
  if (type === OBJECTS || type === MIXED) {
    for (const byte of type === OBJECTS ? JSON_OBJECT : DYNAMIC) target.byte(byte)
    target.varuint(array.length)
    for (const element of array) {
      if (type === OBJECTS) appendObject(target, element as object)
      else appendTyped(target, element)
    }
    return
  }
  target.byte(NULLABLE)
  target.byte(type)
  target.varuint(array.length)
  for (const element of array) {
    target.byte(element === null ? 1 : 0)
    if (element !== null) appendScalar(target, type, element)
  }
}

/** An object inside an array: varuint number of values, then path and typed value of each. */
function appendObject(target: ByteBuffer, object: object): void {
  const values = new Map<string, unknown>()
  collect(object as Record<string, unknown>, '', values)
  target.varuint(values.size)
  for (const [path, value] of values) {
    target.string(path)
    appendTyped(target, value)
  }
}

function collect(object: Record<string, unknown>, prefix: string, values: Map<string, unknown>): void {
  for (const key in object) {
    const value = object[key]
    const path = prefix + pathPart(key)
    if (value === null || values.has(path)) continue
    if (typeof value === 'object' && !Array.isArray(value))
      collect(value as Record<string, unknown>, `${path}.`, values)
    else values.set(path, value)
  }
}

function appendScalar(target: ByteBuffer, type: number, value: unknown): void {
  switch (type) {
    case STRING:
      return target.string(value as string)
    case BOOL:
      return target.byte(value ? 1 : 0)
    case FLOAT64:
      return target.float64(value as number)
    default:
      return typeof value === 'bigint' ? target.bigint(value) : target.int64(value as number)
  }
}

function scalarType(value: unknown): number {
  switch (typeof value) {
    case 'string':
      return STRING
    case 'boolean':
      return BOOL
    case 'bigint':
      return value > INT64_MAX ? UINT64 : INT64
    default:
      // -0 is an integer that only a float can hold.
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? INT64 : FLOAT64
  }
}

/** The one scalar type that holds every element without changing it (nulls beside it), OBJECTS or MIXED. */
function elementType(array: readonly unknown[]): number {
  let found = -1
  let nulls = false
  let bigints = false
  for (const element of array) {
    if (element === null) {
      nulls = true
      continue
    }
    bigints ||= typeof element === 'bigint'
    const type = typeof element !== 'object' ? scalarType(element) : Array.isArray(element) ? MIXED : OBJECTS
    if (found === -1 || found === type) found = type
    else if (isNumber(found) && isNumber(type)) found = FLOAT64
    else return MIXED
  }
  if (found === -1) return STRING
  return (found === OBJECTS && nulls) || (found === FLOAT64 && bigints) ? MIXED : found
}

function isNumber(type: number): boolean {
  return type === INT64 || type === UINT64 || type === FLOAT64
}
