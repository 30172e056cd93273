/**
 * The events that the scenarios send: a web shop's, 400 bytes or more each as JSON, with the types and the cardinalities of one.
 * Without an `event_id` the prebuilt requests can be sent many times, and every time they are new events; with one, the number of the
 * pass is part of it.
 */
import assert from 'node:assert/strict'
import { Random } from './random.ts'
import { PASS_NUMBER } from './requests.ts'

/** JSON size that every event has at least, in bytes. */
export const EVENT_BYTES_MIN = 400

const SESSIONS = 20_000
const USERS = 10_000
const PAGES = 2_000
const SKUS = 5_000
/** `occurred_at` lies this far back at most. */
const AGE_MAX_MS = 5 * 60_000

/** An event as `POST /v1/events` takes it. */
export interface BenchEvent {
  readonly type: string
  readonly timestamp: string
  readonly event_id?: string
  readonly session_id: string
  readonly user_id?: string
  readonly anonymous_id?: string
  readonly properties: Readonly<Record<string, unknown>>
  readonly context: {
    readonly ip: string
    readonly user_agent: string
    readonly locale: string
    readonly page_url: string
    readonly referrer?: string
    readonly screen: { readonly width: number; readonly height: number; readonly density: number }
  }
}

/** How many different property keys there are, and how many of them an event has; without it the properties are a shop's. */
export interface FlatKeys {
  readonly distinct: number
  readonly perEvent: number
}

const TYPES = [
  ['pageview', 45],
  ['click', 25],
  ['search', 8],
  ['Product Viewed', 10],
  ['add_to_cart', 6],
  ['remove_from_cart', 2],
  ['Order Completed', 2],
  ['form_submit', 2],
] as const
const TYPE_BAG = TYPES.flatMap(([type, weight]) => Array<string>(weight).fill(type))

const LOCALES = [
  'en-US',
  'en-GB',
  'de-DE',
  'de-AT',
  'fr-FR',
  'es-ES',
  'it-IT',
  'pt-BR',
  'nl-NL',
  'pl-PL',
  'ja-JP',
  'sv-SE',
]
const SECTIONS = ['shoes', 'jackets', 'bags', 'outdoor', 'kitchen', 'books', 'garden', 'sale']
const REFERRERS = ['https://www.google.com/', 'https://duckduckgo.com/', 'https://news.example.org/today']
const SCREENS = [
  { width: 1920, height: 1080, density: 1 },
  { width: 1440, height: 900, density: 2 },
  { width: 390, height: 844, density: 3 },
  { width: 412, height: 915, density: 2.625 },
]
const USER_AGENTS = Array.from({ length: 40 }, (_, index) => {
  const system = [
    'Windows NT 10.0; Win64; x64',
    'Macintosh; Intel Mac OS X 10_15_7',
    'X11; Linux x86_64',
    'Linux; Android 14',
  ][index % 4]
  return `Mozilla/5.0 (${system}) Chrome/${130 + index}.0.0.0`
})

export interface EventSourceOptions {
  readonly seed: number
  readonly now?: number
  readonly flatKeys?: FlatKeys
  /** Gives events an `event_id`, a UUID with PASS_NUMBER in it; they are the same otherwise. */
  readonly hasIds?: boolean
}

/** Makes events, the same ones for the same seed but for their times, which lie in the minutes before `now`. */
export class EventSource {
  private readonly random: Random
  private readonly sessions: readonly string[]
  private readonly now: number
  private readonly flatKeys: FlatKeys | undefined
  private readonly ids: Random | undefined

  constructor(options: EventSourceOptions) {
    this.random = new Random(options.seed)
    this.ids = options.hasIds === true ? new Random(~options.seed) : undefined
    this.sessions = Array.from({ length: SESSIONS }, () => this.random.uuid())
    this.now = options.now ?? Date.now()
    this.flatKeys = options.flatKeys
  }

  event(): BenchEvent {
    const { random } = this
    const type = random.pick(TYPE_BAG)
    const session = random.below(SESSIONS)
    const page = random.skewed(PAGES)
    const section = SECTIONS[page % SECTIONS.length]
    const event: BenchEvent = {
      type,
      timestamp: new Date(this.now - random.below(AGE_MAX_MS)).toISOString(),
      ...(this.ids === undefined ? {} : { event_id: PASS_NUMBER + this.ids.uuid().slice(PASS_NUMBER.length) }),
      session_id: this.sessions[session] as string,
      // A session has one user, known in three of five.
      ...(session % 5 < 3 ? { user_id: `user-${session % USERS}` } : { anonymous_id: `anon-${session}` }),
      properties: this.flatKeys === undefined ? this.shopProperties(type) : this.flatProperties(this.flatKeys),
      context: {
        ip: `203.0.${session % 200}.${session % 250}`,
        user_agent: USER_AGENTS[session % USER_AGENTS.length] as string,
        locale: LOCALES[session % LOCALES.length] as string,
        page_url: `https://shop.example.com/${section}/page-${page}`,
        ...(random.chance(0.6) ? { referrer: random.pick(REFERRERS) } : {}),
        screen: SCREENS[session % SCREENS.length] as (typeof SCREENS)[number],
      },
    }
    return event
  }

  private shopProperties(type: string): Record<string, unknown> {
    const { random } = this
    const sku = `SKU-${String(random.skewed(SKUS)).padStart(5, '0')}`
    const price = Math.round(random.next() * 20_000 + 99) / 100
    const common = {
      load_ms: random.below(4_000),
      logged_in: random.chance(0.6),
    }
    switch (type) {
      case 'click':
        return {
          ...common,
          selector: `#item-${random.below(300)} > a`,
          position: { x: random.below(1920), y: random.below(4000) },
        }
      case 'search':
        return {
          ...common,
          query: `blue ${random.pick(SECTIONS)} ${random.below(500)}`,
          results: random.below(400),
          fuzzy: random.chance(0.2),
        }
      case 'Order Completed':
        return {
          ...common,
          order: { total: price * 3, currency: 'EUR', items: 1 + random.below(6), express: random.chance(0.3) },
          coupon: `C${random.below(90)}`,
        }
      case 'form_submit':
        return { ...common, form: `form-${random.below(12)}`, fields: 1 + random.below(9), seconds: random.next() * 90 }
      case 'pageview':
        return {
          ...common,
          scroll_depth: random.next(),
          first_visit: random.chance(0.2),
          campaign: { source: 'newsletter', number: random.below(60) },
        }
      default:
        return {
          ...common,
          sku,
          price,
          quantity: 1 + random.below(4),
          product: { category: random.pick(SECTIONS), in_stock: random.chance(0.9), rating: random.below(50) / 10 },
        }
    }
  }

  /** A run of consecutive keys, so that the cost of choosing them is the same however many there are. */
  private flatProperties({ distinct, perEvent }: FlatKeys): Record<string, unknown> {
    const { random } = this
    const properties: Record<string, unknown> = {}
    const first = random.below(distinct)
    for (let offset = 0; offset < perEvent; offset++) {
      const key = (first + offset) % distinct
      // A key keeps its type, as keys do.
      const kinds = [`value-${random.below(1000)}`, random.below(100_000), random.next() * 1000, random.chance(0.5)]
      properties[`attribute_${String(key).padStart(3, '0')}`] = kinds[key % kinds.length]
    }
    return properties
  }
}

/** The event as a row of the table `events`, as somebody would insert it who has no collector. */
export function toRow(event: BenchEvent, ids: { readonly random: Random; readonly now: number }): object {
  const { ip, user_agent, locale, page_url, referrer, ...context } = event.context
  return {
    tenant_id: 'bench',
    workspace_id: 'bench',
    event_id: ids.random.uuid(),
    type: event.type,
    protocol: 'direct',
    occurred_at: event.timestamp.replace('T', ' ').replace('Z', ''),
    received_at: new Date(ids.now).toISOString().replace('T', ' ').replace('Z', ''),
    session_id: event.session_id,
    user_id: event.user_id ?? '',
    anonymous_id: event.anonymous_id ?? '',
    url: page_url,
    referrer: referrer ?? '',
    locale,
    user_agent,
    ip: `::ffff:${ip}`,
    schema_version: '1',
    properties: event.properties,
    context,
  }
}

/** JSON of the event; asserts that it is as large as promised. */
export function eventJson(event: BenchEvent): string {
  const json = JSON.stringify(event)
  assert(json.length >= EVENT_BYTES_MIN, `an event has only ${json.length} bytes`)
  return json
}
