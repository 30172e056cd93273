/**
 * An event as the client sent it, in the shape of the canonical protocol: checked here, and turned into the canonical event.
 * A protocol with another shape makes these drafts from its own.
 */
import { type Static, Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { anonymize, parseAddress } from './address.ts'
import type { Event } from './event.ts'
import type { JsonObject } from './native/json-column.ts'
import { inspectJson, JSON_LIMITS } from './native/json-shape.ts'
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

/** What holds for every event of one request. */
export interface RequestFacts {
  readonly tenantId: string
  readonly workspaceId: string
  /** Which front door. */
  readonly protocol: string
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
  /** 16 bytes in network order. */
  readonly ip: Uint8Array
  /** Cut addresses to their network, also those that events bring. */
  readonly anonymizeIp: boolean
  readonly userAgent: string
  readonly schemaVersion: string
}

/** An event that was refused. `index` is its position in the request. */
export interface EventError {
  readonly index: number
  readonly code: 'invalid_event' | 'malformed_json'
  readonly path: string
  readonly message: string
}

/** Something about an accepted event that the client should know. */
export interface EventWarning {
  readonly index: number
  readonly code: 'timestamp_in_future' | 'property_truncated'
  readonly message: string
}

/** Gathers what is to be said about the events of one request. */
export class Findings {
  readonly errors: EventError[] = []
  readonly warnings: EventWarning[] = []
  /** An integer beyond 2^53 was met: the text must be parsed again with its digits kept. */
  imprecise = false

  refuse(index: number, path: string, message: string): undefined {
    this.errors.push({ index, code: 'invalid_event', path, message })
  }

  warn(index: number, code: EventWarning['code'], message: string): void {
    this.warnings.push({ index, code, message })
  }
}

/** A client's clock may be this far ahead of ours before its time is replaced by ours. */
const CLOCK_TOLERANCE_MS = 1000

/** Names non-UUID event ids: their UUIDv5 is made in this namespace (itself a random UUID, fixed for ever). */
const EVENT_ID_NAMESPACE = '6f0f3a52-7d7a-4b0e-9a3c-52c4a1c9f7be'

const NOTHING: JsonObject = Object.freeze({})

/**
 * Checks one draft and makes the canonical event of it.
 * @returns undefined when it was refused; `findings` says why
 */
export function readDraft(value: unknown, index: number, facts: RequestFacts, findings: Findings): Event | undefined {
  if (!compiled.Check(value)) return refuseShape(value, index, findings)
  const draft: Draft = value
  const timestamp = parseTimestamp(draft.timestamp)
  if (Number.isNaN(timestamp))
    return findings.refuse(index, 'timestamp', expected('an ISO 8601 time of the years 1900 to 2299', draft.timestamp))
  if (!isUuid(draft.session_id)) return findings.refuse(index, 'session_id', expected('a UUID', draft.session_id))
  const inFuture = timestamp > facts.receivedAt + CLOCK_TOLERANCE_MS
  const event: Event = {
    tenantId: facts.tenantId,
    workspaceId: facts.workspaceId,
    eventId: undefined,
    messageId: '',
    type: draft.type,
    protocol: facts.protocol,
    occurredAt: inFuture ? facts.receivedAt : timestamp,
    receivedAt: facts.receivedAt,
    sessionId: draft.session_id,
    userId: draft.user_id ?? '',
    anonymousId: draft.anonymous_id ?? '',
    url: '',
    path: '',
    referrer: '',
    referrerHost: '',
    title: '',
    locale: '',
    userAgent: facts.userAgent,
    browser: '',
    os: '',
    device: '',
    ip: facts.ip,
    schemaVersion: draft.schema_version ?? facts.schemaVersion,
    properties: draft.properties as JsonObject,
    context: NOTHING,
  }
  if (draft.event_id !== undefined) identify(event, draft.event_id)
  if (!inspect(event.properties, 'properties', index, findings)) return undefined
  if (draft.context !== undefined) {
    if (!inspect(draft.context, 'context', index, findings)) return undefined
    const problem = readContext(event, draft.context as Record<string, unknown>, facts)
    if (problem !== undefined) return findings.refuse(index, 'context.ip', problem)
  }
  if (inFuture)
    findings.warn(
      index,
      'timestamp_in_future',
      `timestamp ${draft.timestamp} lies in the future, the server’s time is used`,
    )
  return event
}

function identify(event: Event, id: string): void {
  if (isUuid(id)) {
    event.eventId = id
  } else {
    event.eventId = Bun.randomUUIDv5(id, EVENT_ID_NAMESPACE)
    event.messageId = id
  }
}

function inspect(object: object, path: string, index: number, findings: Findings): boolean {
  const shape = inspectJson(object, path)
  if (shape.issue !== undefined) {
    findings.refuse(index, shape.issue.path, shape.issue.message)
    return false
  }
  if (shape.imprecise) findings.imprecise = true
  for (const truncated of shape.truncated) {
    findings.warn(index, 'property_truncated', `${truncated} was cut to ${JSON_LIMITS.stringBytesMax} bytes`)
  }
  return true
}

/** Moves what has a column of its own out of the context; gives what is wrong with it. */
function readContext(event: Event, context: Record<string, unknown>, facts: RequestFacts): string | undefined {
  let rest: Record<string, unknown> | undefined
  for (const key in context) {
    const value = context[key]
    switch (key) {
      case 'ip': {
        const address = parseAddress(value as string)
        if (address === undefined) return expected('an IPv4 or IPv6 address', value as string)
        event.ip = facts.anonymizeIp ? anonymize(address) : address
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

function refuseShape(value: unknown, index: number, findings: Findings): undefined {
  const error = compiled.Errors(value).First()
  const path = error === undefined ? '' : error.path.slice(1).replaceAll('/', '.')
  findings.refuse(
    index,
    path,
    error === undefined ? 'not an event' : `${error.message.toLowerCase()}, got ${show(error.value)}`,
  )
}

function expected(what: string, got: string): string {
  return `expected ${what}, got ${show(got)}`
}

/** A value as a message shows it: short, whatever the client sent. */
function show(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  return text.length <= 80 ? text : `${text.slice(0, 80)}…`
}
