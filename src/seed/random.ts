/** Random numbers that a seed decides, for demo traffic that comes out the same again. Not for secrets. */

const MIXES = 12

/** sfc32 by Chris Doty-Humphrey: 128 bits of state, so that ids made of it do not meet. */
export class Random {
  private a: number
  private b: number
  private c: number
  private counter: number

  /** The same parts, the same numbers. */
  constructor(...parts: readonly (string | number)[]) {
    const text = JSON.stringify(parts)
    const [first, second] = [Bun.hash.wyhash(text, 1n), Bun.hash.wyhash(text, 2n)]
    this.a = Number(first & 0xffffffffn)
    this.b = Number(first >> 32n)
    this.c = Number(second & 0xffffffffn)
    this.counter = Number(second >> 32n)
    for (let mix = 0; mix < MIXES; mix++) this.bits()
  }

  /** A whole number of 32 bits. */
  bits(): number {
    const sum = (this.a + this.b + this.counter) | 0
    this.counter = (this.counter + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = ((this.c << 21) | (this.c >>> 11)) + sum
    return sum >>> 0
  }

  /** From 0 to below 1. */
  next(): number {
    return this.bits() / 0x1_0000_0000
  }

  /** A whole number from `from` to `to`, both possible. */
  between(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** Around a median, with a long tail to the right, as times on pages are: `spread` 1 puts two thirds within a factor of 2.7. */
  around(median: number, spread: number): number {
    const normal = Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next())
    return median * Math.exp(normal * spread)
  }

  /** Exponentially distributed. */
  exponential(mean: number): number {
    return -mean * Math.log(1 - this.next())
  }

  /** One of several, all alike. Wants at least one. */
  pick<Value>(values: readonly Value[]): Value {
    return values[Math.floor(this.next() * values.length)] as Value
  }

  /** One of several, by their weights; the sum need not be 1. Wants at least one. */
  weighted<Value>(values: readonly Value[], weightOf: (value: Value) => number): Value {
    let rest = this.next() * values.reduce((sum, value) => sum + weightOf(value), 0)
    for (const value of values) {
      rest -= weightOf(value)
      if (rest < 0) return value
    }
    return values.at(-1) as Value
  }

  /** Hexadecimal digits, at most 8. */
  hex(digits: number): string {
    return this.bits().toString(16).padStart(8, '0').slice(0, digits)
  }

  /** A UUID of version 4. */
  uuid(): string {
    const [a, b, c, d] = [this.hex(8), this.hex(8), this.hex(8), this.hex(8)]
    return `${a}-${b.slice(0, 4)}-4${b.slice(5)}-a${c.slice(1, 4)}-${c.slice(4)}${d}`
  }
}
