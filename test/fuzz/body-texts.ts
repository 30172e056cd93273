/** The texts of bodies: valid for their operation, nearly so, wild, or too many events. */
import type { Draw } from './draw.ts'
import { spoil, toText, validValue, wildValue } from './json-values.ts'
import { HINTS, type KeyPlace, type Operation, type Protocol } from './operations.ts'

export const NDJSON = 'application/x-ndjson'

export interface Made {
  readonly text: string
  readonly kind: 'valid' | 'spoilt' | 'wild' | 'many'
}

/** A body of the content type; empty where the operation has none. */
export function makeText(
  { bodies }: Operation,
  protocol: Protocol,
  type: string | undefined,
  draw: Draw,
  key: { readonly place: KeyPlace | undefined; readonly presented: string; readonly isTight: boolean },
): Made {
  const schema = bodies[type ?? '']
  if (type === undefined || schema === undefined) return { text: '', kind: 'valid' }
  const value = () => completed(validValue(schema, HINTS[protocol], draw), protocol, key)
  const drawn = draw.weighted([
    [40, 'valid' as const],
    [40, 'spoilt' as const],
    [15, 'wild' as const],
    [0.7, 'many' as const],
  ])
  // An upload ends at a line that is too long for its key. How many of those before it were taken is told, but not which: so all are good.
  const kind = type === NDJSON && key.isTight && drawn !== 'many' ? 'valid' : drawn
  if (kind === 'many') return { text: manyText(value, protocol, type === NDJSON, draw), kind }
  const one = () => {
    if (kind === 'valid') return toText(value())
    if (kind === 'wild') return toText(draw.chance(0.5) ? wrapped(wildValue(draw), protocol, key) : wildValue(draw))
    return toText(spoil(value(), draw))
  }
  if (type !== NDJSON) return { text: one(), kind }
  // Lines beyond the first 100 that are refused are not told.
  const lines = Array.from({ length: draw.integer(1, 12) }, one)
  return { text: lines.join(draw.pick(['\n', '\r\n', '\n\n'])) + draw.pick(['', '\n']), kind }
}

/** A batch of more events than some limits, each with an id of its own. */
function manyText(value: () => unknown, protocol: Protocol, isNdjson: boolean, draw: Draw): string {
  const event = JSON.stringify(value())
  const count = draw.pick([2, 3, 50, 51, 100, 101, 500, 501])
  if (isNdjson) return Array.from({ length: count * 2 }, () => withNewIds(event, draw)).join('\n')
  const parsed = JSON.parse(event)
  const list = protocol === 'batch' ? parsed.batch : Array.isArray(parsed) ? parsed : (parsed.events ?? [parsed])
  const many = Array.from({ length: count }, (_, n) =>
    JSON.parse(withNewIds(JSON.stringify(list[n % list.length]), draw)),
  )
  if (protocol === 'batch') return toText({ ...parsed, batch: many })
  if (protocol === 'events' || Array.isArray(parsed)) return toText(many)
  return toText(protocol === 'call' ? parsed : { ...parsed, events: many })
}

function withNewIds(event: string, draw: Draw): string {
  return event.replaceAll(
    /"(event_id|eventId|messageId|id)":"(?:[^"\\]|\\.)*"/g,
    (_, name) => `"${name}":"${draw.uuid()}"`,
  )
}

/** What the words of the documentation ask for beyond the schema. Changes the value. */
function completed(
  value: unknown,
  protocol: Protocol,
  { place, presented }: { place: KeyPlace | undefined; presented: string },
): unknown {
  const body = value as Record<string, unknown>
  if (protocol === 'call') identified(body)
  if (protocol === 'batch') for (const call of body.batch as Record<string, unknown>[]) identified(call)
  if (place === 'writeKey') body.writeKey = presented
  else delete body.writeKey
  if (protocol === 'track') {
    const items = (Array.isArray(body) ? body : (body.events ?? [body])) as Record<string, unknown>[]
    for (const item of items) {
      if (place === 'siteId') item.siteId = presented
      else delete item.siteId
    }
  }
  return value
}

function identified(call: Record<string, unknown>): void {
  if (call.userId === undefined && call.anonymousId === undefined) call.userId = 'user-42'
}

function wrapped(
  value: unknown,
  protocol: Protocol,
  { place, presented }: { place: KeyPlace | undefined; presented: string },
): unknown {
  const keys = place === 'siteId' || place === 'writeKey' ? { [place]: presented } : {}
  if (protocol === 'batch') return { ...keys, batch: value }
  return protocol === 'canonical' || protocol === 'track' ? { ...keys, events: [value] } : value
}
