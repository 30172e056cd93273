/** The events of the browser script (`POST /api/track`): their types and what each says about itself. Further keys of `data` are kept. */
import { type TSchema, Type } from '@sinclair/typebox'
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler'
import { INGEST_REFUSALS, type Operation } from '../openapi/operation.ts'
import { ReceiptSchema } from './receipt-body.ts'

const TextOrNull = (description: string) =>
  Type.Optional(Type.Union([Type.String(), Type.Null()], { title: 'a text', description }))

/**
 * A number that is stored as it was sent: an integer beyond 2^53 is a bigint when the text is read again with its digits kept, which the
 * documentation does not need to know. (Not a kind of its own, which takes 100 ns to check.)
 */
function Quantity(options: { description?: string; minimum?: 0; examples?: number[] } = {}) {
  const title = options.minimum === undefined ? 'a number' : 'a number from 0'
  const large = options.minimum === undefined ? Type.BigInt() : Type.BigInt({ minimum: 0n })
  const documented = { title, type: 'number', ...options }
  return Type.Union([Type.Number(options), large], { title, toJSON: () => documented })
}

/** What every event may say of the page that it happened on; these have columns of their own. */
const PAGE = {
  url: Type.Optional(
    Type.String({ description: 'Address of the page.', examples: ['https://shop.example/shoes?page=2'] }),
  ),
  referrer: TextOrNull('Address of the page before.'),
  title: TextOrNull('Title of the page.'),
}

const DATA = {
  pageview: Type.Object({
    ...PAGE,
    url: Type.String({ description: 'Address of the page.', examples: ['https://shop.example/shoes?page=2'] }),
  }),
  click: Type.Object({
    ...PAGE,
    selector: Type.String({ description: 'CSS selector of what was clicked.', examples: ['#buy'] }),
    position: Type.Optional(
      Type.Object({ x: Quantity(), y: Quantity() }, { description: 'Where, in pixels of the page.' }),
    ),
  }),
  form: Type.Object({
    ...PAGE,
    formId: Type.String({ description: 'Which form.', examples: ['newsletter'] }),
    fieldInteractions: Type.Optional(
      Type.Union([Quantity(), Type.Object({}), Type.Array(Type.Unknown())], {
        title: 'a number, an object or an array',
        description: 'How often fields were used: in all, by field, or one after the other.',
      }),
    ),
  }),
  scroll: Type.Object({
    ...PAGE,
    scrollDepth: Quantity({ minimum: 0, description: 'How far down the page, in percent.', examples: [75] }),
    timeAtDepth: Type.Optional(Quantity({ minimum: 0, description: 'How long there, in milliseconds.' })),
  }),
  time: Type.Optional(
    Type.Object({
      ...PAGE,
      timeOnPage: Type.Optional(Quantity({ minimum: 0, description: 'How long on the page, in milliseconds.' })),
    }),
  ),
}

const Id = (description: string) => Type.Optional(Type.String({ minLength: 1, maxLength: 256, description }))

/** What of an event's data goes to columns. */
interface TrackData {
  readonly [key: string]: unknown
  readonly url?: string
  readonly referrer?: string | null
  readonly title?: string | null
}

function itemOf(type: string, data: TSchema) {
  return Type.Object({
    siteId: Type.Optional(Type.String({ description: 'Public key of the site.', examples: ['pk_…'] })),
    sessionId: Type.String({ minLength: 1, maxLength: 256, description: 'Any text that names the session.' }),
    event: Type.Object({
      type: Type.Literal(type),
      timestamp: Type.Number({ description: 'When it happened, milliseconds since 1970.', examples: [1790000000000] }),
      data: Type.Unsafe<TrackData | undefined>(data),
      eventId: Id('Identifies the event; without one its session, time, type and data do.'),
      id: Id('The same as `eventId`.'),
    }),
  })
}

const ITEMS = Object.entries<TSchema>(DATA).map(([type, data]) => [type, itemOf(type, data)] as const)

/** How an item is checked, by the type of its event. */
export const TRACK_CHECKS: ReadonlyMap<unknown, TypeCheck<ReturnType<typeof itemOf>>> = new Map(
  ITEMS.map(([type, schema]) => [type, TypeCompiler.Compile(schema)]),
)

const TrackItemSchema = Type.Union(ITEMS.map(([, schema]) => schema))

/** A body of `POST /api/track`. */
const TrackSchema = Type.Union([
  TrackItemSchema,
  Type.Array(TrackItemSchema, { minItems: 1 }),
  Type.Object({ events: Type.Array(TrackItemSchema, { minItems: 1 }) }),
])

const EXAMPLE = {
  siteId: 'pk_…',
  sessionId: '018f2f5e-5c1a-7c3e-9d2b-3f4a5b6c7d8e',
  event: {
    type: 'pageview',
    timestamp: 1790000000000,
    data: { url: 'https://shop.example/shoes?page=2', referrer: 'https://search.example/', title: 'Shoes' },
  },
}

export const TRACK_OPERATION: Operation = {
  summary: 'Send events of a web page',
  description: `For the browser's script: \`fetch\`, or \`navigator.sendBeacon\` with a text or a Blob. \`siteId\` is a public key and goes before
one in the headers; all events of a request name the same. \`siteId\` and \`sessionId\` may also stand once, beside \`events\`. Good events
of a mixed request are kept, \`rejected\` counts the others. An event without an id is known by its session, time, type and data, so that
one sent twice is stored once. Pages of all origins may send, unless the key is for some only.`,
  tag: 'Browser',
  key: 'header or body',
  body: {
    'application/json': {
      schema: TrackSchema,
      examples: { event: EXAMPLE, array: [EXAMPLE], events: { events: [EXAMPLE] } },
    },
  },
  success: {
    status: 200,
    description: 'At least one event was accepted, and all that were are on disk.',
    schema: Type.Object({
      success: Type.Literal(true),
      rejected: Type.Optional(Type.Integer({ minimum: 1, description: 'Events that were refused, if some were.' })),
      errors: ReceiptSchema.properties.errors,
    }),
    example: { success: true },
  },
  refusals: INGEST_REFUSALS,
  refusal: {
    schema: Type.Object({ success: Type.Literal(false), error: Type.String() }),
    example: { success: false, error: 'the API key is not known' },
  },
}
