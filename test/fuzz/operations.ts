/** The operations of an OpenAPI document, and what only the words of the documentation say of each: where its key and its events are. */
import fc from 'fast-check'
import type { Hints, Schema } from './json-values.ts'

/** One operation of the document. */
export interface Operation {
  readonly method: string
  /** With parameters in braces. */
  readonly path: string
  readonly keyPlaces: readonly KeyPlace[]
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly schema: Schema }[]
  /** By content type. */
  readonly bodies: Readonly<Record<string, Schema>>
  /** By status; undefined: nothing is said of the body. */
  readonly answers: ReadonlyMap<number, Schema | undefined>
  readonly successStatus: number
}

export type KeyPlace = 'API-Key' | 'X-API-Key' | 'bearer' | 'basic' | 'query' | 'siteId' | 'writeKey'

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>
}

interface DocumentedOperation {
  readonly security?: readonly object[]
  readonly parameters?: Operation['parameters']
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
  readonly responses: Readonly<
    Record<string, { readonly content?: { readonly 'application/json'?: { readonly schema: Schema } } }>
  >
}

/** All operations of the document. */
export function operationsOf(document: unknown): readonly Operation[] {
  const { paths } = document as Document
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, documented]): Operation => {
      const { security = [], parameters = [], requestBody, responses } = documented
      const content = Object.entries(requestBody?.content ?? {})
      const answers = Object.entries(responses).map(
        ([status, { content }]) => [Number(status), content?.['application/json']?.schema] as const,
      )
      return {
        method: method.toUpperCase(),
        path,
        keyPlaces: security.flatMap((scheme) => placesOf(Object.keys(scheme)[0], path)),
        parameters,
        bodies: Object.fromEntries(content.map(([type, { schema }]) => [type, schema])),
        answers: new Map(answers),
        successStatus: Math.min(...answers.map(([status]) => status)),
      }
    }),
  )
}

function placesOf(scheme: string | undefined, path: string): readonly KeyPlace[] {
  switch (scheme) {
    case 'apiKey':
      return ['API-Key', 'X-API-Key']
    case 'bearer':
    case 'basic':
    case 'query':
      return [scheme]
    default:
      return [path === '/api/track' ? 'siteId' : 'writeKey'] // in the body
  }
}

/** Which of the documented ways an operation's events go. */
export type Protocol = 'canonical' | 'events' | 'track' | 'call' | 'batch' | 'journey' | 'stream' | 'service'

export function protocolOf({ path, bodies }: Operation): Protocol {
  if (path === '/v1/events') return 'canonical'
  if (path === '/events') return 'events'
  if (path === '/api/track') return 'track'
  if (path === '/v1/stream') return 'stream'
  if (path.endsWith('/journey')) return 'journey'
  if (/\/(batch|import)$/.test(path)) return 'batch'
  return Object.keys(bodies).length > 0 ? 'call' : 'service'
}

const NOW = Date.now()
const DAY_MS = 86_400_000
const recent = fc.integer({ min: NOW - 3 * DAY_MS, max: NOW })
const isoTime = fc.oneof({ weight: 8, arbitrary: recent }, fc.integer({ min: Date.UTC(1901), max: NOW + DAY_MS }))
const iso = isoTime.map((timeMs) => new Date(timeMs).toISOString())
const text = (maxLength: number) => fc.string({ unit: 'binary', minLength: 1, maxLength })
/** Often one that others have too. */
const id = fc.oneof(
  { weight: 3, arbitrary: fc.uuid() },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 5_000 }).map((n) => `order-${n}`) },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 0, max: 999 }).map((n) => `018f2f5e-5c1a-7c3e-9d2b-${`${n}`.padStart(12, 'A')}`),
  },
  fc.integer({ min: 0, max: 999 }).map((n) => `018F2F5E-5C1A-7C3E-9D2B-${`${n}`.padStart(12, 'a')}`),
  text(40),
)
const address = fc.oneof(fc.ipV4(), fc.ipV6())

/** What good values of some properties are, beyond their schemas. */
export const HINTS: Readonly<Record<Protocol, Hints>> = {
  canonical: { timestamp: iso, session_id: fc.uuid(), event_id: id, ip: address },
  stream: { timestamp: iso, session_id: fc.uuid(), event_id: id, ip: address },
  events: {
    type: fc.constantFrom('session_start', 'page_view', 'search', 'purchase', 'video_pause'),
    occurredAt: fc.oneof(iso, recent),
    eventId: id,
  },
  track: { timestamp: recent, eventId: id, sessionId: fc.uuid(), id },
  call: { timestamp: iso, originalTimestamp: iso, sentAt: iso, messageId: id },
  batch: { timestamp: iso, originalTimestamp: iso, sentAt: iso, messageId: id },
  journey: {
    userId: fc.constantFrom('user-42', 'user-17', 'user-123', 'nobody'),
    from: iso,
    to: iso,
    limit: fc.integer({ min: 1, max: 1000 }),
  },
  service: {},
}
