/**
 * The tables of the control database as the repository sees them. Only types that SQLite and Postgres keep alike are used:
 * text, integers of 32 bits, and times as ISO 8601 text in UTC with milliseconds (drivers disagree on dates and on 64-bit integers).
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
  /** Event types of its own for `POST /events`, comma-separated; null: the contract's list; empty: any. */
  event_types: string | null
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
  /** Limits of its own; null: as configured. */
  batch_events_max: number | null
  body_bytes_max: number | null
  /** Comma-separated; null: all. */
  allowed_origins: string | null
  signing: string
}

/** Every table of the control database. */
export interface ControlTables {
  tenants: TenantTable
  workspaces: WorkspaceTable
  keys: KeyTable
}

/** In order; a migration that was released is never changed. */
export const CONTROL_MIGRATIONS: Readonly<Record<string, Migration>> = {
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
  '002_key_limits_origins_signing': {
    async up(database) {
      // One statement for each column: SQLite adds no more at a time.
      const keys = () => database.schema.alterTable('keys')
      await keys().addColumn('batch_events_max', 'integer').execute()
      await keys().addColumn('body_bytes_max', 'integer').execute()
      await keys().addColumn('allowed_origins', 'text').execute()
      await keys()
        .addColumn('signing', 'text', (column) =>
          column.notNull().defaultTo('off').check(sql`signing in ('off', 'optional', 'required')`),
        )
        .execute()
      await database.schema.alterTable('workspaces').addColumn('event_types', 'text').execute()
    },
  },
}

/** Whether the tables are as this version wants them. Changes nothing. Throws when the database fails. */
export async function isMigrated(database: Kysely<ControlTables>): Promise<boolean> {
  const known = await migrator(database).getMigrations()
  return known.every((migration) => migration.executedAt !== undefined)
}

/**
 * Brings the schema up to date; costs one look when it is already. Several processes may call it at once.
 * Throws when a migration fails: nothing that needs the control database can go on then.
 */
export async function migrateControl(database: Kysely<ControlTables>): Promise<void> {
  if (await isMigrated(database)) return
  const { error } = await migrator(database).migrateToLatest()
  if (error !== undefined) throw error
}

function migrator(database: Kysely<ControlTables>): Migrator {
  return new Migrator({ db: database, provider: { getMigrations: async () => CONTROL_MIGRATIONS } })
}
