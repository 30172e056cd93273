/** `penstock workspaces`: list, update, rotate-signing-secret. */
import { keepNewSecret } from '../control/first-workspace.ts'
import type { WorkspaceRecord } from '../control/workspace-record.ts'
import type { NewSigningSecret } from '../control/workspace-secrets.ts'
import { announceToServers } from './announce.ts'
import { CommandFailure, orFail, printJson, printTable, withControl } from './session.ts'

/** Options as commander reads them. */
export interface UpdateOptions {
  readonly tenant: string
  readonly workspace: string
  readonly eventTypes: string
  readonly json?: boolean
}

/** Options as commander reads them. */
export interface RotateSecretOptions {
  readonly tenant?: string
  readonly workspace?: string
  readonly all?: boolean
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

/** Puts a new signing secret in the place of a workspace's, or of every workspace's when the key of the old ones is lost. */
export async function rotateSigningSecret(options: RotateSecretOptions): Promise<void> {
  const { tenant, workspace, all, json } = options
  const isOne = tenant !== undefined && workspace !== undefined
  if (isOne === (all === true) || (!isOne && (tenant ?? workspace) !== undefined))
    throw new CommandFailure('say whose secret: --tenant and --workspace, or --all')
  await withControl(async (control, config) => {
    const made = isOne
      ? [orFail(await control.secrets.rotate({ tenant, workspace }))]
      : orFail(await control.secrets.rotateAll())
    for (const replaced of made) keepNewSecret(config.dataDir, replaced)
    const when = await announceToServers(config)
    if (json) return printJson(made.map(secretToJson))
    printTable([
      ['workspace', 'signing secret'],
      ...made.map(({ tenantId, workspaceId, signingSecret }) => [`${tenantId}/${workspaceId}`, signingSecret]),
    ])
    process.stdout.write(`\nKeep it: it is not shown again. What is signed with the one before is refused ${when}.\n`)
  })
}

function secretToJson({ tenantId, workspaceId, signingSecret }: NewSigningSecret) {
  return { tenant_id: tenantId, workspace_id: workspaceId, signing_secret: signingSecret }
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
