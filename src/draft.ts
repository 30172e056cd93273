/** An event in the shape of the canonical protocol (`POST /v1/events`, `WS /v1/stream`): its schema, its check, its reading. */
import { type Static, Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import type { Event } from './event.ts'
import {
  checkJson,
  expected,
  type Findings,
  newEvent,
  type RequestFacts,
  refuseShape,
  setAddress,
  setEventId,
  setOccurredAt,
} from './event-reading.ts'
import { isUuid } from './native/uuid.ts'
import { parseTimestamp } from './timestamp.ts'

const Id = (description: string) => Type.String({ minLength: 1, maxLength: 256, description })
const Text = (description: string) => Type.String({ description })

/** Characters of a schema version, in the field and in the header. */
export const SCHEMA_VERSION_CHARS_MAX = 64

export const DraftSchema = Type.Object({
  type: Type.String({ minLength: 1, maxLength: 100, description: 'What happened: `pageview`, `Order Completed` …' }),
  timestamp: Type.String({ description: 'When it happened, ISO 8601.' }),
  session_id: Type.String({ description: 'UUID of the session.' }),
  event_id: Type.Optional(Id('Identifies the event: a UUID or any other text.')),
  user_id: Type.Optional(Id('Who did it, when known.')),
  anonymous_id: Type.Optional(Id('Who did it, when not known by name.')),
  schema_version: Type.Optional(
    Type.String({ minLength: 1, maxLength: SCHEMA_VERSION_CHARS_MAX, description: 'Version of the event’s shape.' }),
  ),
  properties: Type.Object({}, { description: 'Anything else about the event.' }),
  context: Type.Optional(
    Type.Object(
      {
        ip: Type.Optional(Text('Address of the client.')),
        user_agent: Type.Optional(Text('User agent of the client.')),
        locale: Type.Optional(Type.String({ maxLength: 64, description: 'Language of the client.' })),
        page_url: Type.Optional(Text('Address of the page.')),
        page_title: Type.Optional(Text('Title of the page.')),
        referrer: Type.Optional(Text('Address the client came from.')),
      },
      { description: 'Where it happened; further keys are kept.' },
    ),
  ),
})
export type Draft = Static<typeof DraftSchema>

const compiled = TypeCompiler.Compile(DraftSchema)

/**
 * Checks one draft and makes the canonical event of it.
 * @returns undefined when it was refused; `findings` says why
 */
export function readDraft(value: unknown, index: number, facts: RequestFacts, findings: Findings): Event | undefined {
  if (!compiled.Check(value)) return refuseShape(compiled, value, index, findings)
  const draft: Draft = value
  const timestamp = parseTimestamp(draft.timestamp)
  if (Number.isNaN(timestamp))
    return findings.refuse(index, 'timestamp', expected('an ISO 8601 time of the years 1900 to 2299', draft.timestamp))
  if (!isUuid(draft.session_id)) return findings.refuse(index, 'session_id', expected('a UUID', draft.session_id))
  if (!checkJson(draft.properties, 'properties', index, findings)) return undefined
  const event = newEvent(facts, draft.type)
  event.sessionId = draft.session_id
  event.properties = draft.properties
  if (draft.event_id !== undefined) setEventId(event, draft.event_id)
  if (draft.user_id !== undefined) event.userId = draft.user_id
  if (draft.anonymous_id !== undefined) event.anonymousId = draft.anonymous_id
  if (draft.schema_version !== undefined) event.schemaVersion = draft.schema_version
  if (draft.context !== undefined) {
    if (!checkJson(draft.context, 'context', index, findings)) return undefined
    const problem = readContext(event, draft.context, facts)
    if (problem !== undefined) return findings.refuse(index, 'context.ip', problem)
  }
  setOccurredAt(event, timestamp, draft.timestamp, index, findings)
  return event
}

/** Moves what has a column of its own out of the context; gives what is wrong with it. */
function readContext(event: Event, context: Record<string, unknown>, facts: RequestFacts): string | undefined {
  let rest: Record<string, unknown> | undefined
  for (const key in context) {
    const value = context[key]
    switch (key) {
      case 'ip': {
        const problem = setAddress(event, value as string, facts)
        if (problem !== undefined) return problem
        break
      }
      case 'user_agent':
        event.userAgent = value as string
        break
      case 'locale':
        event.locale = value as string
        break
      case 'page_url':
        event.url = value as string
        break
      case 'page_title':
        event.title = value as string
        break
      case 'referrer':
        event.referrer = value as string
        break
      default:
        rest ??= Object.create(null) as Record<string, unknown>
        rest[key] = value
    }
  }
  if (rest !== undefined) event.context = rest
  return undefined
}
