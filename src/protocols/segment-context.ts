/**
 * The field `context` of Segment's calls: what a batch says for all its calls, and what of it has a column of its own.
 * Nothing here refuses a call: what is not as Segment describes it stays in the column `context`, as it came.
 */
import type { Event } from '../event.ts'
import { type RequestFacts, setAddress } from '../event-reading.ts'
import { isObject } from '../json.ts'
import { JSON_LIMITS } from '../native/json-shape.ts'

type Dictionary = Record<string, unknown>
type Addressing = Pick<RequestFacts, 'anonymizeIp'>

/** Characters of a session's id and of a locale. */
const SESSION_CHARS_MAX = 256
const LOCALE_CHARS_MAX = 64

/** A new object without a prototype: a client's keys, `__proto__` too, are keys like any other. */
function newDictionary(): Dictionary {
  return Object.create(null) as Dictionary
}

/**
 * What the batch says with what the call says, key by key in objects inside one another; where both say something, the call goes before.
 * Neither is changed. Beyond the depth that may be stored only the call's part is taken.
 */
export function mergeContext(ofBatch: Dictionary, ofCall: Dictionary, depth = 1): Dictionary {
  const merged = newDictionary()
  for (const key in ofBatch) merged[key] = ofBatch[key]
  for (const key in ofCall) {
    const own = ofCall[key]
    const common = merged[key]
    const isBoth = isObject(own) && isObject(common) && depth < JSON_LIMITS.depthMax
    merged[key] = isBoth ? mergeContext(common, own, depth + 1) : own
  }
  return merged
}

/** Moves what has a column of its own out of the context; the rest becomes the event's. */
export function takeContext(event: Event, context: Dictionary, facts: Addressing): void {
  const rest = newDictionary()
  for (const key in context) {
    const value = context[key]
    if (!takeField(event, key, value, facts)) rest[key] = value
  }
  const { page } = rest
  if (isObject(page)) {
    const others = takePage(event, page)
    if (others === undefined) delete rest.page
    else rest.page = others
  }
  event.context = rest
}

/** Says whether the field went into a column. */
function takeField(event: Event, key: string, value: unknown, facts: Addressing): boolean {
  switch (key) {
    case 'ip':
      if (typeof value !== 'string') return false
      // What is no address may still hold one: it is not kept where addresses are cut.
      return setAddress(event, value, facts) === undefined || facts.anonymizeIp
    case 'userAgent':
      if (typeof value !== 'string') return false
      event.userAgent = value
      return true
    case 'locale':
      if (typeof value !== 'string' || value.length > LOCALE_CHARS_MAX) return false
      event.locale = value
      return true
    case 'sessionId': {
      // RudderStack's libraries count sessions by the second of their start: a number.
      const id = typeof value === 'string' || Number.isSafeInteger(value) ? String(value) : ''
      if (id === '' || id.length > SESSION_CHARS_MAX) return false
      event.sessionId = id
      return true
    }
    default:
      return false
  }
}

/** Gives what is left, undefined when that is nothing. */
function takePage(event: Event, page: Dictionary): Dictionary | undefined {
  let rest: Dictionary | undefined
  for (const key in page) {
    const value = page[key]
    if (typeof value === 'string') {
      if (key === 'url') event.url = value
      else if (key === 'title') event.title = value
      else if (key === 'referrer') event.referrer = value
      else if (key === 'path') event.path = value
    }
    if (typeof value === 'string' && PAGE_COLUMNS.has(key)) continue
    rest ??= newDictionary()
    rest[key] = value
  }
  return rest
}

const PAGE_COLUMNS: ReadonlySet<string> = new Set(['url', 'title', 'referrer', 'path'])

/** The page that a page call is about, as its properties describe it; they keep what they have. */
export function describePage(event: Event, properties: Dictionary): void {
  const { url, title, referrer, path } = properties
  if (typeof url === 'string') {
    event.url = url
    // The path in the context may be another page's; without one in the properties it follows from the address.
    event.path = ''
  }
  if (typeof path === 'string') event.path = path
  if (typeof title === 'string') event.title = title
  if (typeof referrer === 'string') event.referrer = referrer
}
