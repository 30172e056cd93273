/** The scanner's memory: what fails in it, what is forgotten, and how much of it requests hold. */
import { expect, test } from 'bun:test'
import { bodyOf, makeDraft, makeFacts, makeScanner } from './scan-fixture.ts'

test('a scanner that failed while it appended is not used any more', () => {
  const scanner = makeScanner()
  const block = scanner.newBlock()
  const body = bodyOf(makeDraft())
  expect(scanner.read(makeFacts(), body, 'body')?.length).toBe(1)
  expect(() => scanner.append(0xffff0000, block)).toThrow()
  expect(scanner.read(makeFacts(), body, 'body')).toBeUndefined()
})
