/** A key as the control database keeps it: the row, its reading, and what goes into a new one. */
import type { Selectable } from 'kysely'
import { isProblem, type Problem } from '../problem.ts'
import {
  DEFAULT_GRANTS,
  parseBatchEventsMax,
  parseBodyBytesMax,
  parseScopes,
  parseSigning,
  parseTier,
  type Scope,
  type SigningMode,
  type Tier,
} from './grants.ts'
import { generateKey, generateKeyId, hashKey, type KeyKind, keyPrefix } from './keys.ts'
import { parseOrigins } from './origins.ts'
import type { ControlTables } from './schema.ts'
import type { WorkspaceName } from './workspace-record.ts'

type KeyRow = Selectable<ControlTables['keys']>

/** What a new key may be given, as its owner wrote it; `prepareKey` checks it. Lists are comma-separated. */
export interface KeyRequest extends WorkspaceName {
  readonly kind: KeyKind
  readonly scopes?: string | undefined
  readonly tier?: string | undefined
  readonly expiresAt?: Date | undefined
  /** Events in one request. */
  readonly batchEventsMax?: string | undefined
  /** Size of a request body, such as `256KiB`. */
  readonly bodyBytesMax?: string | undefined
  readonly origins?: string | undefined
  readonly signing?: string | undefined
}

/** What may be wrong with a request for a key. */
export type KeyRequestProblem =
  | 'invalid_scope'
  | 'invalid_tier'
  | 'invalid_limit'
  | 'invalid_origin'
  | 'invalid_signing'

/** A key as stored: all but the key itself. Times are ISO 8601 in UTC. */
export interface KeyRecord {
  readonly id: string
  readonly tenantId: string
  readonly workspaceId: string
  readonly kind: KeyKind
  /** The first characters of the key. */
  readonly prefix: string
  readonly scopes: readonly Scope[]
  readonly tier: Tier
  readonly createdAt: string
  readonly expiresAt: string | null
  readonly revokedAt: string | null
  readonly replacedBy: string | null
  readonly lastUsedAt: string | null
  /** Limits of its own; undefined: as configured. */
  readonly batchEventsMax: number | undefined
  readonly bodyBytesMax: number | undefined
  /** Origins of web pages that may use it, see origins.ts; undefined: all. */
  readonly allowedOrigins: readonly string[] | undefined
  readonly signing: SigningMode
}

/** A key with what its workspace adds to it: all that a request with this key needs. */
export interface FoundKey extends KeyRecord {
  /** The workspace's own event types for `POST /events`; undefined: the contract's list; empty: any. */
  readonly eventTypes: readonly string[] | undefined
  /** There unless signing is off; a problem when it cannot be decrypted. */
  readonly signingSecret: string | undefined | Problem
}

/** A key at the only moment it is known. */
export interface NewKey {
  readonly key: string
  readonly record: KeyRecord
}

/** Whether a key opens the door at this moment (milliseconds since 1970). */
export function keyState(record: KeyRecord, nowMs: number = Date.now()): 'active' | 'revoked' | 'expired' {
  if (record.revokedAt !== null) return 'revoked'
  return record.expiresAt !== null && Date.parse(record.expiresAt) <= nowMs ? 'expired' : 'active'
}

/** Reads a row. */
export function toRecord(row: KeyRow): KeyRecord {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    workspaceId: row.workspace_id,
    kind: row.kind as KeyKind,
    prefix: row.prefix,
    scopes: row.scopes.split(',') as Scope[],
    tier: row.tier as Tier,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
    replacedBy: row.replaced_by,
    lastUsedAt: row.last_used_at,
    batchEventsMax: row.batch_events_max ?? undefined,
    bodyBytesMax: row.body_bytes_max ?? undefined,
    allowedOrigins: row.allowed_origins?.split(','),
    signing: row.signing as SigningMode,
  }
}

/** The columns that belong to one key text and to no other. */
export function identity(key: string): Pick<KeyRow, 'id' | 'hash' | 'prefix'> {
  return { id: generateKeyId(), hash: hashKey(key), prefix: keyPrefix(key) }
}

/** Makes a key and its row from what was asked for, checked; whether the workspace exists is for the caller to find out. */
export function prepareKey(
  request: KeyRequest,
): { readonly key: string; readonly row: KeyRow } | Problem<KeyRequestProblem> {
  const usual = DEFAULT_GRANTS[request.kind]
  const scopes = request.scopes === undefined ? usual.scopes : parseScopes(request.scopes, request.kind)
  if (isProblem(scopes)) return scopes
  const tier = request.tier === undefined ? usual.tier : parseTier(request.tier)
  if (isProblem(tier)) return tier
  const batchEventsMax = ifGiven(request.batchEventsMax, parseBatchEventsMax)
  if (isProblem(batchEventsMax)) return batchEventsMax
  const bodyBytesMax = ifGiven(request.bodyBytesMax, parseBodyBytesMax)
  if (isProblem(bodyBytesMax)) return bodyBytesMax
  const origins = ifGiven(request.origins, parseOrigins)
  if (isProblem(origins)) return origins
  const signing = parseSigning(request.signing ?? 'off')
  if (isProblem(signing)) return signing
  const key = generateKey(request.kind)
  const row: KeyRow = {
    ...identity(key),
    tenant_id: request.tenant,
    workspace_id: request.workspace,
    kind: request.kind,
    scopes: scopes.join(','),
    tier,
    created_at: new Date().toISOString(),
    expires_at: request.expiresAt?.toISOString() ?? null,
    revoked_at: null,
    replaced_by: null,
    last_used_at: null,
    batch_events_max: batchEventsMax ?? null,
    body_bytes_max: bodyBytesMax ?? null,
    allowed_origins: origins?.join(',') ?? null,
    signing,
  }
  return { key, row }
}

function ifGiven<Value>(text: string | undefined, parse: (text: string) => Value): Value | undefined {
  return text === undefined ? undefined : parse(text)
}
