/** The scanner's memory: what fails in it, what is forgotten, and how much of it requests hold. */
import { expect, test } from 'bun:test'
import { bodyOf, Comparison, makeDraft, makeFacts, makeScanner } from './scan-fixture.ts'

test('a scanner that failed while it appended is not used any more', () => {
  const scanner = makeScanner()
  const block = scanner.newBlock()
  const body = bodyOf(makeDraft())
  expect(scanner.read(makeFacts(), body, 'body')?.length).toBe(1)
  expect(() => scanner.append(0xffff0000, block)).toThrow()
  expect(scanner.read(makeFacts(), body, 'body')).toBeUndefined()
})

test('what was told of a request is told again after texts were forgotten, also when it is empty', () => {
  const both = new Comparison()
  const body = bodyOf(makeDraft())
  for (const schemaVersion of ['', '7'])
    for (const userAgent of ['', 'curl/8']) {
      const facts = makeFacts({ schemaVersion, userAgent })
      expect(both.compare(body, 'body', facts)).toBe(true)
      // So many texts that all are forgotten, and their memory is used for others.
      for (let round = 0; round < 60; round++) {
        const drafts = Array.from({ length: 100 }, (_, index) =>
          makeDraft({ context: { user_agent: `agent ${schemaVersion} ${userAgent} ${round} ${index}` } }),
        )
        expect(both.compare(bodyOf(...drafts), 'body', facts)).toBe(true)
        expect(both.compare(body, 'body', facts)).toBe(true)
      }
    }
})

test('a request of one small event holds little, and in all only a part of the memory', () => {
  const scanner = makeScanner()
  const body = JSON.stringify([makeDraft({ properties: { a: 1 } })])
  const held = Array.from({ length: 50_000 }, () => scanner.read(makeFacts(), body, 'message'))
  const rows = held.filter((one) => one !== undefined)
  expect(rows.length).toBeGreaterThan(10_000)
  expect(scanner.held.bytes / rows.length).toBeLessThan(6 * 1024)
  expect(scanner.memoryBytes).toBeLessThan(300 * 1024 * 1024)
  for (const one of rows) one.release()
  expect(scanner.held).toEqual({ rows: 0, bytes: 0 })
})
