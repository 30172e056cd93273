/**
 * `POST /api/track`, the protocol of the browser script: one `{siteId, sessionId, event: {type, timestamp, data}}`, an array of them, or
 * `{"events": […]}`, where `siteId` and `sessionId` may stand beside `events` and the events then go without them.
 *
 * - `siteId` is a public key. It goes before a key in the headers: browsers add credentials of their own to a beacon. Where an item has
 *   none the request's is meant, and all of one request have to name the same.
 * - An event without an id is known by its session, time, type and data: a beacon that comes twice is stored once.
 * - Of a request with good and bad events the good ones are kept: `{"success": true, "rejected": 1, "errors": […]}`.
 */
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
import { canonicalJson, isObject } from '../json.ts'
import type { JsonObject } from '../native/json-column.ts'
import type { Receipt } from '../pipeline.ts'
import { type Rejection, reject } from '../rejection.ts'
import { readMilliseconds } from '../timestamp.ts'
import { TRACK_CHECKS } from './track-schema.ts'

/** Ids made of an event's content are UUIDv5 in this namespace (itself a random UUID, fixed for ever). */
const CONTENT_ID_NAMESPACE = '0b0f6a1e-5d4c-4f0a-9c0e-7a52c1d3e8b6'

const TRACK: JsonProtocol = {
  name: 'api/track',
  limits: (edge) => edge.limits,
  keyWanted: 'no site: send its public key as `siteId`',
  isBodyKeyFirst: true,
  keyIn: (body) => siteIdsOf(body).next().value,
  open(body, { key }) {
    const values = itemsOf(body)
    if (values.length === 0)
      return reject('invalid_event', 'expected {siteId, sessionId, event}, an array of them, or {"events": […]}')
    const siteIds = new Set(siteIdsOf(body))
    if (siteIds.size > 1) return reject('invalid_event', 'all events of a request must name the same siteId')
    if (siteIds.size === 1 && key.kind === 'secret')
      return reject('forbidden', 'siteId must be a public key: whoever visits the page can read it')
    return { values, read }
  },
  acknowledge: (receipt) => ({ status: 200, body: acknowledgement(receipt) }),
  wordRefusal: (rejection) => ({ success: false, error: inWords(rejection) }),
}

export const TRACK_DOOR = jsonDoor(TRACK)

/** The events of a body, each with the siteId and sessionId that stand beside all of them. */
function itemsOf(body: unknown): readonly unknown[] {
  if (Array.isArray(body)) return body
  if (!isObject(body)) return []
  const { events, siteId, sessionId } = body
  if (!Array.isArray(events)) return [body]
  return events.map((item: unknown) => {
    if (!isObject(item)) return item
    return 'event' in item ? { siteId, sessionId, ...item } : { siteId, sessionId, event: item }
  })
}

/** Every site that a body names, beside its events or in them. */
function* siteIdsOf(body: unknown): Generator<string, undefined> {
  const items = Array.isArray(body)
    ? body
    : isObject(body) && Array.isArray(body.events)
      ? [body, ...body.events]
      : [body]
  for (const item of items) if (isObject(item) && typeof item.siteId === 'string') yield item.siteId
}

function read(item: unknown, index: number, facts: RequestFacts, findings: Findings): Event | undefined {
  const type = isObject(item) && isObject(item.event) ? item.event.type : undefined
  const check = TRACK_CHECKS.get(type)
  if (check === undefined)
    return findings.refuse(index, 'event.type', expected(`one of ${[...TRACK_CHECKS.keys()].join(', ')}`, type))
  if (!check.Check(item)) return refuseShape(check, item, index, findings)
  const { sessionId, event: sent } = item
  const { timestamp, data = {} } = sent
  const timeMs = readMilliseconds(timestamp)
  if (Number.isNaN(timeMs))
    return findings.refuse(index, 'event.timestamp', expected('milliseconds since 1970', timestamp))
  if (!checkJson(data, 'event.data', index, findings)) return undefined
  const event = newEvent(facts, sent.type)
  event.sessionId = sessionId
  const id = sent.eventId ?? sent.id
  if (id === undefined) event.eventId = contentId(event, timestamp, data)
  else setEventId(event, id)
  setOccurredAt(event, timeMs, timestamp, index, findings)
  const { url, referrer, title, ...rest } = data
  event.url = url ?? ''
  event.referrer = referrer ?? ''
  event.title = title ?? ''
  event.properties = rest
  return event
}

/** What identifies an event that has no id; the order of keys in its data says nothing. */
function contentId({ tenantId, workspaceId, sessionId, type }: Event, timestamp: number, data: JsonObject): string {
  const content = canonicalJson([tenantId, workspaceId, sessionId, timestamp, type, data])
  return Bun.randomUUIDv5(content, CONTENT_ID_NAMESPACE)
}

function acknowledgement({ rejected, errors }: Receipt): string {
  return rejected === 0 ? '{"success":true}' : JSON.stringify({ success: true, rejected, errors })
}

/** In one line, with the first thing that was wrong. */
function inWords({ message, details }: Rejection): string {
  const [first] = details ?? []
  return first === undefined ? message : `${message}: ${first.path}: ${first.message}`
}
