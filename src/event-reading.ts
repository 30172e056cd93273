/**
 * What the readers of all protocols share: from the facts of a request and a client's values to the canonical event, and what is to be
 * said about it. A reader checks its protocol's shape, then fills in an event step by step.
 */

import type { TSchema } from '@sinclair/typebox'
import type { TypeCheck } from '@sinclair/typebox/compiler'
import { anonymize, parseAddress } from './address.ts'
import type { Authenticated } from './auth/key-cache.ts'
import type { Event } from './event.ts'
import type { JsonObject } from './native/json-column.ts'
import { inspectJson, JSON_LIMITS } from './native/json-shape.ts'
import { isUuid } from './native/uuid.ts'
import type { Trace } from './telemetry/telemetry.ts'

/** What holds for every event of one request. */
export interface RequestFacts {
  /** Says whose the events are. */
  readonly key: Authenticated
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
  /** Of its span; undefined when it is not sampled. */
  readonly trace?: Trace | undefined
}

/** An event that was refused. `index` is its position in the request. */
export interface EventError {
  readonly index: number
  readonly code: 'invalid_event' | 'malformed_json' | 'payload_too_large'
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
  /** What the JSON objects of the events take in a block at most, in bytes. */
  jsonBytesMax = 0

  /** Gives undefined, which is what a reader gives for an event that it refuses. */
  refuse(index: number, path: string, message: string, code: EventError['code'] = 'invalid_event'): undefined {
    this.errors.push({ index, code, path, message })
  }

  warn(index: number, code: EventWarning['code'], message: string): void {
    this.warnings.push({ index, code, message })
  }
}

/** A client's clock may be this far ahead of ours before its time is replaced by ours. */
export const CLOCK_TOLERANCE_MS = 1000

/** Names non-UUID event ids: their UUIDv5 is made in this namespace (itself a random UUID, fixed for ever). */
const EVENT_ID_NAMESPACE = '6f0f3a52-7d7a-4b0e-9a3c-52c4a1c9f7be'

const NOTHING: JsonObject = Object.freeze({})

/** An event that happened now, with what the request says and nothing else. */
export function newEvent(facts: RequestFacts, type: string): Event {
  return {
    tenantId: facts.key.tenantId,
    workspaceId: facts.key.workspaceId,
    eventId: undefined,
    messageId: '',
    type,
    protocol: facts.protocol,
    occurredAt: facts.receivedAt,
    receivedAt: facts.receivedAt,
    sessionId: '',
    userId: '',
    anonymousId: '',
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
    schemaVersion: facts.schemaVersion,
    properties: NOTHING,
    context: NOTHING,
  }
}

/** The UUIDv5 of an event id that is no UUID. */
export function nameEventId(id: string): string {
  return Bun.randomUUIDv5(id, EVENT_ID_NAMESPACE)
}

/** The client's id: a UUID as it is, of any other text its UUIDv5. */
export function setEventId(event: Event, id: string): void {
  if (isUuid(id)) {
    event.eventId = id
  } else {
    event.eventId = nameEventId(id)
    event.messageId = id
  }
}

/**
 * The client's time; the server's, with a warning, when it lies in the future.
 * @param timeMs milliseconds since the epoch
 * @param asSent what the client wrote, for the warning
 */
export function setOccurredAt(
  event: Event,
  timeMs: number,
  asSent: string | number,
  index: number,
  findings: Findings,
): void {
  if (timeMs <= event.receivedAt + CLOCK_TOLERANCE_MS) {
    event.occurredAt = timeMs
    return
  }
  event.occurredAt = event.receivedAt
  const message = `timestamp ${show(asSent)} lies in the future, the server’s time is used`
  findings.warn(index, 'timestamp_in_future', message)
}

/** The client's address as an event brings it; gives what is wrong with it. */
export function setAddress(event: Event, text: string, facts: Pick<RequestFacts, 'anonymizeIp'>): string | undefined {
  const address = parseAddress(text)
  if (address === undefined) return expected('an IPv4 or IPv6 address', text)
  event.ip = facts.anonymizeIp ? anonymize(address) : address
  return undefined
}

/** Whether an object can be stored; cuts long strings in it, with a warning. `path` is what it is called in messages. */
export function checkJson(object: object, path: string, index: number, findings: Findings): object is JsonObject {
  const shape = inspectJson(object, path)
  if (shape.issue !== undefined) {
    findings.refuse(index, showPath(shape.issue.path), shape.issue.message)
    return false
  }
  if (shape.imprecise) findings.imprecise = true
  findings.jsonBytesMax += shape.bytesMax
  for (const truncated of shape.truncated) {
    findings.warn(index, 'property_truncated', `${showPath(truncated)} was cut to ${JSON_LIMITS.stringBytesMax} bytes`)
  }
  return true
}

/** Refuses a value that is not of a protocol's shape, with the first thing that is wrong about it; a schema's title says it better. */
export function refuseShape(check: TypeCheck<TSchema>, value: unknown, index: number, findings: Findings): undefined {
  const error = check.Errors(value).First()
  const path = error === undefined ? '' : error.path.slice(1).replaceAll('/', '.')
  if (error === undefined) return findings.refuse(index, path, 'not an event')
  const { title } = error.schema
  const message =
    title === undefined ? `${error.message.toLowerCase()}, got ${show(error.value)}` : expected(title, error.value)
  return findings.refuse(index, path, message)
}

/** The words for a wrong value. */
export function expected(what: string, got: unknown): string {
  return `expected ${what}, got ${show(got)}`
}

const SHOWN_CHARS_MAX = 80
const SHOWN_PATH_CHARS_MAX = 400

/**
 * A value as a message shows it: short, whatever the client sent. Messages may wait for the end of a long upload, and a part of a text keeps
 * the whole of it in memory: so what is shown is a new text.
 */
function show(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  const text = typeof value === 'string' ? JSON.stringify(value.slice(0, SHOWN_CHARS_MAX + 1)) : String(value)
  return text.length <= SHOWN_CHARS_MAX ? text : `${text.slice(0, SHOWN_CHARS_MAX)}…`
}

/** A path of keys that the client chose: they can be 32 of 256 characters. */
function showPath(path: string): string {
  if (path.length <= SHOWN_PATH_CHARS_MAX) return path
  return `${Buffer.from(path.slice(0, SHOWN_PATH_CHARS_MAX), 'utf16le').toString('utf16le')}…`
}
