/** JSON's numbers. Those that a float holds exactly by one multiplication are read here, the rest by the host. */
import { parseNumber } from './host'

/** The number that was read last: an integer or a float. */
export let isInteger: bool = false
export let integer: i64 = 0
export let float: f64 = 0

/** 2^53 - 1: integers beyond are not safe in a float. */
const SAFE_MAX: u64 = 9007199254740991
/** More digits may not fit 64 bits. */
const DIGITS_MAX: u32 = 19
/** 10^22 is the largest power of ten that is exact in a float. */
const EXPONENT_MAX: i32 = 22

const POWERS = memory.data<f64>([
  1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
  1e21, 1e22,
])

/**
 * Reads a number; gives the address behind it. 0 when it is none, and when it is beyond 2^53, where digits may be lost.
 * What has no fraction is an integer, also `1.0` and `1e3`, but not `-0`: so JavaScript sees it.
 */
export function readNumber(at: usize): usize {
  const begin = at
  const isNegative = load<u8>(at) === 0x2d
  if (isNegative) at++
  let digit: u32 = <u32>load<u8>(at) - 0x30
  if (digit > 9) return 0
  let value: u64 = digit
  let digits: u32 = 1
  at++
  if (digit !== 0) {
    while (true) {
      digit = <u32>load<u8>(at) - 0x30
      if (digit > 9) break
      value = value * 10 + digit
      digits++
      at++
    }
  }
  const next: u32 = load<u8>(at)
  if (next !== 0x2e && (next | 0x20) !== 0x65) {
    if (digits > DIGITS_MAX || value > SAFE_MAX) return 0
    isInteger = value !== 0 || !isNegative
    integer = isNegative ? -(<i64>value) : <i64>value
    float = isInteger ? <f64>integer : -0.0
    return at
  }
  let exponent: i32 = 0
  if (next === 0x2e) {
    const point = ++at
    while (true) {
      digit = <u32>load<u8>(at) - 0x30
      if (digit > 9) break
      value = value * 10 + digit
      at++
    }
    if (at === point) return 0
    exponent = <i32>(point - at)
    digits += <u32>(at - point)
  }
  if ((load<u8>(at) | 0x20) === 0x65) {
    at++
    const sign: u32 = load<u8>(at)
    if (sign === 0x2b || sign === 0x2d) at++
    const first = at
    let given: i32 = 0
    while (true) {
      digit = <u32>load<u8>(at) - 0x30
      if (digit > 9) break
      if (given < 10000) given = given * 10 + <i32>digit
      at++
    }
    if (at === first) return 0
    exponent += sign === 0x2d ? -given : given
  }
  if (digits <= DIGITS_MAX && value <= SAFE_MAX && abs(exponent) <= EXPONENT_MAX) {
    const power = load<f64>(POWERS + ((<usize>abs(exponent)) << 3))
    float = exponent < 0 ? <f64>value / power : <f64>value * power
    if (isNegative) float = -float
  } else float = parseNumber(begin, <u32>(at - begin))
  if (!(abs(float) <= <f64>SAFE_MAX)) return 0
  isInteger = float === trunc(float) && (float !== 0 || reinterpret<i64>(float) === 0)
  if (isInteger) integer = <i64>float
  return at
}
