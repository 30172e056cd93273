/** `POST /v1/events`, the canonical protocol: `{"events": [Event, …]}`, or NDJSON (see `events-ndjson.ts`). */
import type { Door } from '../http/edge.ts'
import { type JsonProtocol, jsonDoor } from '../http/json-door.ts'
import { reject } from '../rejection.ts'
import { receiveNdjson } from './events-ndjson.ts'
import { receiptBody } from './receipt-body.ts'

const NDJSON_TYPES = /^application\/(x-ndjson|ndjson|jsonl|x-jsonlines)\b/i

const JSON_EVENTS: JsonProtocol = {
  name: 'v1/events',
  limits: (edge) => edge.limits,
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

/** The array `events` of a body, if it has one. */
export function eventsOf(value: unknown): readonly unknown[] | undefined {
  const events = typeof value === 'object' && value !== null && 'events' in value ? value.events : undefined
  return Array.isArray(events) ? events : undefined
}
