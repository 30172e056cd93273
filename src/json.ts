/** Parsing of JSON bodies, with errors that say where, and without losing the digits of large integers. */
import { jsonErrorPosition } from './json-position.ts'

export interface MalformedJson {
  readonly malformed: string
}

/** Parses JSON; what is wrong with it comes back as a value, with the parser's message and the position. */
export function parseJson(text: string): { readonly value: unknown } | MalformedJson {
  const json = withoutByteOrderMark(text)
  try {
    return { value: JSON.parse(json) }
  } catch (error) {
    return { malformed: describe(json, error) }
  }
}

/** RFC 8259 lets a parser ignore it, and some clients send it; some ways to decode a body take it away already. */
function withoutByteOrderMark(text: string): string {
  return text.charCodeAt(0) === BYTE_ORDER_MARK ? text.slice(1) : text
}

const BYTE_ORDER_MARK = 0xfeff
const UINT64_MAX = 2n ** 64n - 1n
const INT64_MIN = -(2n ** 63n)

/** Stands before the digits of a large integer in a text of its own; no client can know it. */
const MARK = `\ue000${crypto.randomUUID()}:`
const NEWLINE = 0x0a
const QUOTE = 0x22
const BACKSLASH = 0x5c
const MINUS = 0x2d
/** 2^53 has as many. */
const DIGITS_MIN = 16
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y

/**
 * Parses JSON that `parseJson` has parsed, but gives integers beyond 2^53 that fit 64 bits (signed or unsigned) as bigint. Integers beyond
 * that stay floats, ClickHouse's JSON type has nothing wider. Slower: only for texts in which such numbers were seen.
 *
 * Not by a reviver, which takes stack for every level: one deep value beside a large integer would be an error.
 */
export function parseJsonExactly(text: string): unknown {
  const holder = { value: JSON.parse(markIntegers(withoutByteOrderMark(text))) as unknown }
  const open: object[] = [holder]
  for (let object = open.pop(); object !== undefined; object = open.pop()) {
    const values = object as Record<string, unknown>
    for (const key in values) {
      const value = values[key]
      if (typeof value === 'object' && value !== null) open.push(value)
      else if (typeof value === 'string' && value.startsWith(MARK)) values[key] = BigInt(value.slice(MARK.length))
    }
  }
  return holder.value
}

/** Makes texts of the integers that a number would not hold. The text is JSON. */
function markIntegers(text: string): string {
  let marked = ''
  let copied = 0
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) {
      at = behindString(text, at)
    } else if (code === MINUS || isDigit(code)) {
      NUMBER.lastIndex = at
      const number = NUMBER.exec(text)?.[0] ?? ''
      if (isLargeInteger(number)) {
        marked += `${text.slice(copied, at)}"${MARK}${number}"`
        copied = at + number.length
      }
      at += Math.max(1, number.length)
    } else at++
  }
  return marked + text.slice(copied)
}

function isLargeInteger(number: string): boolean {
  if (number.length < DIGITS_MIN || !/^-?\d+$/.test(number) || Number.isSafeInteger(Number(number))) return false
  const integer = BigInt(number)
  return integer >= INT64_MIN && integer <= UINT64_MAX
}

/** The offset behind the string that begins at `at`. */
function behindString(text: string, at: number): number {
  for (let end = at + 1; ; end++) {
    const code = text.charCodeAt(end)
    if (code === QUOTE) return end + 1
    if (code === BACKSLASH) end++
    else if (Number.isNaN(code)) return text.length
  }
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

/** The same text for equal values, whatever the order of keys: for naming a value by its content. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? `${value}` : JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join()}]`
  const object = value as Record<string, unknown>
  let entries = ''
  for (const key of Object.keys(object).sort()) entries += `,${JSON.stringify(key)}:${canonicalJson(object[key])}`
  return `{${entries.slice(1)}}`
}

/** The engine's message names no position: it is looked for here, in a text that is known to be wrong. */
function describe(text: string, error: unknown): string {
  const message = error instanceof Error ? error.message.replace(/^JSON Parse error: /, '') : String(error)
  const position = jsonErrorPosition(text)
  let line = 1
  let lineBegin = 0
  for (let at = 0; at < position; at++) {
    if (text.charCodeAt(at) !== NEWLINE) continue
    line++
    lineBegin = at + 1
  }
  const column = position - lineBegin + 1
  return `${message} at position ${position} (line ${line}, column ${column})`
}

/** Whether a parsed value is an object: neither an array nor null. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
