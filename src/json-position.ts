/**
 * Finds where a text stops being JSON (RFC 8259). Only for error messages: `JSON.parse` has refused the text already. Steps by character
 * codes, so that a large body that is wrong costs no more than parsing it did.
 */

/** What may come next. */
type Expected = 'value' | 'first value' | 'key' | 'first key' | 'colon' | 'comma' | 'end'

const QUOTE = 0x22
const PLUS = 0x2b
const COMMA = 0x2c
const MINUS = 0x2d
const DOT = 0x2e
const ZERO = 0x30
const NINE = 0x39
const COLON = 0x3a
const BACKSLASH = 0x5c
const ARRAY_OPEN = 0x5b
const ARRAY_CLOSE = 0x5d
const SMALL_E = 0x65
const SMALL_U = 0x75
const OBJECT_OPEN = 0x7b
const OBJECT_CLOSE = 0x7d
/** Makes a letter small. */
const SMALL = 0x20

const LITERALS = ['true', 'false', 'null']
/** What may stand behind a backslash, beside `u`. */
const ESCAPED = new Set(Array.from('"\\/bfnrt', (character) => character.charCodeAt(0)))
const UNICODE_DIGITS = 4

/** @returns the offset, in UTF-16 units, of the first character that cannot be there; the text's length when it just ends too early */
export function jsonErrorPosition(text: string): number {
  /** Around `closer`, which is 0 outside of everything. */
  const closers: number[] = []
  let closer = 0
  let expected: Expected = 'value'
  let at = 0
  for (;;) {
    const code = text.charCodeAt(at)
    if (isSpace(code)) {
      at++
    } else if (code === closer) {
      if (expected !== 'comma' && expected !== 'first value' && expected !== 'first key') return at
      closer = closers.pop() ?? 0
      expected = closer === 0 ? 'end' : 'comma'
      at++
    } else if (expected === 'comma') {
      if (code !== COMMA) return at
      expected = closer === OBJECT_CLOSE ? 'key' : 'value'
      at++
    } else if (expected === 'colon') {
      if (code !== COLON) return at
      expected = 'value'
      at++
    } else if (expected === 'key' || expected === 'first key') {
      if (code !== QUOTE) return at
      const end = stringEnd(text, at)
      if (end < 0) return ~end
      at = end
      expected = 'colon'
    } else if (expected === 'end') {
      return at
    } else if (code === OBJECT_OPEN || code === ARRAY_OPEN) {
      closers.push(closer)
      closer = code === OBJECT_OPEN ? OBJECT_CLOSE : ARRAY_CLOSE
      expected = code === OBJECT_OPEN ? 'first key' : 'first value'
      at++
    } else {
      const end = code === QUOTE ? stringEnd(text, at) : scalarEnd(text, at, code)
      if (end < 0) return ~end
      if (end === at) return at
      at = end
      expected = closer === 0 ? 'end' : 'comma'
    }
  }
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09
}

/** The offset behind a string that begins at `at`, or the complement (~) of the offset at which it goes wrong. */
function stringEnd(text: string, at: number): number {
  for (let index = at + 1; ; index++) {
    const code = text.charCodeAt(index)
    if (Number.isNaN(code) || code < 0x20) return ~index
    if (code === QUOTE) return index + 1
    if (code !== BACKSLASH) continue
    const escaped = text.charCodeAt(index + 1)
    if (escaped === SMALL_U && hasUnicodeDigits(text, index + 2)) index += 1 + UNICODE_DIGITS
    else if (ESCAPED.has(escaped)) index++
    else return ~index
  }
}

function hasUnicodeDigits(text: string, at: number): boolean {
  for (let index = at; index < at + UNICODE_DIGITS; index++) {
    const code = text.charCodeAt(index)
    const letter = code | SMALL
    if (!isDigit(code) && !(letter >= 0x61 && letter <= 0x66)) return false
  }
  return true
}

/** The offset behind the literal or number that begins at `at`; `at` itself when none does. */
function scalarEnd(text: string, at: number, code: number): number {
  if (code === MINUS || isDigit(code)) return numberEnd(text, at)
  const literal = LITERALS.find((word) => text.startsWith(word, at))
  return at + (literal?.length ?? 0)
}

function numberEnd(text: string, at: number): number {
  const begin = text.charCodeAt(at) === MINUS ? at + 1 : at
  let end = text.charCodeAt(begin) === ZERO ? begin + 1 : digitsEnd(text, begin)
  if (end === begin) return at
  if (text.charCodeAt(end) === DOT) {
    const fractionEnd = digitsEnd(text, end + 1)
    if (fractionEnd > end + 1) end = fractionEnd
  }
  if ((text.charCodeAt(end) | SMALL) === SMALL_E) {
    const sign = text.charCodeAt(end + 1)
    const exponent = sign === PLUS || sign === MINUS ? end + 2 : end + 1
    const exponentEnd = digitsEnd(text, exponent)
    if (exponentEnd > exponent) end = exponentEnd
  }
  return end
}

function digitsEnd(text: string, at: number): number {
  let end = at
  while (isDigit(text.charCodeAt(end))) end++
  return end
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE
}
