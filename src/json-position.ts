/** Finds where a text stops being JSON (RFC 8259). Only for error messages: `JSON.parse` has refused the text already. */

/** What may come next. */
type Expected = 'value' | 'first value' | 'key' | 'first key' | 'colon' | 'comma' | 'end'

const LITERAL = /true|false|null/y
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const SPACE = /[ \t\n\r]*/y
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y

/** @returns the offset, in UTF-16 units, of the first character that cannot be there; the text's length when it just ends too early */
export function jsonErrorPosition(text: string): number {
  const closers: string[] = []
  let expected: Expected = 'value'
  let at = 0
  for (;;) {
    at = match(SPACE, text, at)
    const character = text[at]
    if (character === undefined) return at
    const closes = character === closers.at(-1)
    if (closes && (expected === 'comma' || expected === 'first value' || expected === 'first key')) {
      closers.pop()
      expected = closers.length === 0 ? 'end' : 'comma'
      at++
    } else if (expected === 'comma' && character === ',') {
      expected = closers.at(-1) === '}' ? 'key' : 'value'
      at++
    } else if (expected === 'colon' && character === ':') {
      expected = 'value'
      at++
    } else if (expected === 'key' || expected === 'first key') {
      if (character !== '"') return at
      const end = stringEnd(text, at)
      if (end < 0) return ~end
      at = end
      expected = 'colon'
    } else if (expected === 'value' || expected === 'first value') {
      if (character === '{' || character === '[') {
        closers.push(character === '{' ? '}' : ']')
        expected = character === '{' ? 'first key' : 'first value'
        at++
        continue
      }
      const end = character === '"' ? stringEnd(text, at) : Math.max(match(LITERAL, text, at), match(NUMBER, text, at))
      if (end < 0) return ~end
      if (end === at) return at
      at = end
      expected = closers.length === 0 ? 'end' : 'comma'
    } else {
      return at
    }
  }
}

/** The offset behind a string that begins at `at`, or the complement (~) of the offset at which it goes wrong. */
function stringEnd(text: string, at: number): number {
  for (let index = at + 1; ; index++) {
    const code = text.charCodeAt(index)
    if (Number.isNaN(code) || code < 0x20) return ~index
    if (code === 0x22) return index + 1
    if (code !== 0x5c) continue
    const end = match(ESCAPE, text, index)
    if (end === index) return ~index
    index = end - 1
  }
}

/** The offset behind what a sticky pattern matches at `at`; `at` itself when it does not. */
function match(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at
  const found = pattern.exec(text)
  return found === null ? at : at + found[0].length
}
