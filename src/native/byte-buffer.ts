/**
 * A growing byte array that columns are written into. Its memory is kept between blocks: `clear` only rewinds.
 * The limits on blocks (see `event-block.ts`) bound how far one can grow.
 */

/** Below this many characters a plain loop over char codes beats `TextEncoder.encodeInto` and `Buffer.write` in Bun (measured). */
const LOOP_CHARS_MAX = 128

/** How much memory a buffer keeps between blocks. */
const KEPT_BYTES_MAX = 1024 * 1024

/** Below this many bytes a loop beats `set`. */
const COPY_LOOP_MAX = 48

const float = new Float64Array(1)
const floatBytes = new Uint8Array(float.buffer)

export class ByteBuffer {
  bytes: Buffer
  length = 0

  /** @param capacityBytes memory to start with */
  constructor(capacityBytes = 256) {
    this.bytes = Buffer.allocUnsafeSlow(capacityBytes)
  }

  /** Empties the buffer; memory beyond what a usual block needs is given back. */
  clear(): void {
    this.length = 0
    if (this.bytes.length > KEPT_BYTES_MAX) this.bytes = Buffer.allocUnsafeSlow(KEPT_BYTES_MAX)
  }

  /** Makes room for `more` bytes behind `length`. */
  ensure(more: number): void {
    const needed = this.length + more
    if (needed > this.bytes.length) this.grow(needed)
  }

  private grow(needed: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    grown.set(this.bytes.subarray(0, this.length))
    this.bytes = grown
  }

  /** Appends one byte. */
  byte(value: number): void {
    if (this.length === this.bytes.length) this.grow(this.length + 1)
    this.bytes[this.length++] = value
  }

  /** Appends a 64-bit little-endian integer; `value` is a safe integer (|value| ≤ 2^53), negative ones in two's complement. */
  int64(value: number): void {
    this.ensure(8)
    writeInt64(this.bytes, this.length, value)
    this.length += 8
  }

  /** Appends a 64-bit integer, signed or not, that is beyond 2^53. */
  bigint(value: bigint): void {
    this.ensure(8)
    this.bytes.writeBigUInt64LE(BigInt.asUintN(64, value), this.length)
    this.length += 8
  }

  /** Appends a 64-bit float. */
  float64(value: number): void {
    this.ensure(8)
    float[0] = value
    const { bytes, length } = this
    for (let index = 0; index < 8; index++) bytes[length + index] = floatBytes[index] as number
    this.length += 8
  }

  /** Appends an unsigned LEB128 below 2^32. */
  varuint(value: number): void {
    this.ensure(5)
    this.length = writeVaruint(this.bytes, this.length, value)
  }

  /** Appends the first `count` of `source`'s bytes. */
  append(source: Uint8Array, count = source.length): void {
    this.appendPart(source, 0, count)
  }

  /** Appends `source`'s bytes from `begin` to `end`. */
  appendPart(source: Uint8Array, begin: number, end: number): void {
    const count = end - begin
    this.ensure(count)
    if (count > COPY_LOOP_MAX) {
      this.bytes.set(source.subarray(begin, end), this.length)
    } else {
      const { bytes, length } = this
      for (let index = 0; index < count; index++) bytes[length + index] = source[begin + index] as number
    }
    this.length += count
  }

  /** Appends a string as ClickHouse's Native format has it: varuint byte length, UTF-8. A lone surrogate becomes U+FFFD, as in every UTF-8 encoder. */
  string(text: string): void {
    const chars = text.length
    if (chars < LOOP_CHARS_MAX) {
      this.ensure(chars + 1)
      const { bytes } = this
      let at = this.length
      bytes[at++] = chars
      let index = 0
      for (; index < chars; index++) {
        const code = text.charCodeAt(index)
        if (code > 0x7f) break
        bytes[at++] = code
      }
      if (index === chars) {
        this.length = at
        return
      }
    }
    const textBytes = Buffer.byteLength(text)
    this.ensure(textBytes + 5)
    this.length = writeVaruint(this.bytes, this.length, textBytes)
    this.length += this.bytes.write(text, this.length, 'utf8')
  }

  /** Copies what was written to `target` at `offset`; gives the offset behind it. */
  copyTo(target: Uint8Array, offset: number): number {
    if (this.length > 0) target.set(this.bytes.subarray(0, this.length), offset)
    return offset + this.length
  }
}

/** Writes an unsigned LEB128 (ClickHouse's varuint) below 2^32; gives the offset behind it. */
export function writeVaruint(target: Uint8Array, offset: number, value: number): number {
  while (value > 0x7f) {
    target[offset++] = (value & 0x7f) | 0x80
    value >>>= 7
  }
  target[offset++] = value
  return offset
}

/** How many bytes `writeVaruint` takes for `value`. */
export function varuintBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5
}

/** Writes a safe integer as 64-bit little-endian two's complement. */
export function writeInt64(target: Uint8Array, offset: number, value: number): void {
  const low = value >>> 0
  const high = Math.floor(value / 0x1_0000_0000)
  target[offset] = low
  target[offset + 1] = low >>> 8
  target[offset + 2] = low >>> 16
  target[offset + 3] = low >>> 24
  target[offset + 4] = high
  target[offset + 5] = high >> 8
  target[offset + 6] = high >> 16
  target[offset + 7] = high >> 24
}

/** A string in Native form (varuint length, UTF-8), made once for names and types. */
export function nativeString(text: string): Uint8Array {
  const buffer = new ByteBuffer(text.length * 3 + 5)
  buffer.string(text)
  return buffer.bytes.subarray(0, buffer.length)
}
