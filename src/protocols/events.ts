/** `POST /v1/events`, the canonical protocol: `{"events": [Event, …]}`, or NDJSON (see `events-ndjson.ts`). */
import { Type } from '@sinclair/typebox'
import { DraftSchema } from '../draft.ts'
import type { Door } from '../http/edge.ts'
import { type JsonProtocol, jsonDoor } from '../http/json-door.ts'
import { isObject } from '../json.ts'
import { INGEST_REFUSALS, type Operation } from '../openapi/operation.ts'
import { reject } from '../rejection.ts'
import { receiveNdjson } from './events-ndjson.ts'
import { ReceiptSchema, receiptBody } from './receipt-body.ts'

const NDJSON_TYPES = /^application\/(x-ndjson|ndjson|jsonl|x-jsonlines)\b/i

const JSON_EVENTS: JsonProtocol = {
  name: 'v1/events',
  limits: (edge) => edge.limits,
  isScannable: true,
  open(body) {
    const values = eventsOf(body)
    if (values !== undefined && values.length > 0) return { values }
    const message = values === undefined ? 'expected an array' : 'expected at least one event'
    return reject('invalid_event', 'expected {"events": [event, …]} with at least one event', {
      details: [{ path: 'events', message }],
    })
  },
  acknowledge: (receipt) => ({ status: 201, body: receiptBody(receipt) }),
}

const json = jsonDoor(JSON_EVENTS)

export const EVENTS_DOOR: Door = {
  name: JSON_EVENTS.name,
  receive: (visit) =>
    NDJSON_TYPES.test(visit.request.headers.get('content-type') ?? '') ? receiveNdjson(visit) : json.receive(visit),
}

const EXAMPLE = {
  type: 'pageview',
  timestamp: '2026-11-20T12:00:00.000Z',
  session_id: '018f2f5e-5c1a-7c3e-9d2b-3f4a5b6c7d8e',
  event_id: '018f2f5e-6b2c-7d4f-8e3a-4b5c6d7e8f90',
  user_id: 'user-42',
  properties: { plan: 'pro', price: 19.9 },
  context: { page_url: 'https://shop.example/pricing', locale: 'de-AT' },
}

export const EVENTS_OPERATION: Operation = {
  summary: 'Send events',
  description: `The canonical protocol. Good events of a mixed batch are kept, the others are told in \`errors\`. An event with an \`event_id\`
that was sent before counts as accepted and is not stored again. As NDJSON, one event a line, the body is streamed and may be large.`,
  tag: 'Events',
  key: 'header',
  body: {
    'application/json': {
      schema: Type.Object({ events: Type.Array(DraftSchema, { minItems: 1 }) }),
      examples: { events: { events: [EXAMPLE] } },
    },
    'application/x-ndjson': { schema: DraftSchema, examples: { line: EXAMPLE } },
  },
  success: {
    status: 201,
    description: 'At least one event was accepted, and all that were are on disk.',
    schema: ReceiptSchema,
    example: { accepted: 1, rejected: 0 },
  },
  refusals: INGEST_REFUSALS,
}

/** The array `events` of a body, if it has one. */
export function eventsOf(value: unknown): readonly unknown[] | undefined {
  const events = isObject(value) ? value.events : undefined
  return Array.isArray(events) ? events : undefined
}
