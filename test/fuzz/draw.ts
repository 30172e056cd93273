/** What is random about one request: everything of it follows from the run's seed and the request's number. */
import fc from 'fast-check'
import { randomFrom } from '../support/random.ts'

/** Spreads neighbouring numbers (a prime near 2^32 divided by the golden ratio). */
const SPREAD = 0x9e3779b1

export class Draw {
  readonly number: number
  readonly random: () => number
  private readonly seed: number

  constructor(seed: number, number: number) {
    this.number = number
    this.seed = Math.imul(seed ^ Math.imul(number + 1, SPREAD), SPREAD) | 0
    this.random = randomFrom(this.seed)
  }

  chance(share: number): boolean {
    return this.random() < share
  }

  /** From `least` up to and with `most`. */
  integer(least: number, most: number): number {
    return least + Math.floor(this.random() * (most - least + 1))
  }

  pick<Value>(values: readonly Value[]): Value {
    return values[Math.floor(this.random() * values.length)] as Value
  }

  /** One of several, the likelier the larger its weight. */
  weighted<Value>(values: readonly (readonly [weight: number, value: Value])[]): Value {
    let left = this.random() * values.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, value] of values) {
      left -= weight
      if (left < 0) return value
    }
    return (values.at(-1) as readonly [number, Value])[1]
  }

  /** One value of an arbitrary. */
  sample<Value>(arbitrary: fc.Arbitrary<Value>): Value {
    const seed = Math.floor(this.random() * 2 ** 31)
    return fc.sample(arbitrary, { seed, numRuns: 1 })[0] as Value
  }

  uuid(): string {
    const hex = Array.from({ length: 32 }, () => this.integer(0, 15).toString(16)).join('')
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  }
}
