/**
 * The calls of Segment's HTTP API as clients write them. The schemas check requests and describe them in the documentation.
 * Other keys than these are allowed and passed over.
 */
import { type TProperties, Type } from '@sinclair/typebox'

/** Kinds of calls; each has a path of its own, and a name in the field `type` of a batch. */
export const CALL_TYPES = ['track', 'identify', 'page', 'screen', 'group', 'alias'] as const
export type CallType = (typeof CALL_TYPES)[number]

/** Characters of ids and of a track call's event name. */
const NAME_CHARS_MAX = 256

/** Fields that hold ids; a client may write a number there, which is kept as its digits. */
export const ID_FIELDS = ['messageId', 'userId', 'anonymousId', 'groupId', 'previousId'] as const

const Id = (description: string, example: string) =>
  Type.String({
    minLength: 1,
    maxLength: NAME_CHARS_MAX,
    description: `${description} A number is kept as text.`,
    examples: [example],
  })
const Time = (description: string) => Type.String({ description, examples: ['2026-11-20T08:09:10.123Z'] })
const Traits = (description: string, example: object) =>
  Type.Optional(Type.Object({}, { description, examples: [example] }))
const Properties = Traits('Anything else about it.', { plan: 'pro', revenue: 49.9 })
const Name = (description: string, example: string) => Type.Optional(Type.String({ description, examples: [example] }))

const ContextSchema = Type.Object(
  {},
  {
    description:
      'Where it happened. Columns of their own have `ip`, `userAgent`, `locale`, `sessionId` and, in `page`, `url`, `title`, `referrer` and `path`; everything else is kept in the column `context`.',
    examples: [{ ip: '203.0.113.9', locale: 'de-AT', page: { url: 'https://shop.test/cart', title: 'Cart' } }],
  },
)
const IntegrationsSchema = Type.Object({}, { description: 'Which of Segment’s destinations get it; not kept.' })
const SentAt = Time('When the client sent the request, by its clock. It tells how far that clock is off.')
const WriteKey = Type.String({ description: 'The API key, when no header has it.', examples: ['pk_…'] })

const COMMON = {
  userId: Type.Optional(Id('Who did it, when known; this or `anonymousId` is required.', 'user-17')),
  anonymousId: Type.Optional(Id('Who did it, when not known by name.', '507f191e810c19729de860ea')),
  messageId: Type.Optional(
    Id('Identifies the call: a copy with the same id is stored once.', '022bb90c-bbac-11e4-8dfc-aa07a5b093db'),
  ),
  context: Type.Optional(ContextSchema),
  integrations: Type.Optional(IntegrationsSchema),
  timestamp: Type.Optional(Time('When it happened, ISO 8601, by the client’s clock. Left out: now.')),
  originalTimestamp: Type.Optional(
    Time('When a library of RudderStack’s was called; goes before `timestamp`, unless there is a `channel`.'),
  ),
  channel: Type.Optional(
    Type.Unknown({ description: 'Sent by RudderStack’s libraries: where they run.', examples: ['server'] }),
  ),
  sentAt: Type.Optional(SentAt),
} satisfies TProperties

const GROUP_ID = Id('Of the group.', 'company-3')
const PREVIOUS_ID = Id('The id that the user had before.', 'anonymous-5')

/** What each call has beside the common fields. */
const OWN = {
  track: {
    event: Type.String({
      minLength: 1,
      maxLength: NAME_CHARS_MAX,
      description: 'What happened; the event’s type.',
      examples: ['Order Completed'],
    }),
    properties: Properties,
  },
  identify: { traits: Traits('What is known of the user.', { email: 'ada@shop.test', plan: 'pro' }) },
  page: {
    name: Name('Of the page; kept in `properties.name`.', 'Cart'),
    category: Name('Of the page; kept in `properties.category`.', 'Shop'),
    properties: Properties,
  },
  screen: {
    name: Name('Of the screen; kept in `properties.name`.', 'Cart'),
    category: Name('Of the screen; kept in `properties.category`.', 'Shop'),
    properties: Properties,
  },
  group: { groupId: GROUP_ID, traits: Traits('What is known of the group.', { name: 'Initech', employees: 12 }) },
  alias: { previousId: PREVIOUS_ID, properties: Properties },
} satisfies Record<CallType, TProperties>

const DESCRIPTIONS: Record<CallType, string> = {
  track: 'Something that a user did. Stored under the name of the event.',
  identify: 'Who a user is. Stored as `identify`, the traits in `properties`; the user’s latest traits follow it.',
  page: 'A page was seen. Stored as `pageview`.',
  screen: 'A screen of an app was seen. Stored as `screen`.',
  group: 'A user belongs to a group. Stored as `group`, the traits and `groupId` in `properties`.',
  alias: 'A user has another id from now on. Stored as `alias`, the old one in `properties.previousId`.',
}

/** A body of each. */
export const CALL_EXAMPLES: Readonly<Record<CallType, object>> = {
  track: { userId: 'user-17', event: 'Order Completed', properties: { revenue: 49.9 } },
  identify: { userId: 'user-17', traits: { email: 'ada@shop.test', plan: 'pro' } },
  page: { anonymousId: '507f191e', name: 'Cart', properties: { url: 'https://shop.test/cart' } },
  screen: { anonymousId: '507f191e', name: 'Cart' },
  group: { userId: 'user-17', groupId: 'company-3', traits: { name: 'Initech' } },
  alias: { userId: 'user-17', previousId: '507f191e' },
}

const AUTHENTICATION = { writeKey: Type.Optional(WriteKey) }

/** The body of a request with one call, `POST /v1/<type>`. */
export const CALL_SCHEMAS = {
  track: oneCall('track'),
  identify: oneCall('identify'),
  page: oneCall('page'),
  screen: oneCall('screen'),
  group: oneCall('group'),
  alias: oneCall('alias'),
}

/** The body of a request with many calls, `POST /v1/batch`. */
export const BatchSchema = Type.Object(
  {
    batch: Type.Array(Type.Union(CALL_TYPES.map(callInBatch)), {
      minItems: 1,
      description: 'The calls, each with its `type`.',
    }),
    context: Type.Optional(
      Type.Object(
        {},
        { description: 'Holds for every call of the batch, key by key; what a call says itself goes before.' },
      ),
    ),
    integrations: Type.Optional(IntegrationsSchema),
    sentAt: Type.Optional(SentAt),
    ...AUTHENTICATION,
  },
  { description: 'Many calls at once.' },
)

function oneCall(type: CallType) {
  const properties: TProperties = { ...OWN[type], ...COMMON, ...AUTHENTICATION }
  return Type.Object(properties, { description: DESCRIPTIONS[type], examples: [CALL_EXAMPLES[type]] })
}

function callInBatch(type: CallType) {
  const properties: TProperties = { type: Type.Literal(type), ...OWN[type], ...COMMON }
  return Type.Object(properties, { description: DESCRIPTIONS[type] })
}

/** What a call may have after its check, whatever its type. */
export interface Call {
  readonly event?: string
  readonly name?: string
  readonly category?: string
  readonly groupId?: string
  readonly previousId?: string
  readonly userId?: string
  readonly anonymousId?: string
  readonly messageId?: string
  readonly properties?: Record<string, unknown>
  readonly traits?: Record<string, unknown>
  readonly context?: Record<string, unknown>
  readonly timestamp?: string
  readonly originalTimestamp?: string
  /** Not checked. */
  readonly sentAt?: unknown
  readonly channel?: unknown
}
