/** What a key or a workspace may be given: one check for each field, used by every operation that stores it. */
import { formatBytes, parseBytes } from '../bytes.ts'
import { type Problem, problem } from '../problem.ts'
import type { KeyKind } from './keys.ts'

const SCOPES = ['ingest', 'read', 'admin'] as const
const TIERS = ['free', 'pro', 'enterprise', 'site', 'unlimited'] as const

const SIGNING_MODES = ['off', 'optional', 'required'] as const

const EVENTS_PER_MINUTE: Readonly<Record<(typeof TIERS)[number], number>> = {
  free: 100,
  pro: 1000,
  enterprise: 10_000,
  site: 1000,
  unlimited: Number.POSITIVE_INFINITY,
}

/** As far as the configured limits go. */
const BATCH_EVENTS_HIGHEST = 100_000
const BODY_BYTES_LOWEST = 1024
const BODY_BYTES_HIGHEST = 1024 ** 3
const EVENT_TYPES_MAX = 1000

/** What a key may do: send events, read its workspace's events, manage its tenant. */
export type Scope = (typeof SCOPES)[number]

/** Rate limit of a key: a named tier or its own number of events a minute. */
export type Tier = (typeof TIERS)[number] | `${number}`

/** Whether requests with a key have to be signed; `optional`: a signature that is there is checked. */
export type SigningMode = (typeof SIGNING_MODES)[number]

/** What a new key gets when nothing is said. */
export const DEFAULT_GRANTS: Readonly<Record<KeyKind, { scopes: readonly Scope[]; tier: Tier }>> = {
  public: { scopes: ['ingest'], tier: 'site' },
  secret: { scopes: ['ingest', 'read'], tier: 'free' },
}

/** Tenants and workspaces are named once and for ever: the name is stored in every event. */
export function checkName(what: 'tenant' | 'workspace', name: string): Problem<'invalid_name'> | undefined {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) return undefined
  return problem(
    'invalid_name',
    `${what} is ${shown(name)}, but wants 1 to 63 letters, digits, . _ or -, a letter or digit first`,
  )
}

/** Reads a comma-separated list of scopes for a key of this kind. */
export function parseScopes(text: string, kind: KeyKind): readonly Scope[] | Problem<'invalid_scope'> {
  const wanted = text.split(',').map((scope) => scope.trim())
  const unknown = wanted.find((scope) => !SCOPES.some((known) => known === scope))
  if (unknown !== undefined) {
    return problem('invalid_scope', `scope is ${JSON.stringify(unknown)}, but wants one of ${SCOPES.join(', ')}`)
  }
  if (kind === 'public' && wanted.some((scope) => scope !== 'ingest')) {
    return problem('invalid_scope', 'a public key is for everyone to see: its only scope is ingest')
  }
  return SCOPES.filter((scope) => wanted.includes(scope))
}

/** Reads a tier. */
export function parseTier(text: string): Tier | Problem<'invalid_tier'> {
  const named = TIERS.find((tier) => tier === text)
  if (named !== undefined) return named
  if (/^[1-9]\d{0,8}$/.test(text)) return `${Number(text)}`
  const wants = `one of ${TIERS.join(', ')} or a number of events a minute of up to 9 digits`
  return problem('invalid_tier', `tier is ${shown(text)}, but wants ${wants}`)
}

/** The rate limit of a tier, in events a minute; Infinity: none. */
export function eventsPerMinute(tier: Tier): number {
  const named = TIERS.find((known) => known === tier)
  return named === undefined ? Number(tier) : EVENTS_PER_MINUTE[named]
}

/** Reads whether requests have to be signed. */
export function parseSigning(text: string): SigningMode | Problem<'invalid_signing'> {
  const mode = SIGNING_MODES.find((known) => known === text)
  if (mode !== undefined) return mode
  return problem('invalid_signing', `signing is ${shown(text)}, but wants one of ${SIGNING_MODES.join(', ')}`)
}

/** Reads a key's own limit of events in one request. */
export function parseBatchEventsMax(text: string): number | Problem<'invalid_limit'> {
  const events = /^\d{1,9}$/.test(text) ? Number(text) : 0
  if (events >= 1 && events <= BATCH_EVENTS_HIGHEST) return events
  const wants = `a whole number from 1 to ${BATCH_EVENTS_HIGHEST}`
  return problem('invalid_limit', `batch-events-max is ${shown(text)}, but wants ${wants}`)
}

/** Reads a key's own limit of a request body, in bytes. */
export function parseBodyBytesMax(text: string): number | Problem<'invalid_limit'> {
  const bytes = parseBytes(text) ?? 0
  if (bytes >= BODY_BYTES_LOWEST && bytes <= BODY_BYTES_HIGHEST) return bytes
  const range = `${formatBytes(BODY_BYTES_LOWEST)} to ${formatBytes(BODY_BYTES_HIGHEST)}`
  return problem('invalid_limit', `body-bytes-max is ${shown(text)}, but wants a size from ${range}, such as 256KiB`)
}

/**
 * Reads a workspace's event types for `POST /events`: a comma-separated list, `default` (undefined: the contract's list) or
 * `any` (an empty array). A list of one type that has one of these names cannot be given; beside others they are types.
 */
export function parseEventTypes(text: string): readonly string[] | undefined | Problem<'invalid_event_types'> {
  if (text === 'default') return undefined
  if (text === 'any') return []
  const types = [...new Set(text.split(',').map((type) => type.trim()))]
  const wrong = types.find((type) => type === '' || type.length > 100 || /\p{Cc}/u.test(type))
  if (wrong !== undefined) {
    const wants = 'default, any, or a comma-separated list of types of 1 to 100 characters'
    return problem('invalid_event_types', `event type is ${shown(wrong)}, but wants ${wants}`)
  }
  if (types.length > EVENT_TYPES_MAX) {
    return problem(
      'invalid_event_types',
      `event types are ${types.length}, but at most ${EVENT_TYPES_MAX} are possible`,
    )
  }
  return types
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 80))
}
