/** What an erasure does not reach, or not at once: counted where it can be, for the report. */
import { join } from 'node:path'
import { realFileSystem } from '../log/file-system.ts'
import type { Store } from './store.ts'
import { PERSONAL_TABLES, quote } from './tables.ts'
import { logDirectories, namesIn } from './unflushed.ts'

export interface Stays {
  /** Parts that have been replaced and are on disk until ClickHouse removes them. */
  readonly outdatedParts: number
  readonly outdatedBytes: number
  /** Seconds after which ClickHouse removes them, beside the half minute between its rounds. */
  readonly oldPartsLifetimeSeconds: number
  /** Parts in `detached/`: what is in them nobody can ask. */
  readonly detachedParts: number
  /** Files of bytes that a log has set aside, because they are no good records. */
  readonly damagedFiles: number
}

/** Looks at the disks of ClickHouse and at the logs below DATA_DIR. */
export async function whatStays(store: Store, dataDir: string): Promise<Stays> {
  const { home, system } = store.layout
  const which = `database = ${quote(home)} AND table IN (${PERSONAL_TABLES.map(quote).join()})`
  const [outdated] = await store.rows<{ parts: number; bytes: number }>(
    `SELECT count() AS parts, sum(bytes_on_disk) AS bytes FROM ${system('parts')} WHERE ${which} AND NOT active`,
  )
  const [detached] = await store.rows<{ parts: number }>(
    `SELECT count() AS parts FROM ${system('detached_parts')} WHERE ${which}`,
  )
  const [setting] = await store.rows<{ seconds: number }>(
    `SELECT max(toUInt32(value)) AS seconds FROM ${system('merge_tree_settings')} WHERE name = 'old_parts_lifetime'`,
  )
  return {
    outdatedParts: outdated?.parts ?? 0,
    outdatedBytes: outdated?.bytes ?? 0,
    oldPartsLifetimeSeconds: setting?.seconds ?? 0,
    detachedParts: detached?.parts ?? 0,
    damagedFiles: await countDamagedFiles(dataDir),
  }
}

async function countDamagedFiles(dataDir: string): Promise<number> {
  let files = 0
  for (const log of logDirectories(dataDir)) {
    const damaged = join(log, 'damaged')
    if (namesIn(damaged).length > 0) files += (await realFileSystem.list(damaged)).filter(({ isFile }) => isFile).length
  }
  return files
}
