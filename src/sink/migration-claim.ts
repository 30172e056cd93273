/**
 * Which of several collectors applies a migration. ClickHouse has no transactions and no locks, but it has one atomic
 * decision: of several inserts with the same deduplication token exactly one is stored. So a claim is a row:
 *
 *   1. To claim attempt n of migration v, insert (v, n, holder) with the token `claim/v/n`, then read who is stored for (v, n).
 *      It is ours or somebody else's; there is never a second one.
 *   2. The holder inserts a sign of life every `HEARTBEAT_INTERVAL_MS`, with its own token. Before every statement it checks
 *      that there is no attempt n + 1.
 *   3. The others wait until the migration is applied. A claim whose holder gave up (`released`) or gave no sign of life
 *      for `CLAIM_LIFETIME_MS`, by the clock of the server, is followed by attempt n + 1, claimed as in step 1.
 *
 * A holder that was only slow may still have one statement under way when its claim is taken over. The statements are
 * idempotent and carry a deduplication token per migration and statement, so running one twice does no harm.
 */
import type { ClickHouseClient } from '@clickhouse/client'

/** Default time between two signs of life, in milliseconds. */
export const HEARTBEAT_INTERVAL_MS = 3_000
/** Default time without a sign of life after which a claim may be taken over, in milliseconds. */
export const CLAIM_LIFETIME_MS = 30_000

/** Made beside `schema_migrations`; a few rows per migration, kept as a record of who did what. */
export const CREATE_CLAIMS_TABLE = `
CREATE TABLE IF NOT EXISTS schema_migration_claims
(
    version  UInt32                 COMMENT 'Migration',
    attempt  UInt32                 COMMENT '1, or more when earlier holders gave up or vanished',
    holder   String                 COMMENT 'The process that applies it',
    kind     LowCardinality(String) COMMENT 'claimed, alive or released',
    noted_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'By the clock of the server'
)
ENGINE = MergeTree
ORDER BY (version, attempt, noted_at)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Which process applies which migration; see schema_migrations for the result'`

/** The newest claim of a migration. */
export interface Claim {
  readonly attempt: number
  readonly holder: string
  /** Since its last sign of life, by the server's clock. */
  readonly silentMs: number
  readonly released: boolean
}

/** The newest claim of `version`, or undefined when nobody has claimed it yet. */
export async function readClaim(client: ClickHouseClient, version: number): Promise<Claim | undefined> {
  const result = await client.query({
    query: `
      SELECT attempt, anyIf(holder, kind = 'claimed') AS holder, max(kind = 'released') AS released,
             toUInt32(greatest(0, dateDiff('millisecond', max(noted_at), now64(3)))) AS silent_ms
      FROM schema_migration_claims WHERE version = {version:UInt32}
      GROUP BY attempt ORDER BY attempt DESC LIMIT 1`,
    query_params: { version },
    format: 'JSONEachRow',
  })
  const [row] = await result.json<{ attempt: number; holder: string; released: number; silent_ms: number }>()
  if (row === undefined) return undefined
  return { attempt: row.attempt, holder: row.holder, silentMs: row.silent_ms, released: row.released === 1 }
}

/** Claims an attempt. True when it is this holder's. */
export async function takeClaim(
  client: ClickHouseClient,
  version: number,
  attempt: number,
  holder: string,
): Promise<boolean> {
  await note(client, { version, attempt, holder, kind: 'claimed' }, `claim/${version}/${attempt}`)
  return holdsClaim(client, version, attempt, holder)
}

/** True while no later attempt has taken the migration over. */
export async function holdsClaim(
  client: ClickHouseClient,
  version: number,
  attempt: number,
  holder: string,
): Promise<boolean> {
  const claim = await readClaim(client, version)
  return claim?.attempt === attempt && claim.holder === holder
}

/** Tells the others that the holder is at work, or that it gave up. */
export async function noteClaim(
  client: ClickHouseClient,
  row: { version: number; attempt: number; holder: string; kind: 'alive' | 'released' },
): Promise<void> {
  await note(client, row, `${row.kind}/${crypto.randomUUID()}`)
}

async function note(client: ClickHouseClient, row: object, token: string): Promise<void> {
  await client.insert({
    table: 'schema_migration_claims',
    columns: ['version', 'attempt', 'holder', 'kind'],
    values: [row],
    format: 'JSONEachRow',
    clickhouse_settings: { async_insert: 0, insert_deduplicate: 1, insert_deduplication_token: token },
  })
}
