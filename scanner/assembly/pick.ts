/** Some of a request's events: those that are new, or those that another request is storing just now. */
import { Bytes } from './bytes'
import { Rows } from './rows'
import { COLUMNS, EVENT_ID, IP, Kind, kindOf } from './table'

/** Appends those events to `to` for which a byte at `wanted` is not 0. */
export function pick(from: Rows, wanted: usize, to: Rows): void {
  for (let column: u32 = 0; column < COLUMNS; column++) {
    const kind = kindOf(column)
    if (kind === Kind.TEXT) pickTexts(from.column(column), from.count, wanted, to.column(column))
    else if (kind === Kind.JSON) pickJson(from, column, wanted, to)
    else pickFixed(from.column(column), from.count, sizeOf(column, kind), wanted, to.column(column))
  }
  pickFixed(from.areIdsGiven, from.count, 1, wanted, to.areIdsGiven)
  for (let row: u32 = 0; row < from.count; row++) if (load<u8>(wanted + row) !== 0) to.count++
}

/** Bytes of a value, in rows. */
function sizeOf(column: u32, kind: Kind): u32 {
  if (kind === Kind.LOW_CARDINALITY) return sizeof<usize>()
  return column === EVENT_ID || column === IP ? 16 : 8
}

function pickFixed(from: Bytes, count: u32, size: u32, wanted: usize, to: Bytes): void {
  for (let row: u32 = 0; row < count; row++) if (load<u8>(wanted + row) !== 0) to.append(from.begin + row * size, size)
}

function pickTexts(from: Bytes, count: u32, wanted: usize, to: Bytes): void {
  let at = from.begin
  for (let row: u32 = 0; row < count; row++) {
    const end = behindText(at)
    if (load<u8>(wanted + row) !== 0) to.append(at, <u32>(end - at))
    at = end
  }
}

function pickJson(from: Rows, column: u32, wanted: usize, to: Rows): void {
  const ends = from.column(column)
  const toEnds = to.column(column)
  let path = from.pathsOf(column).begin
  let value = from.valuesOf(column).begin
  let before: u64 = 0
  let total: u64 = toEnds.length === 0 ? 0 : load<u64>(toEnds.end - 8)
  for (let row: u32 = 0; row < from.count; row++) {
    const end = load<u64>(ends.begin + (row << 3))
    const entries = <u32>(end - before)
    const pathEnd = behindTexts(path, entries)
    const valueEnd = behindTexts(value, entries)
    if (load<u8>(wanted + row) !== 0) {
      total += entries
      toEnds.appendInt64(total)
      to.pathsOf(column).append(path, <u32>(pathEnd - path))
      to.valuesOf(column).append(value, <u32>(valueEnd - value))
    }
    before = end
    path = pathEnd
    value = valueEnd
  }
}

function behindTexts(at: usize, count: u32): usize {
  for (let index: u32 = 0; index < count; index++) at = behindText(at)
  return at
}

/** Behind a text that has its length in front. */
function behindText(at: usize): usize {
  let byte: u32 = load<u8>(at++)
  let length = byte & 0x7f
  for (let shift: u32 = 7; byte >= 0x80; shift += 7) {
    byte = load<u8>(at++)
    length |= (byte & 0x7f) << shift
  }
  return at + length
}
