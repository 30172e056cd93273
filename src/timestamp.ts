/** ISO 8601 times as clients send them. `Date.parse` takes much more, differs between engines and is slower. */

/** What DateTime64(3) in table `events` can hold: 1900-01-01 up to 2299-12-31. */
const EARLIEST_MS = Date.UTC(1900, 0, 1)
const LATEST_MS = Date.UTC(2300, 0, 1) - 1

/** Seconds of the years 2001 to 2286; as milliseconds they are of January to April 1970, which nobody means. */
const SECONDS_MIN = 1e9
const SECONDS_MAX = 1e10

let lastDate = ''
let lastDateMs = Number.NaN

/**
 * `2026-11-20T08:09:10.123Z`: date, then optionally time, fraction of any length (cut to milliseconds) and zone (`Z`, `+02:00`, `+0200`);
 * without a zone it is UTC. A space may stand for the `T`.
 * @returns milliseconds since the epoch, or NaN for anything else and for times outside the years 1900 to 2299
 */
export function parseTimestamp(text: string): number {
  const date = text.slice(0, 10)
  if (date !== lastDate) {
    const dateMs = parseDate(date)
    if (Number.isNaN(dateMs)) return Number.NaN
    lastDate = date
    lastDateMs = dateMs
  }
  const timeMs = text.length === 10 ? 0 : parseTime(text)
  const sum = lastDateMs + timeMs
  return isStorableTime(sum) ? sum : Number.NaN
}

/**
 * A time that a client gives as a number, which has to be milliseconds since the epoch.
 * @returns it without fraction, or NaN for times outside the years 1900 to 2299, and for what must be seconds
 */
export function readMilliseconds(value: number): number {
  const areSeconds = value >= SECONDS_MIN && value < SECONDS_MAX
  return isStorableTime(value) && !areSeconds ? Math.trunc(value) : Number.NaN
}

/** Whether milliseconds since the epoch are of the years that can be stored. */
export function isStorableTime(timeMs: number): boolean {
  return timeMs >= EARLIEST_MS && timeMs <= LATEST_MS
}

function parseDate(date: string): number {
  if (date.length !== 10 || date.charCodeAt(4) !== 0x2d || date.charCodeAt(7) !== 0x2d) return Number.NaN
  const year = digits(date, 0, 4)
  const month = digits(date, 5, 2)
  const day = digits(date, 8, 2)
  const dateMs = Date.UTC(year, month - 1, day)
  // Date.UTC rolls the 31st of February over into March, and takes years below 100 for the 20th century.
  return new Date(dateMs).getUTCDate() === day && new Date(dateMs).getUTCMonth() === month - 1 && year >= 1900
    ? dateMs
    : Number.NaN
}

function parseTime(text: string): number {
  const separator = text.charCodeAt(10)
  if (separator !== 0x54 && separator !== 0x74 && separator !== 0x20) return Number.NaN
  const hours = digits(text, 11, 2)
  const minutes = digits(text, 14, 2)
  if (text.charCodeAt(13) !== 0x3a || !(hours < 24 && minutes < 60)) return Number.NaN
  let at = 16
  let seconds = 0
  let millis = 0
  if (text.charCodeAt(16) === 0x3a) {
    seconds = digits(text, 17, 2)
    if (!(seconds <= 60)) return Number.NaN
    at = 19
    const point = text.charCodeAt(19)
    if (point === 0x2e || point === 0x2c) {
      at = 20
      for (let unit = 100; isDigit(text.charCodeAt(at)); at++, unit /= 10)
        if (unit >= 1) millis += unit * (text.charCodeAt(at) - 0x30)
      if (at === 20) return Number.NaN
    }
  }
  return ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis - parseZone(text, at)
}

/** What a zone is ahead of UTC, in milliseconds. */
function parseZone(text: string, at: number): number {
  if (at === text.length) return 0
  const sign = text.charCodeAt(at)
  if (sign === 0x5a || sign === 0x7a) return at + 1 === text.length ? 0 : Number.NaN
  if (sign !== 0x2b && sign !== 0x2d) return Number.NaN
  const hours = digits(text, at + 1, 2)
  const minutesAt = text.charCodeAt(at + 3) === 0x3a ? at + 4 : at + 3
  const minutes = at + 3 === text.length ? 0 : digits(text, minutesAt, 2)
  if (at + 3 !== text.length && minutesAt + 2 !== text.length) return Number.NaN
  if (!(hours < 24 && minutes < 60)) return Number.NaN
  const ahead = (hours * 60 + minutes) * 60_000
  return sign === 0x2b ? ahead : -ahead
}

/** The number that `count` digits at `at` make, NaN when one of them is none. */
function digits(text: string, at: number, count: number): number {
  let value = 0
  for (let index = at; index < at + count; index++) {
    const code = text.charCodeAt(index)
    if (!isDigit(code)) return Number.NaN
    value = value * 10 + code - 0x30
  }
  return value
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}
