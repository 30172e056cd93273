/** Every value is stored with its whole path: what the paths of one object may take is bounded, in both ways of reading. */
import { describe, expect, test } from 'bun:test'
import { readDraft } from '../../src/draft.ts'
import { Findings } from '../../src/event-reading.ts'
import { JSON_LIMITS } from '../../src/native/json-shape.ts'
import { bodyOf, Comparison, makeDraft, makeFacts } from '../scan/scan-fixture.ts'

const { pathBytesMax } = JSON_LIMITS

/** An object in which paths are long: `values` keys below `levels` of as many bytes. */
function deep(levels: number, keyBytes: number, values: number): Record<string, unknown> {
  let object: Record<string, unknown> = {}
  for (let index = 0; index < values; index++) object[`v${String(index).padStart(4, '0')}`] = 1
  for (let level = 0; level < levels; level++) object = { ['k'.repeat(keyBytes)]: object }
  return object
}

/** Bytes of all paths of `deep`, the keys around its values too. */
function bytesOfDeep(levels: number, keyBytes: number, values: number): number {
  let bytes = 0
  for (let level = 1; level <= levels; level++) bytes += level * (keyBytes + 1) - 1
  return bytes + values * (levels * (keyBytes + 1) + 5)
}

/** `deep` with keys of 200 bytes, and a few more beside, so that its paths take exactly so many bytes. */
function ofPathBytes(wanted: number): Record<string, unknown> {
  const object = deep(5, 200, 250)
  let left = wanted - bytesOfDeep(5, 200, 250)
  for (let index = 0; left > 0; index++) {
    const bytes = Math.min(left, 100)
    object[String(index).padStart(bytes, 'x').slice(-bytes)] = 1
    left -= bytes
  }
  return object
}

function errorsOf(draft: unknown) {
  const findings = new Findings()
  readDraft(draft, 0, makeFacts(), findings)
  return findings.errors
}

describe('the paths of one object', () => {
  test('may take so many bytes, whichever way they are read', () => {
    for (const name of ['properties', 'context']) {
      const draft = makeDraft({ [name]: ofPathBytes(pathBytesMax) })
      expect(errorsOf(draft)).toEqual([])
      expect(new Comparison().compare(bodyOf(draft))).toBe(true)
    }
  })

  test('may not take one more: the message names object and limit', () => {
    for (const name of ['properties', 'context']) {
      const draft = makeDraft({ [name]: ofPathBytes(pathBytesMax + 1) })
      const message = `the paths of its keys take ${pathBytesMax + 1} bytes, at most ${pathBytesMax} are allowed`
      expect(errorsOf(draft)).toEqual([{ index: 0, code: 'invalid_event', path: name, message }])
      expect(new Comparison().compare(bodyOf(draft))).toBe(false)
    }
  })

  test('count what a context has columns for, as the objects’ way does', () => {
    const context = { locale: 'de', ...ofPathBytes(pathBytesMax - 5) }
    const draft = makeDraft({ context })
    expect([errorsOf(draft).length, new Comparison().compare(bodyOf(draft))]).toEqual([1, false])
  })

  test('are as long as they are stored: bytes and not characters, dots escaped', () => {
    for (const [character, bytes] of [
      ['k', 1],
      ['ü', 2],
      ['日', 3],
      ['.', 3],
    ] as const) {
      const levels = 4
      const most = Math.floor((pathBytesMax - bytesOfDeep(levels, 80 * bytes, 0)) / (levels * (80 * bytes + 1) + 5))
      for (const values of [most, most + 1]) {
        const properties = JSON.parse(JSON.stringify(deep(levels, 80, values)).replaceAll('k', character))
        const draft = makeDraft({ properties })
        expect([character, errorsOf(draft).length]).toEqual([character, values - most])
        expect(new Comparison().compare(bodyOf(draft))).toBe(values === most)
      }
    }
  })

  test('count in arrays, where they begin with each element', () => {
    const elements = (count: number) => ({ ['a'.repeat(250)]: Array.from({ length: count }, () => deep(3, 200, 20)) })
    const bytes = bytesOfDeep(3, 200, 20)
    const most = Math.floor((pathBytesMax - 250) / bytes)
    for (const [count, isGood] of [
      [most, true],
      [most + 1, false],
    ] as const) {
      const draft = makeDraft({ properties: elements(count) })
      expect([count, errorsOf(draft).length === 0]).toEqual([count, isGood])
      expect(new Comparison().compare(bodyOf(draft))).toBe(isGood)
    }
  })

  test('are no concern of honest events: 2,000 values with paths of 130 bytes', () => {
    const draft = makeDraft({ properties: deep(4, 30, 1990) })
    expect(errorsOf(draft)).toEqual([])
  })

  test('a body of 44 KB compressed cannot become a block of hundreds of MB', () => {
    const draft = makeDraft({ properties: deep(31, 255, 1960) })
    expect(errorsOf(draft).map(({ code }) => code)).toEqual(['invalid_event'])
    expect(new Comparison().compare(bodyOf(draft, draft))).toBe(false)
  })
})
