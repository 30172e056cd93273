/** `penstock provision`: a new workspace and its keys. */
import { DEFAULT_GRANTS, eventsPerMinute, type Tier } from '../control/grants.ts'
import type { KeyKind } from '../control/keys.ts'
import type { Provisioned } from '../control/control-database.ts'
import { controlPath, hasControl } from '../control/control-place.ts'
import { toProvisionedJson } from '../control/first-workspace.ts'
import { httpAddress } from './banner.ts'
import { isServerRunning } from './checks.ts'
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
  if (isFirst && (await isServerRunning(config))) {
    const server = `the server at ${httpAddress(config.host, config.port)}`
    const wants = 'set DATA_DIR as it is set for the server'
    process.stderr.write(`warning: ${server} does not know it: ${controlPath(config.dataDir)} is new; ${wants}\n`)
  }
  if (options.json) return printJson(toProvisionedJson(made))
  printProvisioned(made, options.tier)
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
