/** From a call of Segment's API to the canonical event. */
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
import { isObject } from '../json.ts'
import { parseTimestamp } from '../timestamp.ts'
import { describePage, mergeContext, takeContext } from './segment-context.ts'
import { type Call, CALL_SCHEMAS, type CallType, ID_FIELDS } from './segment-schema.ts'
import { occurredAt } from './segment-time.ts'

/** What a batch says for all its calls. */
export interface BatchFacts {
  readonly context: Record<string, unknown> | undefined
  readonly sentAt: unknown
}

const CHECKS = {
  track: TypeCompiler.Compile(CALL_SCHEMAS.track),
  identify: TypeCompiler.Compile(CALL_SCHEMAS.identify),
  page: TypeCompiler.Compile(CALL_SCHEMAS.page),
  screen: TypeCompiler.Compile(CALL_SCHEMAS.screen),
  group: TypeCompiler.Compile(CALL_SCHEMAS.group),
  alias: TypeCompiler.Compile(CALL_SCHEMAS.alias),
} as const

/** Fields in which null says the same as leaving them out. */
const NULLABLE = [
  'properties',
  'traits',
  'context',
  'integrations',
  'name',
  'category',
  'timestamp',
  'originalTimestamp',
]

/**
 * Checks one call and makes the event of it. Brings ids into one form first, in place: see `tidy`.
 * @returns undefined when it was refused; `findings` says why
 */
export function readCall(
  type: CallType,
  value: unknown,
  batch: BatchFacts,
  index: number,
  facts: RequestFacts,
  findings: Findings,
): Event | undefined {
  if (!isObject(value)) return findings.refuse(index, '', expected('an object', value))
  tidy(value, findings)
  const check = CHECKS[type]
  if (!check.Check(value)) return refuseShape(check, value, index, findings)
  const call = value as Call
  if (call.userId === undefined && call.anonymousId === undefined)
    return findings.refuse(index, 'userId', 'expected userId or anonymousId, got neither')
  const timeField = timeFieldOf(call)
  const timeText = call[timeField] ?? ''
  const time = timeText === '' ? Number.NaN : parseTimestamp(timeText)
  if (timeText !== '' && Number.isNaN(time))
    return findings.refuse(index, timeField, expected('an ISO 8601 time of the years 1900 to 2299', timeText))

  const context = contextOf(call, batch)
  if (!checkJson(context, 'context', index, findings)) return undefined
  const properties = propertiesOf(type, call, context)
  if (!checkJson(properties, type === 'identify' || type === 'group' ? 'traits' : 'properties', index, findings))
    return undefined

  const event = newEvent(facts, columnType(type, call))
  event.userId = call.userId ?? ''
  event.anonymousId = call.anonymousId ?? ''
  event.properties = properties
  if (call.messageId !== undefined) setEventId(event, call.messageId)
  takeContext(event, context, facts)
  if (type === 'page') describePage(event, properties)
  const at = isExplicit(call) ? time : occurredAt(facts.receivedAt, time, sentAtOf(call, batch))
  setOccurredAt(event, at, timeText, index, findings)
  return event
}

/**
 * What clients write in several ways, in one: an id that is a number becomes text (RudderStack's Node SDK passes on numbers as `groupId`
 * and `previousId`), an empty id and a null are as if they were not there (browsers send both for users who are not known yet).
 */
function tidy(call: Record<string, unknown>, findings: Findings): void {
  for (const field of ID_FIELDS) {
    const id = call[field]
    if (id === undefined || (typeof id === 'string' && id !== '')) continue
    if (typeof id === 'number' && !Number.isSafeInteger(id)) findings.imprecise = true
    if (typeof id === 'number' || typeof id === 'bigint') call[field] = String(id)
    else if (id === '' || id === null) call[field] = undefined
  }
  for (const field of NULLABLE) if (call[field] === null) call[field] = undefined
  // It only corrects a clock. Of another type it is passed over, as an unreadable one is.
  if (typeof call.sentAt !== 'string') call.sentAt = undefined
}

/** `page` is called as other protocols have it: a page that was seen is the same event whoever tells of it. */
function columnType(type: CallType, call: Call): string {
  if (type === 'track') return call.event ?? ''
  return type === 'page' ? 'pageview' : type
}

function contextOf(call: Call, batch: BatchFacts): Record<string, unknown> {
  const own = call.context ?? {}
  const context = batch.context === undefined ? own : mergeContext(batch.context, own)
  // `web`, `mobile`, `server`: where RudderStack's libraries run.
  if (typeof call.channel === 'string' && context.channel === undefined) context.channel = call.channel
  return context
}

/** Everything that the call says about what happened; what is beside `properties` or `traits` goes before what is in them. */
function propertiesOf(type: CallType, call: Call, context: Record<string, unknown>): Record<string, unknown> {
  switch (type) {
    case 'track':
      return call.properties ?? {}
    case 'identify':
      return traitsOf(call, context)
    case 'page':
    case 'screen': {
      const properties = call.properties ?? {}
      if (call.name !== undefined) properties.name = call.name
      if (call.category !== undefined) properties.category = call.category
      return properties
    }
    case 'group':
      return { ...call.traits, groupId: call.groupId }
    case 'alias':
      return { ...call.properties, previousId: call.previousId }
  }
}

/** RudderStack's libraries send traits in the context, the one for Node there too: they are moved, not kept twice. */
function traitsOf(call: Call, context: Record<string, unknown>): Record<string, unknown> {
  const { traits } = context
  if (!isObject(traits)) return call.traits ?? {}
  delete context.traits
  return { ...traits, ...call.traits }
}

/**
 * RudderStack's libraries, which always send a `channel`, stamp every call with `originalTimestamp`; a `timestamp` beside it is one that
 * the caller gave, of the past perhaps. As on RudderStack's server, it holds as it is.
 */
function isExplicit(call: Call): boolean {
  return call.channel !== undefined && call.originalTimestamp !== undefined && call.timestamp !== undefined
}

function timeFieldOf(call: Call): 'timestamp' | 'originalTimestamp' {
  return call.originalTimestamp === undefined || isExplicit(call) ? 'timestamp' : 'originalTimestamp'
}

/** In milliseconds since the epoch; NaN when it is not there, or no time. */
function sentAtOf(call: Call, batch: BatchFacts): number {
  const text = call.sentAt ?? batch.sentAt
  return typeof text === 'string' ? parseTimestamp(text) : Number.NaN
}
