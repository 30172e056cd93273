/** Texts with a meaning of their own: times, UUIDs, network addresses, addresses of pages. */
import { findEither, isEqual } from './bytes'
import * as host from './host'
import { COLON } from './text'

/** What `parseTimestamp` gives for times that are not plain. */
export const NO_TIME: i64 = i64.MIN_VALUE

/** 1900-01-01 and the end of 2299, in milliseconds since 1970: what DateTime64(3) holds. */
const EARLIEST_MS: i64 = -2208988800000
const LATEST_MS: i64 = 10413791999999

const DAY_MS: i64 = 86_400_000

const lastDate = memory.data(16)
let lastDateMs: i64 = NO_TIME

/** `2026-11-20T08:09:10.123Z`, as `src/timestamp.ts` reads it, in the form that most clients send; NO_TIME for any other. */
export function parseTimestamp(at: usize, length: u32): i64 {
  if (length < 20) return NO_TIME
  if (!isEqual(at, lastDate, 10)) {
    const dateMs = parseDate(at)
    if (dateMs === NO_TIME) return NO_TIME
    v128.store(lastDate, v128.load(at))
    lastDateMs = dateMs
  }
  const hours = twoDigits(at + 11)
  const minutes = twoDigits(at + 14)
  const seconds = twoDigits(at + 17)
  if (hours > 23 || minutes > 59 || seconds > 59) return NO_TIME
  if (load<u8>(at, 10) !== 0x54 || load<u8>(at, 13) !== 0x3a || load<u8>(at, 16) !== 0x3a) return NO_TIME
  let time: i64 = lastDateMs + ((hours * 60 + minutes) * 60 + seconds) * 1000
  const end = at + length
  at += 19
  if (load<u8>(at) === 0x2e) {
    at++
    const first = at
    for (let unit: i64 = 100; ; unit /= 10) {
      const digit: u32 = <u32>load<u8>(at) - 0x30
      if (digit > 9) break
      time += unit * digit
      at++
    }
    if (at === first) return NO_TIME
  }
  const zone: u32 = load<u8>(at)
  if (zone === 0x5a) {
    if (at + 1 !== end) return NO_TIME
  } else if (zone === 0x2b || zone === 0x2d) {
    const ahead = twoDigits(at + 1)
    const aheadMinutes = twoDigits(at + 4)
    if (at + 6 !== end || load<u8>(at, 3) !== 0x3a || ahead > 23 || aheadMinutes > 59) return NO_TIME
    const offset: i64 = (ahead * 60 + aheadMinutes) * 60_000
    time += zone === 0x2b ? -offset : offset
  } else return NO_TIME
  return time >= EARLIEST_MS && time <= LATEST_MS ? time : NO_TIME
}

/** The number that two digits make; more than two can make when they are none. */
function twoDigits(at: usize): u32 {
  const high: u32 = <u32>load<u8>(at) - 0x30
  const low: u32 = <u32>load<u8>(at, 1) - 0x30
  return high > 9 || low > 9 ? 100 : high * 10 + low
}

const MONTH_DAYS = memory.data<u8>([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])

/** Milliseconds since 1970 of the day `2026-11-20`. */
function parseDate(at: usize): i64 {
  const century = twoDigits(at)
  const yearOfCentury = twoDigits(at + 2)
  const month = twoDigits(at + 5)
  const day = twoDigits(at + 8)
  if (century > 99 || yearOfCentury > 99 || month < 1 || month > 12) return NO_TIME
  if (load<u8>(at, 4) !== 0x2d || load<u8>(at, 7) !== 0x2d) return NO_TIME
  const year: i64 = century * 100 + yearOfCentury
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  const days: u32 = <u32>load<u8>(MONTH_DAYS + month - 1) + u32(month === 2 && isLeap)
  if (year < 1900 || day < 1 || day > days) return NO_TIME
  // Days since 1970 of a date in the calendar that begins with March: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
  const shifted: i64 = month > 2 ? year : year - 1
  const era: i64 = shifted / 400
  const yearOfEra: i64 = shifted - era * 400
  const dayOfYear: i64 = (153 * (month > 2 ? <i64>month - 3 : <i64>month + 9) + 2) / 5 + day - 1
  return (era * 146097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719468) * DAY_MS
}

/** Is it a UUID in its canonical form, in either case? */
export function isUuid(at: usize, length: u32): bool {
  if (length !== 36) return false
  // Dashes at 8, 13, 18 and 23, digits everywhere else.
  const digits = hexadecimals(at) | (hexadecimals(at + 16) << 16)
  const dashes = i8x16.bitmask(i8x16.eq(v128.load(at + 8), i8x16.splat(0x2d)))
  return digits === 0xff7bdeff && hexadecimals(at + 20) >>> 12 === 0xf && (dashes & 0x8421) === 0x8421
}

/** Which of the 16 bytes are hexadecimal digits. */
function hexadecimals(at: usize): u32 {
  const bytes = v128.load(at)
  const isDigit = i8x16.lt_u(i8x16.sub(bytes, i8x16.splat(0x30)), i8x16.splat(10))
  const lower = v128.or(bytes, i8x16.splat(0x20))
  const isLetter = i8x16.lt_u(i8x16.sub(lower, i8x16.splat(0x61)), i8x16.splat(6))
  return i8x16.bitmask(v128.or(isDigit, isLetter))
}

/** Where in the text the two digits of each byte stand, in the order that ClickHouse stores the bytes. */
const DIGITS_OF_BYTE = memory.data<u8>([16, 14, 11, 9, 6, 4, 2, 0, 34, 32, 30, 28, 26, 24, 21, 19])

/** Writes the 16 bytes of a UUID for which `isUuid` holds, as `src/native/uuid.ts` does. */
export function writeUuid(text: usize, to: usize): void {
  for (let index: usize = 0; index < 16; index++) {
    const at = text + load<u8>(DIGITS_OF_BYTE + index)
    store<u8>(to + index, (nibble(load<u8>(at)) << 4) | nibble(load<u8>(at, 1)))
  }
}

function nibble(digit: u32): u32 {
  return (digit & 0xf) + (digit >> 6) * 9
}

const random = memory.data(8192)
let randomUsed: u32 = 8192

/** Writes a new UUIDv7 (RFC 9562) in ClickHouse's order: 48 bits of milliseconds, 74 random bits. */
export function writeNewUuid(timeMs: i64, to: usize): void {
  if (randomUsed === 8192) {
    host.fillRandom(random, 8192)
    randomUsed = 0
  }
  const high: u64 = ((<u64>timeMs) << 16) | 0x7000 | (load<u64>(random + randomUsed) & 0xfff)
  const low: u64 = (load<u64>(random + randomUsed, 8) & 0x3fffffffffffffff) | 0x8000000000000000
  randomUsed += 16
  store<u64>(to, high)
  store<u64>(to, low, 8)
}

/** Writes the 16 bytes of an address, an IPv4 address mapped into IPv6; false when the text is none. */
export function writeAddress(at: usize, length: u32, isAnonymous: bool, to: usize): bool {
  const end = at + length
  let address: u32 = 0
  let from = at
  for (let part = 0; part < 4; part++) {
    const begin = from
    let value: u32 = 0
    for (; from < end && from < begin + 3; from++) {
      const digit: u32 = <u32>load<u8>(from) - 0x30
      if (digit > 9) break
      value = value * 10 + digit
    }
    const isPlain = from > begin && value < 256 && (load<u8>(begin) !== 0x30 || from === begin + 1)
    const isEnd = part === 3 ? from === end : from < end && load<u8>(from) === 0x2e
    if (!isPlain || !isEnd) return host.parseAddress(at, length, to)
    address |= value << (part << 3)
    from++
  }
  store<u64>(to, 0)
  store<u32>(to, 0xffff0000, 8)
  store<u32>(to, isAnonymous ? address & 0x00ffffff : address, 12)
  return true
}

/** What was found in an address last. */
export let partAt: usize = 0
export let partLength: u32 = 0

/** Room for what the host finds. */
const ANSWER_BYTES: u32 = 16 * 1024
const answer = memory.data(16 * 1024 + 64)

/** The path of a page's address, as `pathOf` in `src/page-address.ts` gives it; false when there is no room for it. */
export function findPath(at: usize, length: u32): bool {
  partLength = 0
  if (length === 0) return true
  const end = at + length
  const begin = authorityOf(at, length)
  if (begin === 0) {
    const isPath = load<u8>(at) === 0x2f && (length === 1 || !isSlash(load<u8>(at, 1)))
    return isPath ? setPart(at, pathEnd(at, end)) : askHost(host.pathOf(at, length, answer, ANSWER_BYTES))
  }
  const behind = pathEnd(begin, end)
  const path = findSlash(begin, behind)
  if (path < behind) return setPart(path, behind)
  store<u8>(answer, 0x2f)
  return setPart(answer, answer + 1)
}

/** The host of a page's address, as `hostOf` in `src/page-address.ts` gives it; false when there is no room for it. */
export function findHost(at: usize, length: u32): bool {
  partLength = 0
  if (length === 0) return true
  const begin = authorityOf(at, length)
  const end: usize = begin === 0 ? 0 : plainHostEnd(begin, findSlash(begin, pathEnd(begin, at + length)))
  if (end === 0) return askHost(host.hostOf(at, length, answer, ANSWER_BYTES))
  return setPart(withoutWww(begin, end), end)
}

function setPart(at: usize, end: usize): bool {
  partAt = at
  partLength = <u32>(end - at)
  return true
}

function askHost(length: i32): bool {
  partAt = answer
  partLength = <u32>length
  return length >= 0
}

/** Behind `https://` or `http://`; 0 when the address begins in another way. */
function authorityOf(at: usize, length: u32): usize {
  if (length < 7 || load<u32>(at) !== 0x70747468) return 0 // http
  if (load<u32>(at, 3) === 0x2f2f3a70) return at + 7 // p://
  return length >= 8 && load<u32>(at, 4) === 0x2f2f3a73 ? at + 8 : 0 // s://
}

/** Where what follows the path begins, or the end. */
function pathEnd(at: usize, end: usize): usize {
  return findEither(at, end, 0x3f, 0x23) // ? #
}

/** Where a path begins, or the end. */
function findSlash(at: usize, end: usize): usize {
  return findEither(at, end, 0x2f, 0x5c)
}

/** Where a host ends that needs no parser: lower case, without user, and not a number; 0 for any other. */
function plainHostEnd(begin: usize, end: usize): usize {
  let label = begin
  let at = begin
  for (; at < end; at += 16) {
    const bytes = v128.load(at)
    const isDot = i8x16.eq(bytes, i8x16.splat(0x2e))
    const others = ~i8x16.bitmask(v128.or(isDot, isNameByte(bytes)))
    const length = min(<u32>(end - at), <u32>ctz(others))
    const dots: u32 = i8x16.bitmask(isDot) & ((1 << length) - 1)
    if (dots !== 0) label = at + 32 - <usize>clz(dots)
    if (length === 16) continue
    at += length
    if (at < end && load<u8>(at) !== COLON) return 0
    break
  }
  for (let rest = at; rest < end; rest++) if (load<u8>(rest) === 0x40) return 0
  return label === at || <u32>load<u8>(label) - 0x30 <= 9 || at - begin > 255 ? 0 : at
}

/** Which of 16 bytes are lower-case letters, digits, dashes or underscores. */
function isNameByte(bytes: v128): v128 {
  const isLetter = i8x16.lt_u(i8x16.sub(bytes, i8x16.splat(0x61)), i8x16.splat(26))
  const isDigit = i8x16.lt_u(i8x16.sub(bytes, i8x16.splat(0x30)), i8x16.splat(10))
  const isDash = v128.or(i8x16.eq(bytes, i8x16.splat(0x2d)), i8x16.eq(bytes, i8x16.splat(0x5f)))
  return v128.or(v128.or(isLetter, isDigit), isDash)
}

/** Behind `www.`, where a name with a dot follows. */
function withoutWww(begin: usize, end: usize): usize {
  if (end - begin < 6 || load<u32>(begin) !== 0x2e777777) return begin
  for (let at = begin + 4; at < end; at++) if (load<u8>(at) === 0x2e) return at > begin + 4 ? begin + 4 : begin
  return begin
}

function isSlash(byte: u32): bool {
  return byte === 0x2f || byte === 0x5c
}
