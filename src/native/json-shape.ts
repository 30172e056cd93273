/** Looks through a client's JSON object once, before anything is encoded: is it within the limits, and are its numbers what was sent? */
import { pathPart } from './path-trie.ts'

/** Depth, count and paths keep within what ClickHouse's parser and one block bear; 10 KB a string is the wire contract's. */
export const JSON_LIMITS = {
  /** Objects and arrays inside one another. */
  depthMax: 32,
  /** Keys and array elements in one object, all levels together. */
  valuesMax: 2000,
  keyCharsMax: 256,
  /**
   * UTF-8 bytes of the paths of all keys in one object: every value is stored with its whole path, so that without this limit a few deep
   * keys of full length would make 16 MB of an event of 12 KB. 2,000 values have 131 bytes each.
   */
  pathBytesMax: 256 * 1024,
  /** UTF-8 bytes of one string value; a longer one is cut. */
  stringBytesMax: 10_240,
} as const

export interface JsonIssue {
  readonly path: string
  readonly message: string
}

/** What `inspectJson` found. Reused for every call: read it before the next one. */
export interface JsonShape {
  /** A number beyond 2^53 was met: the text must be parsed again with its digits kept. */
  imprecise: boolean
  /** Paths of string values that were cut to `stringBytesMax`. */
  truncated: string[]
  issue: JsonIssue | undefined
  /** What it takes in a block at most, in bytes; an estimate without a look at what the texts are. */
  bytesMax: number
}

/** Bytes of a value beside its text and those of its path: type, lengths, number. */
const VALUE_BYTES_MAX = 24
/** Most bytes that a character takes in UTF-8, and in a path, where a dot becomes `%2E`. */
const CHAR_BYTES_MAX = 3

const shape: JsonShape = { imprecise: false, truncated: [], issue: undefined, bytesMax: 0 }
let valuesLeft = 0
/** Characters of the object's own path, and of those of all its keys; these are counted from the event on also in arrays. */
let rootChars = 0
let pathChars = 0
/** Characters of its texts. */
let textChars = 0

/**
 * @param object a JSON object as parsed; string values over the limit are cut in place
 * @param path where it stands in the event, for messages
 */
export function inspectJson(object: object, path: string): JsonShape {
  shape.imprecise = false
  if (shape.truncated.length > 0) shape.truncated = []
  shape.issue = undefined
  valuesLeft = JSON_LIMITS.valuesMax
  rootChars = path.length
  pathChars = 0
  textChars = 0
  inspectObject(object as Record<string, unknown>, path, 1)
  if (shape.issue === undefined && pathChars * CHAR_BYTES_MAX > JSON_LIMITS.pathBytesMax) inspectPaths(object, path)
  const values = JSON_LIMITS.valuesMax - valuesLeft
  shape.bytesMax = CHAR_BYTES_MAX * (pathChars + textChars) + VALUE_BYTES_MAX * values
  return shape
}

function inspectObject(object: Record<string, unknown>, path: string, depth: number): void {
  if (depth > JSON_LIMITS.depthMax) return refuse(path, `nested more than ${JSON_LIMITS.depthMax} levels deep`)
  const prefixChars = path.length - rootChars
  for (const key in object) {
    const value = object[key]
    pathChars += prefixChars + key.length
    if (--valuesLeft < 0) return refuse(path, `more than ${JSON_LIMITS.valuesMax} values in one object`)
    if (key.length > JSON_LIMITS.keyCharsMax)
      return refuse(path, `a key of ${key.length} characters, at most ${JSON_LIMITS.keyCharsMax} are allowed`)
    if (typeof value === 'string') {
      textChars += value.length
      if (value.length * CHAR_BYTES_MAX > JSON_LIMITS.stringBytesMax) object[key] = cut(value, path, key)
    } else if (typeof value === 'number') {
      inspectNumber(value, path, key)
    } else if (typeof value === 'object' && value !== null) {
      if (Array.isArray(value)) inspectArray(value, `${path}.${key}`, depth + 1)
      else inspectObject(value as Record<string, unknown>, `${path}.${key}`, depth + 1)
    }
    if (shape.issue !== undefined) return
  }
}

function inspectArray(array: unknown[], path: string, depth: number): void {
  if (depth > JSON_LIMITS.depthMax) return refuse(path, `nested more than ${JSON_LIMITS.depthMax} levels deep`)
  valuesLeft -= array.length
  if (valuesLeft < 0) return refuse(path, `more than ${JSON_LIMITS.valuesMax} values in one object`)
  for (let index = 0; index < array.length; index++) {
    const value = array[index]
    if (typeof value === 'string') {
      textChars += value.length
      if (value.length * CHAR_BYTES_MAX > JSON_LIMITS.stringBytesMax) array[index] = cut(value, path, index)
    } else if (typeof value === 'number') {
      inspectNumber(value, path, index)
    } else if (typeof value === 'object' && value !== null) {
      if (Array.isArray(value)) inspectArray(value, `${path}[${index}]`, depth + 1)
      else inspectObject(value as Record<string, unknown>, `${path}[${index}]`, depth + 1)
    }
    if (shape.issue !== undefined) return
  }
}

/** Looks closely at what may be too much. */
function inspectPaths(object: object, path: string): void {
  const bytes = pathBytesOf(object, 0)
  const { pathBytesMax } = JSON_LIMITS
  if (bytes > pathBytesMax)
    refuse(path, `the paths of its keys take ${bytes} bytes, at most ${pathBytesMax} are allowed`)
}

/** Paths in an object that is in an array begin there. */
function pathBytesOf(object: object, prefixBytes: number): number {
  let bytes = 0
  for (const [key, value] of Object.entries(object)) {
    const ownBytes = Array.isArray(object) ? 0 : prefixBytes + Buffer.byteLength(pathPart(key))
    bytes += ownBytes
    if (typeof value !== 'object' || value === null) continue
    const isNested = !Array.isArray(object) && !Array.isArray(value)
    bytes += pathBytesOf(value, isNested ? ownBytes + 1 : 0)
  }
  return bytes
}

function inspectNumber(value: number, path: string, key: string | number): void {
  if (Math.abs(value) <= Number.MAX_SAFE_INTEGER) return
  if (!Number.isFinite(value)) refuse(`${path}.${key}`, 'a number beyond the range of a 64-bit float')
  else shape.imprecise = true
}

function cut(value: string, path: string, key: string | number): string {
  if (Buffer.byteLength(value) <= JSON_LIMITS.stringBytesMax) return value
  shape.truncated.push(`${path}.${key}`)
  return truncateUtf8(value, JSON_LIMITS.stringBytesMax)
}

function refuse(path: string, message: string): void {
  shape.issue = { path, message }
}

/** The longest beginning of `text` that takes at most `bytesMax` bytes of UTF-8; characters stay whole. */
function truncateUtf8(text: string, bytesMax: number): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytesMax))
  return text.slice(0, read)
}
