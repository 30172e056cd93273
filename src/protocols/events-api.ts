/**
 * `POST /events`: one event or an array of them, of the types that the workspace knows. The answer names the id of each event that was
 * taken, in the order of the request; one that had none gets its UUIDv7 here. `errors` tells which were refused, if some were.
 */
import { type Static, Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import type { Event } from '../event.ts'
import {
  checkJson,
  expected,
  type Findings,
  newEvent,
  type RequestFacts,
  refuseShape,
  setEventId,
  setOccurredAt,
} from '../event-reading.ts'
import { type JsonProtocol, jsonDoor } from '../http/json-door.ts'
import type { Receipt } from '../pipeline.ts'
import { INGEST_REFUSALS, type Operation } from '../openapi/operation.ts'
import { reject } from '../rejection.ts'
import { parseTimestamp, readMilliseconds } from '../timestamp.ts'
import { ReceiptSchema } from './receipt-body.ts'

/** The types of a workspace that has no list of its own. */
const USUAL_TYPES: readonly string[] = [
  'session_start',
  'page_view',
  'search',
  'purchase',
  'add_to_cart',
  'remove_from_cart',
  'button_click',
  'form_submit',
  'video_play',
  'video_pause',
]

/** As many of them as a message names. */
const TYPES_NAMED_MAX = 20

const Id = (description: string, ...examples: string[]) =>
  Type.String({ minLength: 1, maxLength: 256, description, examples })

const EventSchema = Type.Object({
  userId: Id('Who did it.', 'user-123'),
  sessionId: Id('In which session.', 'session-456'),
  type: Type.String({
    minLength: 1,
    maxLength: 100,
    description: `What happened: one of the workspace’s own types, or else ${USUAL_TYPES.join(', ')}.`,
    examples: ['purchase'],
  }),
  payload: Type.Optional(Type.Object({}, { description: 'Anything else about it.', examples: [{ amount: 12.5 }] })),
  occurredAt: Type.Optional(
    Type.Union([Type.String(), Type.Number()], {
      title: 'an ISO 8601 time or milliseconds since 1970',
      description: 'When it happened, ISO 8601 or milliseconds since 1970; left out: now.',
      examples: ['2026-11-20T08:09:10.123Z'],
    }),
  ),
  eventId: Type.Optional(Id('Identifies the event: a UUID or any other text.', 'order-17')),
})

const compiled = TypeCompiler.Compile(EventSchema)

const EVENTS_API: JsonProtocol = {
  name: 'events',
  limits: ({ limits }) => ({ bodyBytesMax: limits.bodyBytesMax, batchEventsMax: limits.eventsApiBatchMax }),
  open(body) {
    const values = Array.isArray(body) ? body : [body]
    return values.length > 0
      ? { values, read }
      : reject('invalid_event', 'expected an event, or an array of at least one')
  },
  acknowledge: (receipt) => ({ status: 202, body: acknowledgement(receipt) }),
}

export const EVENTS_API_DOOR = jsonDoor(EVENTS_API)

const EXAMPLE = {
  userId: 'user-42',
  sessionId: '018f2f5e-5c1a-7c3e-9d2b-3f4a5b6c7d8e',
  type: 'purchase',
  payload: { amount: 19.9, currency: 'EUR' },
  occurredAt: '2026-11-20T08:09:10.123Z',
  eventId: 'order-17',
}

export const EVENTS_API_OPERATION: Operation = {
  summary: 'Send events of users',
  description: `One event or an array of them. Good events of a mixed array are kept, the others are told in \`errors\`. An event with an
\`eventId\` that was sent before counts as taken and is not stored again. Which types there are is for the workspace to say.`,
  tag: 'Events',
  key: 'header',
  body: {
    'application/json': {
      schema: Type.Union([EventSchema, Type.Array(EventSchema, { minItems: 1 })]),
      examples: { event: EXAMPLE, array: [EXAMPLE] },
    },
  },
  success: {
    status: 202,
    description: 'At least one event was accepted, and all that were are on disk.',
    schema: Type.Object({
      message: Type.String(),
      count: Type.Integer({ minimum: 1, description: 'Events that were taken.' }),
      eventIds: Type.Array(Type.String(), {
        description: 'Their ids in the order of the request, as the client sent them or as they were made here.',
      }),
      errors: ReceiptSchema.properties.errors,
      warnings: ReceiptSchema.properties.warnings,
    }),
    example: { message: 'all events were taken', count: 1, eventIds: ['order-17'] },
  },
  refusals: INGEST_REFUSALS,
}

function read(value: unknown, index: number, facts: RequestFacts, findings: Findings): Event | undefined {
  if (!compiled.Check(value)) return refuseShape(compiled, value, index, findings)
  const sent: Static<typeof EventSchema> = value
  const types = facts.key.eventTypes ?? USUAL_TYPES
  if (types.length > 0 && !types.includes(sent.type))
    return findings.refuse(index, 'type', expected(`one of ${named(types)}`, sent.type))
  const { occurredAt = facts.receivedAt, payload } = sent
  const timeMs = typeof occurredAt === 'number' ? readMilliseconds(occurredAt) : parseTimestamp(occurredAt)
  if (Number.isNaN(timeMs))
    return findings.refuse(
      index,
      'occurredAt',
      expected('an ISO 8601 time or milliseconds, of the years 1900 to 2299', occurredAt),
    )
  if (payload !== undefined && !checkJson(payload, 'payload', index, findings)) return undefined
  const event = newEvent(facts, sent.type)
  event.userId = sent.userId
  event.sessionId = sent.sessionId
  if (payload !== undefined) event.properties = payload
  if (sent.eventId === undefined) event.eventId = Bun.randomUUIDv7()
  else setEventId(event, sent.eventId)
  setOccurredAt(event, timeMs, occurredAt, index, findings)
  return event
}

function named(types: readonly string[]): string {
  const first = types.slice(0, TYPES_NAMED_MAX).join(', ')
  return types.length > TYPES_NAMED_MAX ? `${first} …` : first
}

/** Ids are told as the client knows them. */
function acknowledgement({ accepted, rejected, events, errors, warnings }: Receipt): string {
  return JSON.stringify({
    message: rejected === 0 ? 'all events were taken' : `${accepted} of ${accepted + rejected} events were taken`,
    count: accepted,
    eventIds: events.map(({ messageId, eventId }) => (messageId === '' ? eventId : messageId)),
    ...(errors.length > 0 ? { errors } : {}),
    ...(warnings.length > 0 ? { warnings } : {}),
  })
}
