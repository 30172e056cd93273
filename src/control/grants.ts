/** What names, scopes and tiers may be: one check each, used by every operation that stores them. */
import { type Problem, problem } from '../problem.ts'
import type { KeyKind } from './keys.ts'

const SCOPES = ['ingest', 'read', 'admin'] as const
const TIERS = ['free', 'pro', 'enterprise', 'site', 'unlimited'] as const

/** What a key may do: send events, read its workspace's events, manage its tenant. */
export type Scope = (typeof SCOPES)[number]

/** Rate limit of a key: a named tier or its own number of events a minute. */
export type Tier = (typeof TIERS)[number] | `${number}`

/** What a new key gets when nothing is said. */
export const DEFAULT_GRANTS: Readonly<Record<KeyKind, { scopes: readonly Scope[]; tier: Tier }>> = {
  public: { scopes: ['ingest'], tier: 'site' },
  secret: { scopes: ['ingest', 'read'], tier: 'free' },
}

/** Tenants and workspaces are named once and for ever: the name is stored in every event. */
export function checkName(what: 'tenant' | 'workspace', name: string): Problem<'invalid_name'> | undefined {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) return undefined
  const got = JSON.stringify(name.slice(0, 80))
  return problem(
    'invalid_name',
    `${what} is ${got}, but wants 1 to 63 letters, digits, . _ or -, a letter or digit first`,
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
  const wants = `one of ${TIERS.join(', ')} or a number of events a minute`
  return problem('invalid_tier', `tier is ${JSON.stringify(text.slice(0, 80))}, but wants ${wants}`)
}
