/** `penstock provision`: a new workspace and its keys. */
import type { Provisioned } from '../control/control-database.ts'
import { toProvisionedJson } from '../control/first-workspace.ts'
import { orFail, printJson, printTable, withControl } from './session.ts'

/** Options as commander reads them. */
export interface ProvisionOptions {
  readonly tenant: string
  readonly workspace: string
  readonly tier?: string
  readonly eventTypes?: string
  readonly json?: boolean
}

/** Prints the keys and the signing secret: the only time they are shown. */
export async function provision(options: ProvisionOptions): Promise<void> {
  const made = orFail(await withControl((control) => control.provision(options)))
  if (options.json) return printJson(toProvisionedJson(made))
  printProvisioned(made)
}

/** What is told of a new workspace, once. */
export function printProvisioned(made: Provisioned): void {
  printTable([
    ['tenant', made.tenantId],
    ['workspace', made.workspaceId],
    ['public key', made.publicKey, 'for browsers: may only send events'],
    ['secret key', made.secretKey, 'for servers: may send and read events'],
    ['signing secret', made.signingSecret, 'for signed requests'],
  ])
  process.stdout.write('\nKeep them: they are not shown again.\n')
}
