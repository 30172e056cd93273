/**
 * What must be stored, by what was sent and how it was answered: a model of the documentation, in which no code of the collector takes
 * part, but for the parsing that keeps digits and the canonical text that names an event by its content.
 */
import { canonicalJson, parseJsonExactly } from '../../src/json.ts'
import type { Protocol } from './operations.ts'

/** An event that was sent: the name under which it is stored once; undefined: it has none, each one is a new event. */
export type EventName = string | undefined

/** What an answer says of the events. */
export interface Receipt {
  readonly rejected: number
  /** Positions of those that were refused. */
  readonly refused: readonly number[]
}

type Fields = Readonly<Record<string, unknown>>

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The events of a body, in their order; undefined: it is none of the protocol. */
export function eventNames(protocol: Protocol, text: string): readonly EventName[] | undefined {
  const body = parse(text)
  if (body === undefined) return undefined
  switch (protocol) {
    case 'canonical':
      return namesIn(isFields(body.value) ? body.value.events : undefined, 'event_id')
    case 'stream':
      return namesIn(isFields(body.value) ? body.value.events : body.value, 'event_id')
    case 'events':
      return namesIn(Array.isArray(body.value) ? body.value : [body.value], 'eventId')
    case 'call':
      return namesIn([body.value], 'messageId')
    case 'batch':
      return namesIn(isFields(body.value) ? body.value.batch : undefined, 'messageId')
    case 'track':
      return trackItems(body.value).map(trackName)
    default:
      return undefined
  }
}

/** The events of NDJSON by their line, from 0; lines that are none are left out. */
export function lineNames(text: string): ReadonlyMap<number, EventName> {
  const names = new Map<number, EventName>()
  for (const [index, line] of text.split('\n').entries()) {
    const parsed = parse(line)
    if (parsed !== undefined) names.set(index, nameOf(parsed.value, 'event_id'))
  }
  return names
}

/** The key that a body brings. */
export function keyInBody(place: 'siteId' | 'writeKey', text: string): string | undefined {
  const value = parse(text)?.value
  const holders =
    place === 'writeKey'
      ? [value]
      : isFields(value) && Array.isArray(value.events)
        ? [value, ...value.events]
        : Array.isArray(value)
          ? value
          : [value]
  for (const holder of holders) {
    const key = isFields(holder) ? holder[place] : undefined
    if (typeof key === 'string' && (place === 'siteId' || key !== '')) return key
  }
  return undefined
}

/** The name under which an id is stored: a UUID in either case is one id, and what is not UTF-8 is U+FFFD. */
export function storedName(id: string): string {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id) ? id.toLowerCase() : id.toWellFormed()
}

function parse(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: parseJsonExactly(text.replace(/^\ufeff/, '')) }
  } catch {
    return undefined
  }
}

function namesIn(values: unknown, field: string): readonly EventName[] | undefined {
  return Array.isArray(values) ? values.map((value) => nameOf(value, field)) : undefined
}

/** Segment's libraries may send numbers. */
function nameOf(value: unknown, field: string): EventName {
  const id = isFields(value) && Object.hasOwn(value, field) ? value[field] : undefined
  if (typeof id === 'number' || typeof id === 'bigint') return storedName(`${id}`)
  return typeof id === 'string' && id !== '' ? storedName(id) : undefined
}

/** With what stands beside the events in each of them. */
function trackItems(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  if (!isFields(value) || !Array.isArray(value.events)) return [value]
  const { siteId, sessionId } = value
  return value.events.map((item: unknown) => {
    if (!isFields(item)) return item
    return 'event' in item ? { siteId, sessionId, ...item } : { siteId, sessionId, event: item }
  })
}

/** An event without an id is known by its session, time, type and data. */
function trackName(item: unknown): EventName {
  const event = isFields(item) && isFields(item.event) ? item.event : {}
  const id = event.eventId ?? event.id
  if (typeof id === 'string') return storedName(id)
  const { timestamp, type, data = {} } = event
  const content = [isFields(item) ? item.sessionId : undefined, timestamp, type, data].map((part) => part ?? null)
  try {
    return `content ${canonicalJson(content)}`
  } catch {
    return 'too deep, so it will be refused'
  }
}

/** What of an attempt and its answer counts here. */
export interface Sent {
  readonly protocol: Protocol
  readonly isNdjson: boolean
  readonly text: string | undefined
}

/** The events that an answer acknowledges; undefined: none. `problem`: it contradicts what was sent. */
export function acknowledged(
  { protocol, isNdjson, text }: Sent,
  status: number,
  answer: unknown,
): { readonly names: readonly EventName[]; readonly problem?: string } | undefined {
  if (protocol === 'service' || protocol === 'journey' || !isFields(answer)) return undefined
  if (status >= 300) {
    const before = isFields(answer.error) ? answer.error.accepted : undefined
    if (typeof before !== 'number' || before === 0) return undefined
    // The first ones: of the requests that can be refused in the middle all lines are good.
    return { names: [...lineNames(text ?? '').values()].slice(0, before) }
  }
  if (text === undefined) return { names: [], problem: 'taken, but it cannot be decoded' }
  const errors = Array.isArray(answer.errors) ? answer.errors : []
  const refused = new Set(errors.map((error: { index: number }) => error.index))
  if (isNdjson) {
    const names = [...lineNames(text)].filter(([index]) => !refused.has(index)).map(([, name]) => name)
    return disagreement(names, answer.accepted, answer.rejected, errors.length)
  }
  const all = eventNames(protocol, text)
  if (all === undefined) return { names: [], problem: 'taken, but there are no events in it' }
  const names = all.filter((_, index) => !refused.has(index))
  const { accepted, rejected, count } = answer
  if (protocol === 'events')
    return idProblem(names, answer.eventIds) ?? disagreement(names, count, errors.length, errors.length)
  return disagreement(names, accepted ?? names.length, rejected ?? errors.length, errors.length)
}

function disagreement(names: readonly EventName[], accepted: unknown, rejected: unknown, errors: number) {
  if (accepted === names.length && rejected === errors) return { names }
  return {
    names,
    problem: `${names.length} of the events were good and ${errors} told as bad, the answer counts ${accepted} and ${rejected}`,
  }
}

/** Every id that was sent comes back, in order. */
function idProblem(names: readonly EventName[], ids: unknown) {
  if (!Array.isArray(ids) || ids.length !== names.length) return { names, problem: 'not as many ids as events' }
  const wrong = names.findIndex((name, index) => name !== undefined && storedName(ids[index]) !== name)
  return wrong < 0 ? undefined : { names, problem: `id ${wrong} is not the one that was sent` }
}
