/** UUIDs in ClickHouse's binary form: two little-endian UInt64, the high half first. */

/** Bytes of one. */
export const UUID_BYTES = 16

/** Value of a hexadecimal digit by its char code, 0xff for anything else. */
const NIBBLES = new Uint8Array(128).fill(0xff)
for (let value = 0; value < 16; value++) {
  const digit = value.toString(16)
  NIBBLES[digit.charCodeAt(0)] = value
  NIBBLES[digit.toUpperCase().charCodeAt(0)] = value
}

/** Where in the text the two digits of each byte stand, in the order the bytes are stored. */
const DIGITS_OF_BYTE = [16, 14, 11, 9, 6, 4, 2, 0, 34, 32, 30, 28, 26, 24, 21, 19]

/** Is `text` a UUID in its canonical 8-4-4-4-12 form, in either case? */
export function isUuid(text: string): boolean {
  if (text.length !== 36) return false
  for (let index = 0; index < 36; index++) {
    const code = text.charCodeAt(index)
    if (index === 8 || index === 13 || index === 18 || index === 23) {
      if (code !== 0x2d) return false
    } else if (code > 0x7f || NIBBLES[code] === 0xff) {
      return false
    }
  }
  return true
}

/** Writes the 16 bytes of a UUID given as text; `isUuid(text)` must hold. */
export function writeUuid(text: string, target: Uint8Array, offset: number): void {
  for (let index = 0; index < 16; index++) {
    const at = DIGITS_OF_BYTE[index] as number
    const high = NIBBLES[text.charCodeAt(at)] as number
    target[offset + index] = (high << 4) | (NIBBLES[text.charCodeAt(at + 1)] as number)
  }
}

const RANDOM_BYTES = 8192
const random = new Uint8Array(RANDOM_BYTES)
let randomUsed = RANDOM_BYTES

/**
 * Writes a new UUIDv7 (RFC 9562): 48 bits of milliseconds, 74 random bits.
 * @param timeMs milliseconds since the epoch
 */
export function writeNewUuid(timeMs: number, target: Uint8Array, offset: number): void {
  if (randomUsed === RANDOM_BYTES) {
    crypto.getRandomValues(random)
    randomUsed = 0
  }
  const at = randomUsed
  randomUsed += 16
  // High half: rand_a with the version, then the time; both halves little-endian.
  target[offset] = random[at] as number
  target[offset + 1] = 0x70 | ((random[at + 1] as number) & 0x0f)
  const low = timeMs >>> 0
  const high = Math.floor(timeMs / 0x1_0000_0000)
  target[offset + 2] = low
  target[offset + 3] = low >>> 8
  target[offset + 4] = low >>> 16
  target[offset + 5] = low >>> 24
  target[offset + 6] = high
  target[offset + 7] = high >>> 8
  for (let index = 8; index < 15; index++) target[offset + index] = random[at + index] as number
  target[offset + 15] = 0x80 | ((random[at + 15] as number) & 0x3f)
}
