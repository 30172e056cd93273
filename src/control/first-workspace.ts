/**
 * The workspace of a first start, so that a newcomer can send an event without setting anything up.
 *
 * Its keys are shown at every start, so they are kept: in DATA_DIR/first-key.json (mode 0600, beside the secrets key, in the form that
 * `provision --json` prints). Whoever can read it can read the whole data directory. Deleting the file, or revoking its public
 * key, ends that; the workspace stays.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { isProblem, type Problem } from '../problem.ts'
import type { ControlDatabase, Provisioned } from './control-database.ts'
import { keyState } from './key-record.ts'
import { hashKey } from './keys.ts'
import { createPrivateFile, readIfThere } from './private-file.ts'
import type { NewSigningSecret } from './workspace-secrets.ts'

const FIRST = { tenant: 'default', workspace: 'default', tier: 'unlimited' } as const

/** The form in which programs read a new workspace. */
export interface ProvisionedJson {
  readonly tenant_id: string
  readonly workspace_id: string
  readonly public_key: string
  readonly secret_key: string
  readonly signing_secret: string
}

/** The file that holds the first workspace's keys. */
export function firstKeyPath(dataDir: string): string {
  return join(dataDir, 'first-key.json')
}

/**
 * When there is no workspace at all, makes tenant `default`, workspace `default` (without a rate limit: it is the operator's own).
 * Returns its keys, at later starts too while the file is there and its public key is good; otherwise undefined.
 * A collector that shares the database with others has the file only when it made the workspace. A problem when the key of the
 * signing secrets cannot be used. Throws when the database or the data directory fails.
 */
export async function firstWorkspace(
  control: ControlDatabase,
  dataDir: string,
): Promise<Provisioned | undefined | Problem> {
  const path = firstKeyPath(dataDir)
  if ((await control.listWorkspaces()).length > 0) return stillGood(control, readIfThere(path))
  const made = await control.provision(FIRST)
  if (isProblem(made)) {
    // Another process was first.
    if ((await control.listWorkspaces()).length > 0) return stillGood(control, readIfThere(path))
    return made
  }
  writeFirst(path, made)
  return made
}

/** Keeps the file true when the workspace in it has a new signing secret. */
export function keepNewSecret(dataDir: string, { tenantId, workspaceId, signingSecret }: NewSigningSecret): void {
  const path = firstKeyPath(dataDir)
  const text = readIfThere(path)
  const kept = text === undefined ? undefined : parse(text)
  if (kept === undefined || kept.tenantId !== tenantId || kept.workspaceId !== workspaceId) return
  writeFirst(path, { ...kept, signingSecret })
}

function writeFirst(path: string, made: Provisioned): void {
  rmSync(path, { force: true }) // as it was, or of a control database that is gone
  createPrivateFile(path, `${JSON.stringify(toProvisionedJson(made), undefined, 2)}\n`)
}

/** Names as programs read them. */
export function toProvisionedJson(made: Provisioned): ProvisionedJson {
  return {
    tenant_id: made.tenantId,
    workspace_id: made.workspaceId,
    public_key: made.publicKey,
    secret_key: made.secretKey,
    signing_secret: made.signingSecret,
  }
}

async function stillGood(control: ControlDatabase, text: string | undefined): Promise<Provisioned | undefined> {
  const kept = text === undefined ? undefined : parse(text)
  if (kept === undefined) return undefined
  const record = await control.findKeyByHash(hashKey(kept.publicKey))
  return record !== undefined && keyState(record) === 'active' ? kept : undefined
}

/** A file that somebody changed is as good as none. */
function parse(text: string): Provisioned | undefined {
  let kept: Partial<Record<keyof ProvisionedJson, unknown>> | null
  try {
    kept = JSON.parse(text)
  } catch {
    return undefined
  }
  const { tenant_id, workspace_id, public_key, secret_key, signing_secret } = kept ?? {}
  if (typeof tenant_id !== 'string' || typeof workspace_id !== 'string' || typeof public_key !== 'string')
    return undefined
  if (typeof secret_key !== 'string' || typeof signing_secret !== 'string') return undefined
  return {
    tenantId: tenant_id,
    workspaceId: workspace_id,
    publicKey: public_key,
    secretKey: secret_key,
    signingSecret: signing_secret,
  }
}
