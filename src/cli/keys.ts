/** `penstock keys`: list, create, rotate, revoke. */
import { formatBytes } from '../bytes.ts'
import { type KeyRecord, keyState, type NewKey } from '../control/key-record.ts'
import type { KeyKind } from '../control/keys.ts'
import { announceToServers } from './announce.ts'
import { DURATION_FORM, parseDuration } from './duration.ts'
import { CommandFailure, orFail, printJson, printTable, withControl } from './session.ts'

/** Options as commander reads them. */
export interface ListOptions {
  readonly tenant?: string
  readonly workspace?: string
  readonly json?: boolean
}

/** Options as commander reads them. */
export interface CreateOptions {
  readonly tenant: string
  readonly workspace: string
  readonly kind: string
  readonly scopes?: string
  readonly tier?: string
  readonly expiresIn?: string
  readonly batchEventsMax?: string
  readonly bodyBytesMax?: string
  readonly origins?: string
  readonly signing?: string
  readonly json?: boolean
}

/** Lists keys without the keys themselves. */
export async function listKeys(options: ListOptions): Promise<void> {
  const records = await withControl((control) => control.listKeys(options))
  if (options.json) return printJson(records.map(toJson))
  if (records.length === 0) return void process.stdout.write('no keys\n')
  const heads = ['id', 'key', 'workspace', 'kind', 'scopes', 'tier', 'state', 'expires', 'last used']
  printTable([[...heads, 'signing', 'limits', 'origins'], ...records.map(toCells)])
}

/** Makes a key and prints it: the only time it is shown. */
export async function createKey(options: CreateOptions): Promise<void> {
  const kind = parseKind(options.kind)
  const lifetimeMs = options.expiresIn === undefined ? undefined : durationOrFail('--expires-in', options.expiresIn)
  if (lifetimeMs === 0) throw new CommandFailure(`--expires-in is "${options.expiresIn}", but wants more than nothing`)
  const expiresAt = lifetimeMs === undefined ? undefined : new Date(Date.now() + lifetimeMs)
  const made = orFail(await withControl((control) => control.createKey({ ...options, kind, expiresAt })))
  printNewKey(made, options.json)
}

/** Replaces a key; the old one goes on through the grace period. */
export async function rotateKey(id: string, options: { grace: string; json?: boolean }): Promise<void> {
  const graceMs = durationOrFail('--grace', options.grace)
  await withControl(async (control, config) => {
    const made = orFail(await control.rotateKey(id, graceMs))
    const when = await announceToServers(config, id)
    printNewKey(made, options.json)
    if (options.json) return
    const after = graceMs === 0 ? '' : `goes on for ${options.grace}, and then `
    process.stdout.write(`Key ${id} ${after}ends; running servers know of it ${when}.\n`)
  })
}

/** Ends a key. */
export async function revokeKey(id: string, options: { json?: boolean }): Promise<void> {
  await withControl(async (control, config) => {
    const record = orFail(await control.revokeKey(id))
    const when = await announceToServers(config, id)
    if (options.json) return printJson(toJson(record))
    process.stdout.write(`Key ${id} is revoked; running servers refuse it ${when}.\n`)
  })
}

function printNewKey(made: NewKey, json: boolean | undefined): void {
  if (json) return printJson({ key: made.key, ...toJson(made.record) })
  printTable([
    ['key', made.key],
    ['id', made.record.id],
    ['workspace', `${made.record.tenantId}/${made.record.workspaceId}`],
    ['scopes', made.record.scopes.join(',')],
    ['tier', made.record.tier],
    ['expires', made.record.expiresAt ?? 'never'],
    ['signing', made.record.signing],
    ['limits', limitsOf(made.record)],
    ['origins', originsOf(made.record)],
  ])
  process.stdout.write('\nKeep it: it is not shown again.\n')
}

function toJson(record: KeyRecord) {
  return {
    id: record.id,
    tenant_id: record.tenantId,
    workspace_id: record.workspaceId,
    kind: record.kind,
    prefix: record.prefix,
    scopes: record.scopes,
    tier: record.tier,
    state: keyState(record),
    created_at: record.createdAt,
    expires_at: record.expiresAt,
    revoked_at: record.revokedAt,
    replaced_by: record.replacedBy,
    last_used_at: record.lastUsedAt,
    batch_events_max: record.batchEventsMax ?? null,
    body_bytes_max: record.bodyBytesMax ?? null,
    allowed_origins: record.allowedOrigins ?? null,
    signing: record.signing,
  }
}

function toCells(record: KeyRecord): readonly string[] {
  return [
    record.id,
    `${record.prefix}…`,
    `${record.tenantId}/${record.workspaceId}`,
    record.kind,
    record.scopes.join(','),
    record.tier,
    keyState(record),
    record.expiresAt ?? 'never',
    record.lastUsedAt ?? 'never',
    record.signing,
    limitsOf(record),
    originsOf(record),
  ]
}

function limitsOf({ batchEventsMax, bodyBytesMax }: KeyRecord): string {
  const events = batchEventsMax === undefined ? [] : [`${batchEventsMax} events`]
  const bytes = bodyBytesMax === undefined ? [] : [formatBytes(bodyBytesMax)]
  return [...events, ...bytes].join(', ') || 'as configured'
}

function originsOf({ allowedOrigins }: KeyRecord): string {
  return allowedOrigins?.join(', ') ?? 'all'
}

function parseKind(text: string): KeyKind {
  if (text === 'public' || text === 'secret') return text
  throw new CommandFailure(`--kind is ${JSON.stringify(text)}, but wants public or secret`)
}

function durationOrFail(option: string, text: string): number {
  const durationMs = parseDuration(text)
  if (durationMs === undefined)
    throw new CommandFailure(`${option} is ${JSON.stringify(text)}, but wants ${DURATION_FORM}`)
  return durationMs
}
