/** Tenants, their workspaces and keys. Standard SQL through Kysely; what is particular to a database is in its dialect. */
import { type Kysely, sql } from 'kysely'
import { isProblem, type Problem, problem } from '../problem.ts'
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
} from './key-record.ts'
import { generateKey, generateSigningSecret } from './keys.ts'
import type { ControlTables } from './schema.ts'
import type { SecretsKeyOptions, SecretsKeyProblem } from './signing-secrets.ts'
import {
  checkWorkspaceName,
  noSuchWorkspace,
  ownerOf,
  prepareEventTypes,
  readEventTypes,
  toWorkspaceRecord,
  type WorkspaceName,
  type WorkspaceRecord,
  type WorkspaceRequest,
} from './workspace-record.ts'
import { type SecretProblem, WorkspaceSecrets } from './workspace-secrets.ts'

/** What a new workspace's owner needs; the keys and the secret cannot be shown again. */
export interface Provisioned {
  readonly tenantId: string
  readonly workspaceId: string
  readonly publicKey: string
  readonly secretKey: string
  readonly signingSecret: string
}

/** Last uses that one statement writes: two parameters each, of which SQLite takes 32,766. */
const USES_PER_STATEMENT = 1000

/** The operations on tenants, workspaces and keys. They throw only when the database fails. */
export class ControlDatabase {
  /** What requests of each workspace are signed with. */
  readonly secrets: WorkspaceSecrets
  readonly #database: Kysely<ControlTables>

  /** Use openControl (open-control.ts). */
  constructor(database: Kysely<ControlTables>, secretsKey: SecretsKeyOptions) {
    this.#database = database
    this.secrets = new WorkspaceSecrets(database, secretsKey)
  }

  /** Makes a workspace, its tenant when that is new, a public and a secret key: all or nothing. */
  async provision(
    request: WorkspaceRequest,
  ): Promise<
    | Provisioned
    | Problem<'invalid_name' | 'invalid_event_types' | KeyRequestProblem | 'workspace_taken' | SecretsKeyProblem>
  > {
    const { tenant, workspace } = request
    const wrongName = checkWorkspaceName(request)
    if (wrongName !== undefined) return wrongName
    const event_types = prepareEventTypes(request.eventTypes ?? 'default')
    if (isProblem(event_types)) return event_types
    const { tier } = request
    const publicKey = prepareKey({ tenant, workspace, tier, kind: 'public' })
    if (isProblem(publicKey)) return publicKey
    const secretKey = prepareKey({ tenant, workspace, tier, kind: 'secret' })
    if (isProblem(secretKey)) return secretKey
    return this.#database.transaction().execute(async (transaction) => {
      const box = await this.secrets.box(transaction)
      if (isProblem(box)) return box
      const signingSecret = generateSigningSecret()
      const created_at = new Date().toISOString()
      await transaction
        .insertInto('tenants')
        .values({ id: tenant, created_at })
        .onConflict((conflict) => conflict.doNothing())
        .execute()
      const signing_secret = box.encrypt(signingSecret, ownerOf(request))
      const made = await transaction
        .insertInto('workspaces')
        .values({ tenant_id: tenant, id: workspace, signing_secret, created_at, event_types })
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

  /** Changes a workspace; its running servers follow when they look up its keys again. */
  async updateWorkspace(
    request: WorkspaceName & { readonly eventTypes: string },
  ): Promise<WorkspaceRecord | Problem<'no_such_workspace' | 'invalid_event_types'>> {
    const event_types = prepareEventTypes(request.eventTypes)
    if (isProblem(event_types)) return event_types
    const row = await this.#database
      .updateTable('workspaces')
      .set({ event_types })
      .where('tenant_id', '=', request.tenant)
      .where('id', '=', request.workspace)
      .returning(['tenant_id', 'id', 'created_at', 'event_types'])
      .executeTakeFirst()
    return row === undefined ? noSuchWorkspace(request) : toWorkspaceRecord(row)
  }

  /** All workspaces, or those of a tenant, oldest first. */
  async listWorkspaces(filter: { readonly tenant?: string } = {}): Promise<readonly WorkspaceRecord[]> {
    let query = this.#database.selectFrom('workspaces').select(['tenant_id', 'id', 'created_at', 'event_types'])
    if (filter.tenant !== undefined) query = query.where('tenant_id', '=', filter.tenant)
    const rows = await query.orderBy('created_at').orderBy('tenant_id').orderBy('id').execute()
    return rows.map(toWorkspaceRecord)
  }

  /** Makes one more key for a workspace. */
  async createKey(
    request: KeyRequest,
  ): Promise<NewKey | Problem<'no_such_workspace' | KeyRequestProblem | SecretProblem>> {
    const prepared = prepareKey(request)
    if (isProblem(prepared)) return prepared
    const secret = await this.secrets.read(request)
    // A key that does not sign needs the workspace only.
    if (isProblem(secret) && (prepared.row.signing !== 'off' || secret.problem === 'no_such_workspace')) return secret
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
    const name = { tenant: row.tenant_id, workspace: row.workspace_id }
    const signingSecret = record.signing === 'off' ? undefined : this.secrets.decrypt(row.signing_secret, name)
    return { ...record, eventTypes: readEventTypes(row.event_types), signingSecret }
  }

  /** Notes when keys were last used (by key id, milliseconds since 1970); an earlier time never replaces a later one. */
  async touchKeys(uses: ReadonlyMap<string, number>): Promise<void> {
    const rows = [...uses].map(([id, usedAtMs]) => sql`(${id}, ${new Date(usedAtMs).toISOString()})`)
    await this.#database.transaction().execute(async (transaction) => {
      for (let first = 0; first < rows.length; first += USES_PER_STATEMENT) {
        const values = sql.join(rows.slice(first, first + USES_PER_STATEMENT))
        // Both databases name the columns of VALUES so.
        await sql`
          update keys set last_used_at = used.column2 from (values ${values}) as used
          where keys.id = used.column1 and (keys.last_used_at is null or keys.last_used_at < used.column2)
        `.execute(transaction)
      }
    })
  }

  /** Ends the use of the database; operations fail from now on. */
  async close(): Promise<void> {
    await this.#database.destroy()
  }
}

function noSuchKey(id: string): Problem<'no_such_key'> {
  return problem('no_such_key', `there is no key ${JSON.stringify(id)}: \`keys list\` shows the ids`)
}
