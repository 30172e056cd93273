/** Looks through a client's JSON object once, before anything is encoded: is it within the limits, and are its numbers what was sent? */

/** Depth and count keep within what ClickHouse's parser and one block bear; 10 KB a string is the wire contract's. */
export const JSON_LIMITS = {
  /** Objects and arrays inside one another. */
  depthMax: 32,
  /** Keys and array elements in one object, all levels together. */
  valuesMax: 2000,
  keyCharsMax: 256,
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
}

const shape: JsonShape = { imprecise: false, truncated: [], issue: undefined }
let valuesLeft = 0

/**
 * @param object a JSON object as parsed; string values over the limit are cut in place
 * @param path where it stands in the event, for messages
 */
export function inspectJson(object: object, path: string): JsonShape {
  shape.imprecise = false
  if (shape.truncated.length > 0) shape.truncated = []
  shape.issue = undefined
  valuesLeft = JSON_LIMITS.valuesMax
  inspectObject(object as Record<string, unknown>, path, 1)
  return shape
}

function inspectObject(object: Record<string, unknown>, path: string, depth: number): void {
  if (depth > JSON_LIMITS.depthMax) return refuse(path, `nested more than ${JSON_LIMITS.depthMax} levels deep`)
  for (const key in object) {
    const value = object[key]
    if (--valuesLeft < 0) return refuse(path, `more than ${JSON_LIMITS.valuesMax} values in one object`)
    if (key.length > JSON_LIMITS.keyCharsMax)
      return refuse(path, `a key of ${key.length} characters, at most ${JSON_LIMITS.keyCharsMax} are allowed`)
    if (typeof value === 'string') {
      if (value.length * 3 > JSON_LIMITS.stringBytesMax) object[key] = cut(value, path, key)
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
      if (value.length * 3 > JSON_LIMITS.stringBytesMax) array[index] = cut(value, path, index)
    } else if (typeof value === 'number') {
      inspectNumber(value, path, index)
    } else if (typeof value === 'object' && value !== null) {
      if (Array.isArray(value)) inspectArray(value, `${path}[${index}]`, depth + 1)
      else inspectObject(value as Record<string, unknown>, `${path}[${index}]`, depth + 1)
    }
    if (shape.issue !== undefined) return
  }
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
