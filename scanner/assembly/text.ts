/** JSON's texts: from their opening quote to UTF-8 without escapes. And what stands between JSON's values. */
import { Bytes } from './bytes'

export const QUOTE: u32 = 0x22
export const BACKSLASH: u32 = 0x5c
export const COMMA: u32 = 0x2c
export const COLON: u32 = 0x3a
export const OPEN_OBJECT: u32 = 0x7b
export const CLOSE_OBJECT: u32 = 0x7d
export const OPEN_ARRAY: u32 = 0x5b
export const CLOSE_ARRAY: u32 = 0x5d

/** The text that was read last: in the body when it stands there as it is, else in `unescaped`. Good until the next one is read. */
export let textAt: usize = 0
export let textLength: u32 = 0

/** Texts that do not stand in the body as they are. */
const unescaped = new Bytes(1024)

/** Behind spaces, tabs and line ends. */
export function skipSpace(at: usize): usize {
  while (true) {
    const byte = load<u8>(at)
    if (byte > 0x20) return at
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at
    at++
  }
}

/** Where the first byte from `at` on is that ends or interrupts a plain text: a quote, a backslash, a control character, or not ASCII. */
export function plainEnd(at: usize): usize {
  const quotes = i8x16.splat(<i8>QUOTE)
  const backslashes = i8x16.splat(<i8>BACKSLASH)
  const firstVisible = i8x16.splat(0x20)
  while (true) {
    const bytes = v128.load(at)
    const isQuote = i8x16.eq(bytes, quotes)
    const isBackslash = i8x16.eq(bytes, backslashes)
    const isOutside = i8x16.lt_s(bytes, firstVisible) // bytes beyond ASCII are negative
    const found = i8x16.bitmask(v128.or(v128.or(isQuote, isBackslash), isOutside))
    if (found !== 0) return at + ctz(found)
    at += 16
  }
}

/** Reads a text from behind its opening quote; gives the address behind the closing one, 0 when it is none. */
export function readText(at: usize): usize {
  const end = plainEnd(at)
  if (load<u8>(end) !== QUOTE) return readUnescaped(at, end)
  textAt = at
  textLength = <u32>(end - at)
  return end + 1
}

/** Reads a text with escapes, or with characters beyond ASCII from `at` on; it is plain up to there. */
function readUnescaped(begin: usize, at: usize): usize {
  const plain = <u32>(at - begin)
  unescaped.clear()
  unescaped.append(begin, plain)
  let isEscaped = false
  let from = at
  while (true) {
    const byte: u32 = load<u8>(at)
    if (byte === QUOTE) break
    if (byte === BACKSLASH) {
      unescaped.append(from, <u32>(at - from))
      isEscaped = true
      at = readEscape(at + 1)
      from = at
    } else if (byte >= 0x80) at = characterEnd(at)
    else if (byte < 0x20) return 0
    else at = plainEnd(at + 1)
    if (at === 0) return 0
  }
  if (isEscaped) {
    unescaped.append(from, <u32>(at - from))
    textAt = unescaped.begin
    textLength = unescaped.length
  } else {
    textAt = begin
    textLength = <u32>(at - begin)
  }
  return at + 1
}

/** Behind a character of two to four bytes; 0 when it is not UTF-8 (RFC 3629, table in section 4). */
export function characterEnd(at: usize): usize {
  const first: u32 = load<u8>(at)
  const second: u32 = load<u8>(at, 1)
  if (first < 0xc2) return 0
  if (first < 0xe0) return (second & 0xc0) === 0x80 ? at + 2 : 0
  if ((load<u8>(at, 2) & 0xc0) !== 0x80) return 0
  if (first < 0xf0) {
    const low: u32 = first === 0xe0 ? 0xa0 : 0x80
    const high: u32 = first === 0xed ? 0x9f : 0xbf
    return second >= low && second <= high ? at + 3 : 0
  }
  if (first > 0xf4 || (load<u8>(at, 3) & 0xc0) !== 0x80) return 0
  const low: u32 = first === 0xf0 ? 0x90 : 0x80
  const high: u32 = first === 0xf4 ? 0x8f : 0xbf
  return second >= low && second <= high ? at + 4 : 0
}

/** Appends what an escape means, from behind its backslash; gives the address behind it, 0 when it means nothing. */
function readEscape(at: usize): usize {
  switch (<i32>load<u8>(at)) {
    case 0x22: // "
    case 0x5c: // \
    case 0x2f: // /
      unescaped.appendByte(load<u8>(at))
      return at + 1
    case 0x62: // b
      unescaped.appendByte(0x08)
      return at + 1
    case 0x66: // f
      unescaped.appendByte(0x0c)
      return at + 1
    case 0x6e: // n
      unescaped.appendByte(0x0a)
      return at + 1
    case 0x72: // r
      unescaped.appendByte(0x0d)
      return at + 1
    case 0x74: // t
      unescaped.appendByte(0x09)
      return at + 1
    case 0x75: // u
      return readCodeUnit(at + 1)
    default:
      return 0
  }
}

/** The four digits of `\u`; with the next escape when they are a pair. Half a pair is U+FFFD, as in every UTF-8 encoder. */
function readCodeUnit(at: usize): usize {
  const unit = hexadecimal(at)
  if (unit < 0) return 0
  at += 4
  let code: u32 = unit
  if (code >= 0xd800 && code < 0xe000) {
    const isPairOpen = code < 0xdc00 && load<u8>(at) === BACKSLASH && load<u8>(at, 1) === 0x75
    const other = isPairOpen ? hexadecimal(at + 2) : -1
    if (other >= 0xdc00 && other < 0xe000) {
      code = 0x10000 + ((code - 0xd800) << 10) + (<u32>other - 0xdc00)
      at += 6
    } else code = 0xfffd
  }
  appendCharacter(code)
  return at
}

/** The value of four hexadecimal digits, -1 when one of them is none. */
function hexadecimal(at: usize): i32 {
  let value: i32 = 0
  for (let index: usize = 0; index < 4; index++) {
    const byte: i32 = load<u8>(at + index)
    const letter = (byte | 0x20) - 0x61
    const digit = byte - 0x30
    if (<u32>digit < 10) value = (value << 4) | digit
    else if (<u32>letter < 6) value = (value << 4) | (letter + 10)
    else return -1
  }
  return value
}

function appendCharacter(code: u32): void {
  if (code < 0x80) {
    unescaped.appendByte(code)
  } else if (code < 0x800) {
    unescaped.appendByte(0xc0 | (code >> 6))
    unescaped.appendByte(0x80 | (code & 0x3f))
  } else if (code < 0x10000) {
    unescaped.appendByte(0xe0 | (code >> 12))
    unescaped.appendByte(0x80 | ((code >> 6) & 0x3f))
    unescaped.appendByte(0x80 | (code & 0x3f))
  } else {
    unescaped.appendByte(0xf0 | (code >> 18))
    unescaped.appendByte(0x80 | ((code >> 12) & 0x3f))
    unescaped.appendByte(0x80 | ((code >> 6) & 0x3f))
    unescaped.appendByte(0x80 | (code & 0x3f))
  }
}
