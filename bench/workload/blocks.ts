/**
 * The benchmark's events as Native blocks, made as Penstock makes them but without it: for measuring ClickHouse alone, with the same rows
 * in every run.
 */
import { NO_ADDRESS } from '../../src/address.ts'
import { readDraft } from '../../src/draft.ts'
import { enrich } from '../../src/enrich.ts'
import { Findings, type RequestFacts } from '../../src/event-reading.ts'
import { EventBlock } from '../../src/native/event-block.ts'
import { EventSource } from './events.ts'
import { Random } from './random.ts'

/** The body of one insert. */
export interface BlockBody {
  readonly bytes: Uint8Array
  readonly rows: number
}

/**
 * How the events of an insert are spread over sessions. `busy`: 20,000 sessions, as in the other scenarios, so a large insert has several
 * events of each; `quiet`: each event of an insert is of another session, and a session has an event in every tenth insert.
 */
export type SessionSpread = 'busy' | 'quiet'

/** Inserts between two events of a quiet session. */
const QUIET_INSERTS = 10

/** Makes `inserts` bodies of `rows` events each. */
export function* blockBodies(options: {
  readonly inserts: number
  readonly rows: number
  readonly spread: SessionSpread
  readonly now: number
}): Generator<BlockBody> {
  const { inserts, rows, spread, now } = options
  const source = new EventSource({ seed: 7, now })
  const facts = factsAt(now)
  const findings = new Findings()
  for (let insert = 0; insert < inserts; insert++) {
    const block = new EventBlock()
    const sessions = new Random(1_000 + (insert % QUIET_INSERTS))
    for (let row = 0; row < rows; row++) {
      const draft = source.event()
      const spreadDraft = spread === 'busy' ? draft : { ...draft, session_id: sessions.uuid() }
      const event = readDraft(spreadDraft, row, facts, findings)
      if (event === undefined) throw new Error(`an event was refused: ${JSON.stringify(findings.errors[0])}`)
      enrich(event)
      block.append(event)
    }
    const bytes = new Uint8Array(block.byteLength)
    block.writeTo(bytes, 0)
    yield { bytes, rows }
  }
}

function factsAt(now: number): RequestFacts {
  return {
    key: {
      keyId: 'bench',
      tenantId: 'bench',
      workspaceId: 'bench',
      kind: 'secret',
      scopes: ['ingest'],
      tier: 'unlimited',
      eventsPerMinute: Number.POSITIVE_INFINITY,
      batchEventsMax: undefined,
      bodyBytesMax: undefined,
      allowedOrigins: undefined,
      signing: 'off',
      signingSecret: undefined,
      eventTypes: undefined,
    },
    protocol: 'v1/events',
    receivedAt: now,
    ip: NO_ADDRESS,
    anonymizeIp: false,
    userAgent: '',
    schemaVersion: '1',
  }
}
