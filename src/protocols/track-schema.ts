/** The events of the browser script (`POST /api/track`): their types and what each says about itself. Further keys of `data` are kept. */
import { type TSchema, Type } from '@sinclair/typebox'
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler'

const TextOrNull = (description: string) =>
  Type.Optional(Type.Union([Type.String(), Type.Null()], { title: 'a text', description }))

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
      Type.Object({ x: Type.Number(), y: Type.Number() }, { description: 'Where, in pixels of the page.' }),
    ),
  }),
  form: Type.Object({
    ...PAGE,
    formId: Type.String({ description: 'Which form.', examples: ['newsletter'] }),
    fieldInteractions: Type.Optional(
      Type.Union([Type.Number(), Type.Object({}), Type.Array(Type.Unknown())], {
        title: 'a number, an object or an array',
        description: 'How often fields were used: in all, by field, or one after the other.',
      }),
    ),
  }),
  scroll: Type.Object({
    ...PAGE,
    scrollDepth: Type.Number({ minimum: 0, description: 'How far down the page, in percent.', examples: [75] }),
    timeAtDepth: Type.Optional(Type.Number({ minimum: 0, description: 'How long there, in milliseconds.' })),
  }),
  time: Type.Optional(
    Type.Object({
      ...PAGE,
      timeOnPage: Type.Optional(Type.Number({ minimum: 0, description: 'How long on the page, in milliseconds.' })),
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
export const TrackSchema = Type.Union([
  TrackItemSchema,
  Type.Array(TrackItemSchema, { minItems: 1 }),
  Type.Object({ events: Type.Array(TrackItemSchema, { minItems: 1 }) }),
])
