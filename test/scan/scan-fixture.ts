/** The scanner beside the reading of events as objects: whatever it takes, both are to make the same block of. */
import { expect } from 'bun:test'
import type { Authenticated } from '../../src/auth/key-cache.ts'
import { type Batch, EventBatch, type OpenBlocks } from '../../src/batch.ts'
import { readDraft } from '../../src/draft.ts'
import { enrich } from '../../src/enrich.ts'
import type { Event } from '../../src/event.ts'
import { Findings, type RequestFacts } from '../../src/event-reading.ts'
import { parseJson } from '../../src/json.ts'
import { EventBlock } from '../../src/native/event-block.ts'
import { UUID_BYTES } from '../../src/native/uuid.ts'
import { eventsOf } from '../../src/protocols/events.ts'
import { compiledScanner } from '../../src/scan/compiled.ts'
import type { ScannedRows } from '../../src/scan/scanned-rows.ts'
import { type ScanForm, Scanner } from '../../src/scan/scanner.ts'
import { createLogger } from '../../src/telemetry/logger.ts'

/** More than names, types and empty dictionaries take in a block. */
const HEADER_BYTES = 2000

export const RECEIVED_AT = Date.UTC(2026, 10, 20, 12)

export function makeScanner(): Scanner {
  const scanner = Scanner.open(createLogger({ level: 'silent' }), compiledScanner())
  if (scanner === undefined) throw new Error('the scanner is not compiled: bun run build')
  return scanner
}

export function makeFacts(changes: Partial<RequestFacts> = {}): RequestFacts {
  return {
    key: { tenantId: 'tenant', workspaceId: 'workspace' } as Authenticated,
    protocol: 'v1/events',
    receivedAt: RECEIVED_AT,
    ip: Uint8Array.from({ length: 16 }, (_, index) => index),
    anonymizeIp: false,
    userAgent: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36',
    schemaVersion: '7',
    ...changes,
  }
}

/** An event in the shape of the canonical protocol, with an id, so that it is the same at every reading. */
export function makeDraft(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    type: 'pageview',
    timestamp: '2026-11-20T08:09:10.123Z',
    session_id: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b',
    event_id: '018f2f5e-6b2c-7d4f-8e3a-4b5c6d7e8f90',
    properties: {},
    ...changes,
  }
}

/** Events as they are read as objects; undefined when there is anything to say about one, or digits would be lost. */
export function readObjects(
  values: readonly unknown[],
  facts: RequestFacts,
  findings = new Findings(),
): Event[] | undefined {
  const events = values.map((value, index) => readDraft(value, index, facts, findings))
  const good = events.filter((event) => event !== undefined)
  const isClear = good.length === values.length && findings.warnings.length === 0 && !findings.imprecise
  if (!isClear) return undefined
  for (const event of good) enrich(event)
  return good
}

/** The values of a body; undefined when it is none. */
export function valuesOf(bytes: Uint8Array, form: ScanForm): readonly unknown[] | undefined {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
  if (form === 'lines') {
    const lines = text.split('\n')
    if (lines.at(-1) === '') lines.pop()
    const parsed = lines.filter((line) => line !== '' && line !== '\r').map(parseJson)
    return parsed.some((one) => 'malformed' in one) ? undefined : parsed.map((one) => ('value' in one ? one.value : 0))
  }
  const parsed = parseJson(text)
  if ('malformed' in parsed) return undefined
  return form === 'message' && Array.isArray(parsed.value) ? parsed.value : eventsOf(parsed.value)
}

/** The block of events that are objects. */
export function blockOfObjects(events: readonly Event[]): Buffer {
  const block = new EventBlock()
  for (const event of events) block.append(event)
  return written(block)
}

/** The block of rows that were scanned. */
export class ScannedBlocks {
  private readonly scanner: Scanner
  readonly blocks: OpenBlocks

  constructor(scanner: Scanner) {
    this.scanner = scanner
    this.blocks = { events: new EventBlock(), scanned: scanner.newBlock() }
    scanner.beginBlock()
  }

  /** What was appended. */
  take(): Buffer {
    const { scanned } = this.blocks
    const bytes = written(scanned)
    scanned.clear()
    this.scanner.beginBlock()
    return bytes
  }
}

function written(block: Pick<EventBlock, 'byteLength' | 'writeTo'>): Buffer {
  const { byteLength } = block
  const target = Buffer.alloc(byteLength + 32, 0xee)
  block.writeTo(target, 16)
  expect(target.subarray(0, 16)).toEqual(Buffer.alloc(16, 0xee))
  expect(target.subarray(16 + byteLength)).toEqual(Buffer.alloc(16, 0xee))
  return target.subarray(16, 16 + byteLength)
}

/** Scans a body both ways; what the scanner takes has to be the same. Says whether it took it. */
export class Comparison {
  readonly scanner = makeScanner()
  private readonly scanned = new ScannedBlocks(this.scanner)
  taken = 0
  left = 0

  compare(body: string | Uint8Array, form: ScanForm = 'body', facts = makeFacts()): boolean {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    const rows = this.scanner.read(facts, bytes, form)
    if (rows === undefined) {
      this.left++
      return false
    }
    this.taken++
    this.expectSame(rows, bytes, form, facts)
    return true
  }

  private expectSame(rows: ScannedRows, bytes: Uint8Array, form: ScanForm, facts: RequestFacts): void {
    const values = valuesOf(bytes, form)
    const findings = new Findings()
    const events = values === undefined ? undefined : readObjects(values, facts, findings)
    if (events === undefined) throw new Error(`taken, but not good: ${Buffer.from(bytes).toString()}`)
    expect(rows.length).toBe(events.length)
    for (const [index, event] of events.entries()) {
      expect(rows.hasId(index)).toBe(event.eventId !== undefined)
      event.eventId ??= idOf(rows, index) // each makes an id of its own
    }
    const sizes = [rows.bytesMax, new EventBatch(events, findings.jsonBytesMax).bytesMax]
    rows.appendTo(this.scanned.blocks)
    const block = this.scanned.take()
    expect(block.length).toBeLessThan(Math.min(...sizes) + HEADER_BYTES)
    if (!block.equals(blockOfObjects(events))) {
      expect(printable(block)).toBe(printable(blockOfObjects(events)))
      throw new Error(`other bytes for ${Buffer.from(bytes).toString()}`)
    }
  }
}

function printable(block: Buffer): string {
  return block.toString('latin1').replace(/[^\x20-\x7e]/g, (character) => `<${character.charCodeAt(0).toString(16)}>`)
}

export function bodyOf(...drafts: readonly unknown[]): string {
  return JSON.stringify({ events: drafts })
}

/** An id as text, in lower case. */
export function idOf(batch: Batch, index: number): string {
  const bytes = Buffer.alloc(UUID_BYTES)
  batch.writeId(index, bytes, 0)
  const [high, low] = [bytes.readBigUInt64LE(0), bytes.readBigUInt64LE(8)]
  const digits = high.toString(16).padStart(16, '0') + low.toString(16).padStart(16, '0')
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
