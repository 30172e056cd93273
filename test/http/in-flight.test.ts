import { expect, test } from 'bun:test'
import { InFlightBytes } from '../../src/http/in-flight.ts'

test('a part holds no more than its own, nor than the whole has room for, and what leaves it stays in the whole', () => {
  const whole = new InFlightBytes(100)
  const part = new InFlightBytes(50, whole)
  expect(part.take(51)).toBe(false)
  expect(part.take(50)).toBe(true)
  expect(part.take(1)).toBe(false)
  expect(whole.take(51)).toBe(false)
  expect([part.heldBytes, whole.heldBytes]).toEqual([50, 50])

  part.leave(30)
  expect([part.heldBytes, whole.heldBytes]).toEqual([20, 50])
  expect(whole.take(40)).toBe(true)
  expect(part.take(20)).toBe(false)
  expect([part.heldBytes, whole.heldBytes]).toEqual([20, 90])

  whole.release(30 + 40)
  part.release(20)
  expect([part.heldBytes, whole.heldBytes]).toEqual([0, 0])
})
