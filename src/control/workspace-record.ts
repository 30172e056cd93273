/** A workspace as the control database keeps it: its names, its row's reading, and what goes into a new one. */
import type { Selectable } from 'kysely'
import { isProblem, type Problem, problem } from '../problem.ts'
import { checkName, parseEventTypes } from './grants.ts'
import type { ControlTables } from './schema.ts'

/** A workspace by its names. */
export interface WorkspaceName {
  readonly tenant: string
  readonly workspace: string
}

/** What a new workspace may be given, as its owner wrote it; checked when it is made. */
export interface WorkspaceRequest extends WorkspaceName {
  /** Of both keys. */
  readonly tier?: string | undefined
  /** A comma-separated list, `default` or `any`. */
  readonly eventTypes?: string | undefined
}

/** A workspace as stored, without its signing secret. */
export interface WorkspaceRecord extends WorkspaceName {
  /** ISO 8601 in UTC. */
  readonly createdAt: string
  /** Event types of its own for `POST /events`; undefined: the contract's list; empty: any. */
  readonly eventTypes: readonly string[] | undefined
}

/** Reads a row. */
export function toWorkspaceRecord(
  row: Omit<Selectable<ControlTables['workspaces']>, 'signing_secret'>,
): WorkspaceRecord {
  return {
    tenant: row.tenant_id,
    workspace: row.id,
    createdAt: row.created_at,
    eventTypes: readEventTypes(row.event_types),
  }
}

/** What is wrong with the names. */
export function checkWorkspaceName({ tenant, workspace }: WorkspaceName): Problem<'invalid_name'> | undefined {
  return checkName('tenant', tenant) ?? checkName('workspace', workspace)
}

/** Reads the column `event_types`. */
export function readEventTypes(stored: string | null): readonly string[] | undefined {
  if (stored === null) return undefined
  return stored === '' ? [] : stored.split(',')
}

/** What goes into the column `event_types`, checked. */
export function prepareEventTypes(given: string): string | null | Problem<'invalid_event_types'> {
  const eventTypes = parseEventTypes(given)
  if (isProblem(eventTypes)) return eventTypes
  return eventTypes?.join(',') ?? null
}

export function noSuchWorkspace({ tenant, workspace }: WorkspaceName): Problem<'no_such_workspace'> {
  return problem('no_such_workspace', `tenant ${tenant} has no workspace ${workspace}`)
}

/** Both names as one text, by which a secret is bound to its workspace. */
export function ownerOf({ tenant, workspace }: WorkspaceName): string {
  return `${tenant}/${workspace}` // names hold no slash
}
