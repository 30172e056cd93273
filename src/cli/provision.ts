/** `penstock provision`: a new workspace and its keys. */
import { resolve } from 'node:path'
import { DEFAULT_GRANTS, eventsPerMinute, type Tier } from '../control/grants.ts'
import type { KeyKind } from '../control/keys.ts'
import type { Provisioned } from '../control/control-database.ts'
import { controlPath, hasControl } from '../control/control-place.ts'
import { toProvisionedJson } from '../control/first-workspace.ts'
import { configOrFail, orFail, printJson, printTable, withControl } from './session.ts'

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
  const config = configOrFail()
  const isFirst = !hasControl(config)
  const made = orFail(await withControl((control) => control.provision(options), true))
  if (options.json) return printJson(toProvisionedJson(made))
  printProvisioned(made, options.tier)
  if (!isFirst) return
  const place = resolve(controlPath(config.dataDir))
  process.stdout.write(
    `They are in a new control database, ${place}: a server with another DATA_DIR does not know them.\n`,
  )
}

/** What is told of a new workspace, once. */
export function printProvisioned(made: Provisioned, tier?: string): void {
  printTable([
    ['tenant', made.tenantId],
    ['workspace', made.workspaceId],
    ['public key', made.publicKey, `for browsers: may only send events, ${rate('public', tier)}`],
    ['secret key', made.secretKey, `for servers: may send events, ${rate('secret', tier)}, and read them`],
    ['signing secret', made.signingSecret, 'for signed requests'],
  ])
  process.stdout.write('\nKeep them: they are not shown again.\n')
}

/** @param tier as it was given and accepted */
function rate(kind: KeyKind, tier: string = DEFAULT_GRANTS[kind].tier): string {
  const events = eventsPerMinute(tier as Tier)
  return Number.isFinite(events) ? `${events.toLocaleString('en')} a minute (--tier)` : 'without limit'
}
