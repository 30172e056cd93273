/**
 * The tables of the control database as the repository sees them. Only types that SQLite and Postgres keep alike are used:
 * text, and times as ISO 8601 text in UTC with milliseconds (drivers disagree on dates and on 64-bit integers).
 */
import { type Kysely, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'

interface TenantTable {
  id: string
  created_at: string
}

interface WorkspaceTable {
  tenant_id: string
  /** The name; unique inside the tenant. */
  id: string
  /** Encrypted; see signing-secrets.ts. */
  signing_secret: string
  created_at: string
}

interface KeyTable {
  id: string
  tenant_id: string
  workspace_id: string
  kind: string
  /** SHA-256 of the key, hexadecimal. */
  hash: string
  /** The first characters of the key, to recognize it by. */
  prefix: string
  /** Comma-separated. */
  scopes: string
  tier: string
  created_at: string
  expires_at: string | null
  revoked_at: string | null
  /** Id of the key that a rotation put in its place. */
  replaced_by: string | null
  last_used_at: string | null
}

/** Every table of the control database. */
export interface ControlTables {
  tenants: TenantTable
  workspaces: WorkspaceTable
  keys: KeyTable
}

/** In order; a migration that was released is never changed. */
const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '001_tenants_workspaces_keys': {
    async up(database) {
      await database.schema
        .createTable('tenants')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('created_at', 'text', (column) => column.notNull())
        .execute()
      await database.schema
        .createTable('workspaces')
        .addColumn('tenant_id', 'text', (column) => column.notNull().references('tenants.id'))
        .addColumn('id', 'text', (column) => column.notNull())
        .addColumn('signing_secret', 'text', (column) => column.notNull())
        .addColumn('created_at', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('workspaces_primary_key', ['tenant_id', 'id'])
        .execute()
      await database.schema
        .createTable('keys')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('tenant_id', 'text', (column) => column.notNull())
        .addColumn('workspace_id', 'text', (column) => column.notNull())
        .addColumn('kind', 'text', (column) => column.notNull().check(sql`kind in ('public', 'secret')`))
        .addColumn('hash', 'text', (column) => column.notNull().unique())
        .addColumn('prefix', 'text', (column) => column.notNull())
        .addColumn('scopes', 'text', (column) => column.notNull())
        .addColumn('tier', 'text', (column) => column.notNull())
        .addColumn('created_at', 'text', (column) => column.notNull())
        .addColumn('expires_at', 'text')
        .addColumn('revoked_at', 'text')
        .addColumn('replaced_by', 'text')
        .addColumn('last_used_at', 'text')
        .addForeignKeyConstraint('keys_workspace', ['tenant_id', 'workspace_id'], 'workspaces', ['tenant_id', 'id'])
        .execute()
      await database.schema.createIndex('keys_by_workspace').on('keys').columns(['tenant_id', 'workspace_id']).execute()
    },
  },
}

/**
 * Brings the schema up to date; costs one look when it is already. Several processes may call it at once.
 * Throws when a migration fails: nothing that needs the control database can go on then.
 */
export async function migrateControl(database: Kysely<ControlTables>): Promise<void> {
  const migrator = new Migrator({ db: database, provider: { getMigrations: async () => MIGRATIONS } })
  const known = await migrator.getMigrations()
  if (known.every((migration) => migration.executedAt !== undefined)) return
  const { error } = await migrator.migrateToLatest()
  if (error !== undefined) throw error
}
