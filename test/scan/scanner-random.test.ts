/** Whatever comes: what the scanner takes is good, and becomes what the reading of objects makes of it. `SCAN_RUNS` for longer by hand. */
import { describe, expect, test } from 'bun:test'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import type { Batch } from '../../src/batch.ts'
import { environment } from '../../src/config.ts'
import { IdKeys } from '../../src/dedupe/id-keys.ts'
import { isProblem } from '../../src/problem.ts'
import { BUILD, compiledScanner, STAMP_NAME } from '../../src/scan/compiled.ts'
import { ScannerModule } from '../../src/scan/module.ts'
import { Scanner } from '../../src/scan/scanner.ts'
import type { Logger } from '../../src/telemetry/logger.ts'
import { damage, eventTexts } from './random-bodies.ts'
import {
  blockOfObjects,
  bodyOf,
  Comparison,
  idOf,
  makeDraft,
  makeFacts,
  makeScanner,
  readObjects,
  ScannedBlocks,
  valuesOf,
} from './scan-fixture.ts'

const RUNS = Number(environment().SCAN_RUNS ?? 2_000)
const TIMEOUT_MS = 60_000 + RUNS * 20

describe('random bodies', () => {
  test(
    'are taken or left, and what is taken is the same in columns',
    () => {
      const both = new Comparison()
      fc.assert(
        fc.property(eventTexts, (texts) => {
          both.compare(`{"events":[${texts.join()}]}`)
          both.compare(`[${texts.join()}]`, 'message')
          both.compare(`{"seq":${texts.length},"events":[${texts.join()}]}`, 'message')
          both.compare(texts.map((text) => text.replaceAll(/[\n\r]/g, ' ')).join('\n'), 'lines')
        }),
        { numRuns: RUNS },
      )
      expect(both.taken / (both.taken + both.left)).toBeGreaterThan(0.4)
    },
    TIMEOUT_MS,
  )

  test(
    'that are damaged are taken only when they are still good',
    () => {
      const both = new Comparison()
      fc.assert(
        fc.property(eventTexts, damage, damage, (texts, first, second) => {
          both.compare(first(Buffer.from(`{"events":[${texts.join()}]}`)))
          both.compare(second(Buffer.from(texts.join('\n'))), 'lines')
        }),
        { numRuns: RUNS },
      )
      expect(both.taken).toBeGreaterThan(RUNS / 200)
      expect(both.left).toBeGreaterThan(RUNS)
    },
    TIMEOUT_MS,
  )

  test(
    'have the same ids and keys of ids, all of them or some',
    () => {
      const scanner = makeScanner()
      const scanned = new ScannedBlocks(scanner)
      const keys = new IdKeys('test').of('tenant', 'workspace')
      const keyOf = (batch: Batch, index: number) => {
        const { first, second, third } = batch.keyOf(index, keys)
        return [first, second, third]
      }
      fc.assert(
        fc.property(
          eventTexts,
          fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
          fc.nat(5),
          (texts, wanted, more) => {
            const bytes = Buffer.from(`{"events":[${texts.join()}]}`)
            const rows = scanner.read(makeFacts(), bytes, 'body')
            if (rows === undefined) return
            const events = readObjects(valuesOf(bytes, 'body') ?? [], makeFacts()) ?? []
            const indexes = texts.map((_, index) => index).filter((index) => wanted[index])
            const picked = rows.pick(indexes)
            // And some of those that were picked.
            const again = picked.pick(picked.length > more ? [more] : [])
            const batches: [Batch, typeof events][] = [
              [picked, indexes.map((index) => events[index] as (typeof events)[number])],
              [again, indexes.slice(more, more + 1).map((index) => events[index] as (typeof events)[number])],
              [rows, events],
            ]
            for (const [batch, expected] of batches) {
              expect(batch).toHaveLength(expected.length)
              for (const [index, event] of expected.entries()) {
                expect(batch.hasId(index)).toBe(true)
                expect(idOf(batch, index)).toBe(event.eventId?.toLowerCase() ?? '')
                expect(keyOf(batch, index)).toEqual(
                  Object.values(keys.ofText(event.eventId ?? '')).slice(0, 3) as number[],
                )
              }
              if (expected.length === 0) continue
              batch.appendTo(scanned.blocks)
              expect(scanned.take().equals(blockOfObjects(expected))).toBe(true)
            }
            rows.release()
          },
        ),
        { numRuns: RUNS / 4 },
      )
    },
    TIMEOUT_MS,
  )
})

test('an event without an id gets a new one, and is told apart from those with ids', () => {
  const scanner = makeScanner()
  const facts = makeFacts()
  const ids = new Set<string>()
  for (let request = 0; request < 300; request++) {
    const body = bodyOf(makeDraft({ event_id: undefined }), makeDraft(), makeDraft({ event_id: undefined }))
    const rows = scanner.read(facts, Buffer.from(body), 'body')
    if (rows === undefined) throw new Error('left')
    expect([0, 1, 2].map((index) => rows.hasId(index))).toEqual([false, true, false])
    for (const index of [0, 2]) {
      const id = idOf(rows, index)
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      expect(Number.parseInt(id.slice(0, 13).replace('-', ''), 16)).toBe(facts.receivedAt)
      ids.add(id)
    }
    rows.release()
  }
  expect(ids.size).toBe(600)
})

describe('texts and keys without end', () => {
  const MiB = 1024 * 1024

  test('are forgotten, and what comes between and afterwards is the same', () => {
    const both = new Comparison()
    for (let request = 0; request < 4_000; request++) {
      const own = Array.from({ length: 20 }, (_, index) => [`key ${request} ${index}`, index])
      const draft = makeDraft({
        type: `type ${request} ${'x'.repeat(80)}`,
        properties: {
          a: 1,
          ...Object.fromEntries(own),
          nested: { [`deep ${request}`]: [{ [`deeper ${request}`]: 1 }] },
        },
        context: {
          user_agent: `agent ${request}`,
          locale: `l${request}`,
          page_url: 'https://a/b',
          referrer: `https://host${request}.example/`,
        },
      })
      both.compare(bodyOf(draft, makeDraft()), 'body', makeFacts({ schemaVersion: String(request) }))
    }
    // Where the keys became too many, the request was left.
    expect(both.left).toBeLessThan(40)
    expect(both.scanner.memoryBytes).toBeLessThan(16 * MiB)
  })

  test('are too many for one block: then requests are left, until it is written', () => {
    const scanner = makeScanner()
    const scanned = new ScannedBlocks(scanner)
    let left = 0
    for (let request = 0; request < 1_000; request++) {
      const drafts = Array.from({ length: 100 }, (_, index) => makeDraft({ type: `type ${request} ${index}` }))
      const rows = scanner.read(makeFacts(), Buffer.from(bodyOf(...drafts)), 'body')
      if (rows === undefined) left++
      else rows.appendTo(scanned.blocks)
    }
    expect(left).toBeGreaterThan(300)
    scanned.take()
    const rows = scanner.read(makeFacts(), Buffer.from(bodyOf(makeDraft({ type: 'new' }))), 'body')
    expect(rows).toBeDefined()
    rows?.release()
    expect(scanner.memoryBytes).toBeLessThan(100 * MiB)
  })

  test('are kept while somebody holds rows that have them', () => {
    const both = new Comparison()
    const scanned = new ScannedBlocks(both.scanner)
    const drafts = Array.from({ length: 200 }, (_, index) => makeDraft({ type: `held ${index}` }))
    const bytes = Buffer.from(bodyOf(...drafts))
    const held = both.scanner.read(makeFacts(), bytes, 'body')
    for (let request = 0; request < 100; request++)
      both.compare(
        bodyOf(...Array.from({ length: 100 }, (_, index) => makeDraft({ type: `other ${request} ${index}` }))),
      )
    held?.appendTo(scanned.blocks)
    expect(scanned.take().equals(blockOfObjects(readObjects(drafts, makeFacts()) ?? []))).toBe(true)
    held?.release()
    for (let request = 0; request < 10; request++)
      expect(both.compare(bodyOf(makeDraft({ type: `new ${request}` })))).toBe(true)
  })
})

test('a scanner that fails says so once, and is not asked again', () => {
  const complaints: string[] = []
  const logger = { error: (_: unknown, message: string) => complaints.push(message) } as unknown as Logger
  const compiled = compiledScanner()
  if (isProblem(compiled)) throw new Error(compiled.message)
  const module = new ScannerModule(compiled)
  const readBody = () => {
    throw new Error('a bug')
  }
  const broken = Object.create(module, { exports: { value: { ...module.exports, readBody } } })
  const scanner = new Scanner(broken, logger)
  for (let request = 0; request < 3; request++)
    expect(scanner.read(makeFacts(), Buffer.from(bodyOf(makeDraft())), 'body')).toBeUndefined()
  expect(complaints).toHaveLength(1)
})

test('without a scanner there is a warning, and nothing else', () => {
  const warnings: string[] = []
  const logger = { warn: (message: string) => warnings.push(message) } as unknown as Logger
  expect(Scanner.open(logger, compiledScanner('/nowhere'))).toBeUndefined()
  expect(warnings).toEqual([expect.stringContaining('it was not compiled (`bun run build`)')])
})

test('a module of other sources is not used', () => {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-scanner-'))
  cpSync(BUILD, folder, { recursive: true })
  expect(compiledScanner(folder)).toBeInstanceOf(WebAssembly.Module)
  writeFileSync(join(folder, STAMP_NAME), '0'.repeat(64))
  expect(compiledScanner(folder)).toMatchObject({ problem: 'scanner_unusable' })
  rmSync(folder, { recursive: true })
})
