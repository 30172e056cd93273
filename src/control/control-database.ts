/** Tenants, their workspaces and keys. Standard SQL through Kysely; what is particular to a database is in its dialect. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Kysely, type Transaction } from 'kysely'
import { isProblem, type Problem, problem, reasonOf } from '../problem.ts'
import { checkName } from './grants.ts'
import {
  type FoundKey,
  identity,
  type KeyRecord,
  type KeyRequest,
  type KeyRequestProblem,
  keyState,
  type NewKey,
  prepareKey,
  toRecord,
  type WorkspaceName,
} from './key-record.ts'
import { generateKey, generateSigningSecret } from './keys.ts'
import { readIfThere } from './private-file.ts'
import { type ControlTables, migrateControl } from './schema.ts'
import { createSecretBox, readOrCreateSecretsKey, type SecretBox } from './signing-secrets.ts'
import { openSqlite } from './sqlite.ts'

/** Where the control data lies. */
export interface ControlOptions {
  readonly dataDir: string
  /** 64 hexadecimal digits; without it the key is in DATA_DIR/secret.key. */
  readonly signingSecretsKey?: string
  /** Milliseconds to wait for another process that is writing; this thread stands still meanwhile. Default 5000. */
  readonly busyTimeoutMs?: number
}

/** What a new workspace's owner needs; the keys and the secret cannot be shown again. */
export interface Provisioned {
  readonly tenantId: string
  readonly workspaceId: string
  readonly publicKey: string
  readonly secretKey: string
  readonly signingSecret: string
}

/**
 * Opens the control database and brings its tables up to date. A problem when the directory or the file cannot be used.
 */
export async function openControl(options: ControlOptions): Promise<ControlDatabase | Problem<'control_unavailable'>> {
  const path = join(options.dataDir, 'control.sqlite')
  let database: Kysely<ControlTables> | undefined
  try {
    mkdirSync(options.dataDir, { recursive: true })
    database = new Kysely<ControlTables>({ dialect: openSqlite(path, options.busyTimeoutMs ?? 5000) })
    await migrateControl(database)
    return new ControlDatabase(database, options)
  } catch (error) {
    await database?.destroy()
    return problem('control_unavailable', `cannot use the control database ${path}: ${reasonOf(error)}`)
  }
}

/** The operations on tenants, workspaces and keys. They throw only when the database fails. */
export class ControlDatabase {
  readonly #database: Kysely<ControlTables>
  readonly #options: ControlOptions

  /** Use openControl. */
  constructor(database: Kysely<ControlTables>, options: ControlOptions) {
    this.#database = database
    this.#options = options
  }

  /** Makes a workspace, its tenant when that is new, a public and a secret key: all or nothing. */
  async provision(
    request: WorkspaceName & { readonly tier?: string | undefined },
  ): Promise<Provisioned | Problem<'invalid_name' | KeyRequestProblem | 'workspace_taken' | 'secrets_key_missing'>> {
    const { tenant, workspace } = request
    const wrongName = checkName('tenant', tenant) ?? checkName('workspace', workspace)
    if (wrongName !== undefined) return wrongName
    const publicKey = prepareKey({ ...request, kind: 'public' })
    if (isProblem(publicKey)) return publicKey
    const secretKey = prepareKey({ ...request, kind: 'secret' })
    if (isProblem(secretKey)) return secretKey
    return this.#database.transaction().execute(async (transaction) => {
      const box = await this.#secretBox(transaction)
      if (isProblem(box)) return box
      const signingSecret = generateSigningSecret()
      const created_at = new Date().toISOString()
      await transaction
        .insertInto('tenants')
        .values({ id: tenant, created_at })
        .onConflict((conflict) => conflict.doNothing())
        .execute()
      const made = await transaction
        .insertInto('workspaces')
        .values({
          tenant_id: tenant,
          id: workspace,
          signing_secret: box.encrypt(signingSecret, owner(request)),
          created_at,
        })
        .onConflict((conflict) => conflict.doNothing())
        .returning('id')
        .executeTakeFirst()
      if (made === undefined) {
        return problem('workspace_taken', `tenant ${tenant} already has a workspace ${workspace}: choose another name`)
      }
      await transaction.insertInto('keys').values([publicKey.row, secretKey.row]).execute()
      return {
        tenantId: tenant,
        workspaceId: workspace,
        publicKey: publicKey.key,
        secretKey: secretKey.key,
        signingSecret,
      }
    })
  }

  /** Makes one more key for a workspace. */
  async createKey(request: KeyRequest): Promise<NewKey | Problem<'no_such_workspace' | KeyRequestProblem>> {
    const prepared = prepareKey(request)
    if (isProblem(prepared)) return prepared
    const found = await this.#database
      .selectFrom('workspaces')
      .select('id')
      .where('tenant_id', '=', request.tenant)
      .where('id', '=', request.workspace)
      .executeTakeFirst()
    if (found === undefined) {
      return problem('no_such_workspace', `tenant ${request.tenant} has no workspace ${request.workspace}`)
    }
    await this.#database.insertInto('keys').values(prepared.row).execute()
    return { key: prepared.key, record: toRecord(prepared.row) }
  }

  /** The keys of a workspace, a tenant or all of them, oldest first; revoked and expired ones too. */
  async listKeys(filter: Partial<WorkspaceName> = {}): Promise<readonly KeyRecord[]> {
    let query = this.#database.selectFrom('keys').selectAll()
    if (filter.tenant !== undefined) query = query.where('tenant_id', '=', filter.tenant)
    if (filter.workspace !== undefined) query = query.where('workspace_id', '=', filter.workspace)
    const rows = await query.orderBy('created_at').orderBy('id').execute()
    return rows.map(toRecord)
  }

  /** Puts a new key with the same rights in the place of one that keeps working for `graceMs` milliseconds more. */
  async rotateKey(id: string, graceMs: number): Promise<NewKey | Problem<'no_such_key' | 'key_not_active'>> {
    return this.#database.transaction().execute(async (transaction) => {
      const old = await transaction.selectFrom('keys').selectAll().where('id', '=', id).executeTakeFirst()
      if (old === undefined) return noSuchKey(id)
      const state = keyState(toRecord(old))
      if (state !== 'active') return problem('key_not_active', `key ${id} is ${state}: create a new one`)
      const key = generateKey(toRecord(old).kind)
      const row = { ...old, ...identity(key), created_at: new Date().toISOString(), last_used_at: null }
      const graceEnd = new Date(Date.now() + graceMs).toISOString()
      const replaced = await transaction
        .updateTable('keys')
        .set({
          replaced_by: row.id,
          expires_at: old.expires_at !== null && old.expires_at < graceEnd ? old.expires_at : graceEnd,
        })
        .where('id', '=', id)
        .where('replaced_by', 'is', null)
        .where('revoked_at', 'is', null)
        .returning('id')
        .executeTakeFirst()
      if (replaced === undefined) {
        return problem(
          'key_not_active',
          `key ${id} was rotated already: its place has ${old.replaced_by ?? 'another key'}`,
        )
      }
      await transaction.insertInto('keys').values(row).execute()
      return { key, record: toRecord(row) }
    })
  }

  /** Ends a key now; caches follow within their lifetime. Revoking twice is no error and keeps the first time. */
  async revokeKey(id: string): Promise<KeyRecord | Problem<'no_such_key'>> {
    await this.#database
      .updateTable('keys')
      .set({ revoked_at: new Date().toISOString() })
      .where('id', '=', id)
      .where('revoked_at', 'is', null)
      .execute()
    const row = await this.#database.selectFrom('keys').selectAll().where('id', '=', id).executeTakeFirst()
    return row === undefined ? noSuchKey(id) : toRecord(row)
  }

  /** The key with this SHA-256 (hexadecimal), whatever its state, and what it needs of its workspace. */
  async findKeyByHash(hash: string): Promise<FoundKey | undefined> {
    const row = await this.#database
      .selectFrom('keys')
      .innerJoin('workspaces', (join) =>
        join.onRef('workspaces.tenant_id', '=', 'keys.tenant_id').onRef('workspaces.id', '=', 'keys.workspace_id'),
      )
      .selectAll('keys')
      .select(['workspaces.event_types', 'workspaces.signing_secret'])
      .where('keys.hash', '=', hash)
      .executeTakeFirst()
    if (row === undefined) return undefined
    const record = toRecord(row)
    const signingSecret =
      record.signing === 'off'
        ? undefined
        : await this.#decrypt(row.signing_secret, { tenant: row.tenant_id, workspace: row.workspace_id })
    return { ...record, eventTypes: readEventTypes(row.event_types), signingSecret }
  }

  /** Notes when keys were last used (by key id, milliseconds since 1970); an earlier time never replaces a later one. */
  async touchKeys(uses: ReadonlyMap<string, number>): Promise<void> {
    await this.#database.transaction().execute(async (transaction) => {
      for (const [id, usedAtMs] of uses) {
        const last_used_at = new Date(usedAtMs).toISOString()
        await transaction
          .updateTable('keys')
          .set({ last_used_at })
          .where('id', '=', id)
          .where((where) => where.or([where('last_used_at', 'is', null), where('last_used_at', '<', last_used_at)]))
          .execute()
      }
    })
  }

  /** The secret a workspace's producers sign with. */
  async signingSecret(
    name: WorkspaceName,
  ): Promise<string | Problem<'no_such_workspace' | 'secrets_key_missing' | 'wrong_secrets_key' | 'damaged_secret'>> {
    const row = await this.#database
      .selectFrom('workspaces')
      .select('signing_secret')
      .where('tenant_id', '=', name.tenant)
      .where('id', '=', name.workspace)
      .executeTakeFirst()
    if (row === undefined)
      return problem('no_such_workspace', `tenant ${name.tenant} has no workspace ${name.workspace}`)
    return this.#decrypt(row.signing_secret, name)
  }

  /** The names of all workspaces, oldest first. */
  async listWorkspaces(): Promise<readonly WorkspaceName[]> {
    const rows = await this.#database
      .selectFrom('workspaces')
      .select(['tenant_id', 'id'])
      .orderBy('created_at')
      .orderBy('tenant_id')
      .orderBy('id')
      .execute()
    return rows.map((row) => ({ tenant: row.tenant_id, workspace: row.id }))
  }

  /** Ends the use of the database; operations fail from now on. */
  async close(): Promise<void> {
    await this.#database.destroy()
  }

  async #decrypt(
    stored: string,
    name: WorkspaceName,
  ): Promise<string | Problem<'secrets_key_missing' | 'wrong_secrets_key' | 'damaged_secret'>> {
    const box = await this.#secretBox(this.#database)
    return isProblem(box) ? box : box.decrypt(stored, owner(name))
  }

  /** A new secrets key is made only while nothing was encrypted yet: later it would hide that the real one is lost. */
  async #secretBox(
    database: Kysely<ControlTables> | Transaction<ControlTables>,
  ): Promise<SecretBox | Problem<'secrets_key_missing'>> {
    if (this.#options.signingSecretsKey !== undefined) return createSecretBox(this.#options.signingSecretsKey)
    const path = join(this.#options.dataDir, 'secret.key')
    const used = await database.selectFrom('workspaces').select('id').limit(1).executeTakeFirst()
    if (used !== undefined && readIfThere(path) === undefined) {
      return problem(
        'secrets_key_missing',
        `${path} is missing: restore it, or set SIGNING_SECRETS_KEY as it was before`,
      )
    }
    return createSecretBox(readOrCreateSecretsKey(path))
  }
}

function noSuchKey(id: string): Problem<'no_such_key'> {
  return problem('no_such_key', `there is no key ${JSON.stringify(id)}: \`keys list\` shows the ids`)
}

function readEventTypes(stored: string | null): readonly string[] | undefined {
  if (stored === null) return undefined
  return stored === '' ? [] : stored.split(',')
}

function owner(name: WorkspaceName): string {
  return `${name.tenant}/${name.workspace}` // names hold no slash
}
