/** The secrets that workspaces' producers sign with, in the table of workspaces, encrypted: see signing-secrets.ts. */
import type { Kysely, Transaction } from 'kysely'
import { isProblem, type Problem } from '../problem.ts'
import { generateSigningSecret } from './keys.ts'
import type { ControlTables } from './schema.ts'
import { openSecretBox, type SecretBox, type SecretsKeyOptions, type SecretsKeyProblem } from './signing-secrets.ts'
import { noSuchWorkspace, ownerOf, type WorkspaceName } from './workspace-record.ts'

/** Why a secret cannot be read. */
export type SecretProblem = SecretsKeyProblem | 'damaged_secret'

/** A workspace's new secret, which cannot be shown again. */
export interface NewSigningSecret {
  readonly tenantId: string
  readonly workspaceId: string
  readonly signingSecret: string
}

/** Reads and replaces them. Throws only when the database fails. */
export class WorkspaceSecrets {
  readonly #database: Kysely<ControlTables>
  readonly #key: SecretsKeyOptions

  constructor(database: Kysely<ControlTables>, key: SecretsKeyOptions) {
    this.#database = database
    this.#key = key
  }

  /** The secret of a workspace. */
  async read(name: WorkspaceName): Promise<string | Problem<'no_such_workspace' | SecretProblem>> {
    const row = await this.#database
      .selectFrom('workspaces')
      .select('signing_secret')
      .where('tenant_id', '=', name.tenant)
      .where('id', '=', name.workspace)
      .executeTakeFirst()
    return row === undefined ? noSuchWorkspace(name) : this.decrypt(row.signing_secret, name)
  }

  /** Puts a new secret in the place of a workspace's; what is signed with the old one is refused from then on. */
  async rotate(name: WorkspaceName): Promise<NewSigningSecret | Problem<'no_such_workspace' | SecretsKeyProblem>> {
    return this.#database.transaction().execute(async (transaction) => {
      const box = await this.box(transaction)
      if (isProblem(box)) return box
      return (await replace(transaction, box, name)) ?? noSuchWorkspace(name)
    })
  }

  /** The same for all workspaces, whatever key the old ones were encrypted with: it may be lost. */
  async rotateAll(): Promise<readonly NewSigningSecret[] | Problem<SecretsKeyProblem>> {
    const box = openSecretBox(this.#key, undefined)
    if (isProblem(box)) return box
    return this.#database.transaction().execute(async (transaction) => {
      const rows = await transaction
        .selectFrom('workspaces')
        .select(['tenant_id', 'id'])
        .orderBy('created_at')
        .execute()
      const made: NewSigningSecret[] = []
      for (const { tenant_id: tenant, id: workspace } of rows) {
        const replaced = await replace(transaction, box, { tenant, workspace })
        if (replaced !== undefined) made.push(replaced)
      }
      return made
    })
  }

  /** Why signed requests cannot be checked here: the key of the secrets is missing or another one. Undefined: all is well. */
  async problem(): Promise<Problem | undefined> {
    const first = await oldest(this.#database)
    if (first === undefined) return undefined
    const secret = this.decrypt(first.signing_secret, { tenant: first.tenant_id, workspace: first.id })
    return isProblem(secret) ? secret : undefined
  }

  decrypt(stored: string, name: WorkspaceName): string | Problem<SecretProblem> {
    const box = openSecretBox(this.#key, stored)
    return isProblem(box) ? box : box.decrypt(stored, ownerOf(name))
  }

  /** For a new secret: with the same key as those that are there. */
  async box(transaction: Transaction<ControlTables>): Promise<SecretBox | Problem<SecretsKeyProblem>> {
    return openSecretBox(this.#key, (await oldest(transaction))?.signing_secret)
  }
}

/** One workspace, whose secret tells the key of all. */
function oldest(database: Kysely<ControlTables>) {
  return database
    .selectFrom('workspaces')
    .select(['tenant_id', 'id', 'signing_secret'])
    .orderBy('created_at')
    .limit(1)
    .executeTakeFirst()
}

/** Undefined: there is no such workspace. */
async function replace(
  transaction: Transaction<ControlTables>,
  box: SecretBox,
  name: WorkspaceName,
): Promise<NewSigningSecret | undefined> {
  const signingSecret = generateSigningSecret()
  const replaced = await transaction
    .updateTable('workspaces')
    .set({ signing_secret: box.encrypt(signingSecret, ownerOf(name)) })
    .where('tenant_id', '=', name.tenant)
    .where('id', '=', name.workspace)
    .returning('id')
    .executeTakeFirst()
  return replaced && { tenantId: name.tenant, workspaceId: name.workspace, signingSecret }
}
