/**
 * The tables, and what an erasure does with each. Every table of the database is in one of the four lists: a test sees to it.
 *
 * The conditions and deletions are made here alone; by which names the tables are reached in them, `layout.ts` says.
 */
import type { Layout } from './layout.ts'

/** Tables whose rows are about one person: the rows go. */
export const PERSONAL_TABLES = ['session_states', 'events', 'user_traits'] as const
export type PersonalTable = (typeof PERSONAL_TABLES)[number]

/** Counts of many people, and the columns in which a text of a client stands as it came: a text may name somebody. */
export const AGGREGATES: Readonly<Record<string, string>> = {
  events_per_minute: 'type',
  events_per_hour: 'type',
  events_per_day: 'type',
  pages_per_day: 'path',
  referrers_per_day: 'referrer_host',
}

/** Counts of many people without any text of a client but the workspace: nothing in them names anybody. */
export const NAMELESS_AGGREGATES = ['activity_per_day'] as const

/** Tables of Penstock's own, without anything of clients. */
export const INTERNAL_TABLES = ['schema_migrations', 'schema_migration_claims'] as const

/** The session of an event as the table of sessions has it: cut. Users and devices are cut there, too. */
export const EVENT_SESSION = 'leftUTF8(session_id, 256)'

/** Ids of a run by what they are; see `person.ts`. */
export type IdKind = 'user' | 'given' | 'candidate' | 'device' | 'nameless' | 'touched' | 'mixed' | 'word' | 'text'

/** Conditions of one run: of a workspace, and with the ids that are in its table. */
export class Conditions {
  readonly workspace: string
  readonly #ids: string

  constructor(options: { tenantId: string; workspaceId: string; idsTable: string }) {
    this.workspace = `tenant_id = ${quote(options.tenantId)} AND workspace_id = ${quote(options.workspaceId)}`
    this.#ids = options.idsTable
  }

  /** The ids of a kind, as a set for IN. Ids are never in the text of a statement, because mutations and logs keep that. */
  set(kind: IdKind, scope = ''): string {
    return `(SELECT id FROM ${this.#ids} WHERE kind = '${kind}' AND scope = '${scope}')`
  }

  /** The same, cut as in the table of sessions. */
  cutSet(kind: IdKind): string {
    return `(SELECT leftUTF8(id, 256) FROM ${this.set(kind)})`
  }

  /** Events of the person. */
  get ownEvents(): string {
    return `(user_id IN ${this.set('user')}
      OR user_id = '' AND anonymous_id IN ${this.set('device')}
      OR user_id = '' AND anonymous_id = '' AND ${EVENT_SESSION} IN ${this.set('nameless')})`
  }

  /** Rows of a table that have to go. Of sessions also those that are shared: they are made again from the events of the others. */
  rowsOf(table: PersonalTable): string {
    switch (table) {
      case 'events':
        return `${this.workspace} AND ${this.ownEvents}`
      case 'user_traits':
        return `${this.workspace} AND user_id IN ${this.set('user')}`
      case 'session_states':
        return `${this.workspace} AND session_id IN ${this.set('touched')}`
    }
  }

  /** Rows of an aggregate whose text names the person. */
  namingRowsOf(table: string): string {
    return `${this.workspace} AND ${AGGREGATES[table]} IN ${this.set('text', table)}`
  }
}

/**
 * The statement that deletes rows, as a mutation: the rows are written out of every part, unlike by a lightweight DELETE, which hides them.
 * In partitions that are named only, so that the others are not read.
 */
export function deletion(layout: Layout, table: string, condition: string, partitions: readonly string[]): string {
  const where = `WHERE ${condition}`
  const commands = partitions.map((id) => `DELETE IN PARTITION ID ${quote(id)} ${where}`)
  return `ALTER TABLE ${layout.target(table)} ${commands.join(', ') || `DELETE ${where}`}`
}

/** A text as a literal. */
export function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
