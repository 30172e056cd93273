/** `penstock workspaces`: list, update. */
import type { WorkspaceRecord } from '../control/workspace-record.ts'
import { announceToServers } from './announce.ts'
import { orFail, printJson, printTable, withControl } from './session.ts'

/** Options as commander reads them. */
export interface UpdateOptions {
  readonly tenant: string
  readonly workspace: string
  readonly eventTypes: string
  readonly json?: boolean
}

/** Lists workspaces. */
export async function listWorkspaces(options: { readonly tenant?: string; readonly json?: boolean }): Promise<void> {
  const records = await withControl((control) => control.listWorkspaces(options))
  if (options.json) return printJson(records.map(toJson))
  if (records.length === 0) return void process.stdout.write('no workspaces\n')
  const cells = records.map((record) => [
    `${record.tenant}/${record.workspace}`,
    record.createdAt,
    eventTypesOf(record),
  ])
  printTable([['workspace', 'made', 'event types'], ...cells])
}

/** Changes what is given, the rest stays. */
export async function updateWorkspace(options: UpdateOptions): Promise<void> {
  await withControl(async (control, config) => {
    const record = orFail(await control.updateWorkspace(options))
    const when = await announceToServers(config)
    if (options.json) return printJson(toJson(record))
    const { tenant, workspace } = record
    process.stdout.write(`Workspace ${tenant}/${workspace} takes ${eventTypesOf(record)}; servers follow ${when}.\n`)
  })
}

function toJson(record: WorkspaceRecord) {
  return {
    tenant_id: record.tenant,
    workspace_id: record.workspace,
    created_at: record.createdAt,
    event_types: record.eventTypes ?? null,
  }
}

function eventTypesOf({ eventTypes }: WorkspaceRecord): string {
  if (eventTypes === undefined) return 'the usual event types'
  return eventTypes.length === 0 ? 'any event type' : eventTypes.join(', ')
}
