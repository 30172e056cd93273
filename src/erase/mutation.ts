/**
 * Deletes rows for good: starts the mutation and waits until it is done, by asking `system.mutations`. A connection that waits for hours is
 * cut by whatever stands between; and a mutation goes on when who started it is gone, also over a restart of the server.
 *
 * A mutation writes every part of the table anew that has such rows (of others it makes links), without them. The old parts stay on disk for
 * `old_parts_lifetime`: 8 minutes with a server, 2 with the embedded one, and up to 40 s more.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Problem, problem } from '../problem.ts'
import type { Store } from './store.ts'
import { deletion, quote } from './tables.ts'

/** Named in one statement; with more it would become too long, and most of the table is read anyway. */
const PARTITIONS_MAX = 100

const POLL_MIN_MS = 20
const POLL_MAX_MS = 1_000
/** ClickHouse tries a part again that failed: a full memory or disk may pass. */
const FAILING_MS_MAX = 60_000

/** What a deletion needs. */
export interface Deletion {
  readonly table: string
  readonly condition: string
  /** Whether the table is partitioned: then only partitions with such rows are touched. */
  readonly isPartitioned: boolean
  /** A name in the condition by which its mutations are known among others. */
  readonly marker: string
}

/** Deletes the rows. Resolves when no active part has them; throws ClickHouse's error. */
export async function deleteRows(
  store: Store,
  { table, condition, isPartitioned, marker }: Deletion,
): Promise<Problem<'mutation_failed'> | undefined> {
  const { layout } = store
  const found = isPartitioned
    ? await store.rows<{ id: string }>(
        `SELECT DISTINCT _partition_id AS id FROM ${layout.table(table)} WHERE ${condition} ORDER BY id`,
      )
    : []
  if (isPartitioned && found.length === 0) return undefined
  const partitions = found.length > PARTITIONS_MAX ? [] : found.map(({ id }) => id)
  await store.everywhere(deletion(layout, table, condition, partitions), {
    mutations_sync: '0',
    allow_nondeterministic_mutations: 1, // the ids are in a table, which on replicas counts as such
  })
  const failure = await mutationsDone(store, marker)
  if (failure === undefined) await store.everywhere(layout.caughtUp(table)) // a replica may not know of the mutation yet
  return failure
}

/**
 * Takes back mutations whose table of ids is gone. There are none, but after a power cut of ClickHouse's machine: it does not sync the parts
 * that a mutation writes, so it may find the old ones, and would try for ever to mutate them again, and nothing behind that.
 */
export async function killOrphans(store: Store, idsTablePrefix: string): Promise<void> {
  const { home, system } = store.layout
  const idsTable = `extract(command, '${idsTablePrefix}[0-9a-f]+')`
  // Every server looks for the table among its own.
  const find = () =>
    store.rows<{ marker: string }>(
      `SELECT DISTINCT ${idsTable} AS marker FROM ${system('mutations')}
       WHERE database = ${quote(home)} AND NOT is_done AND ${idsTable} != ''
       AND ${idsTable} NOT IN (SELECT name FROM system.tables WHERE database = ${quote(home)})`,
    )
  const found = new Set((await find()).map(({ marker }) => marker))
  // Tables are looked at first: a run may have made its own, and begun a mutation, before these are.
  const orphans = found.size === 0 ? [] : (await find()).filter(({ marker }) => found.has(marker))
  for (const { marker } of orphans) await takeBack(store, marker)
}

/** By the marker, not by a number: another shard may have given that to another mutation. */
async function takeBack({ layout, everywhere }: Store, marker: string): Promise<void> {
  await everywhere(`KILL MUTATION${layout.onCluster} WHERE ${marked(layout.home, marker)} SYNC`)
}

function marked(home: string, marker: string): string {
  return `database = ${quote(home)} AND position(command, ${quote(marker)}) > 0`
}

interface MutationRow {
  readonly database: string
  readonly table: string
  readonly mutation_id: string
  readonly latest_fail_reason: string
}

/** Waits for all mutations with the marker. One that fails for long is taken back: it would hold up every later one of its table. */
export async function mutationsDone(store: Store, marker: string): Promise<Problem<'mutation_failed'> | undefined> {
  const { home, system } = store.layout
  let pollMs = POLL_MIN_MS
  let failingSince: number | undefined
  for (;;) {
    const waiting = await store.rows<MutationRow>(
      `SELECT database, table, mutation_id, latest_fail_reason FROM ${system('mutations')}
       WHERE ${marked(home, marker)} AND NOT is_done`,
    )
    if (waiting.length === 0) return undefined
    const failed = waiting.find((row) => row.latest_fail_reason !== '')
    failingSince = failed === undefined ? undefined : (failingSince ?? performance.now())
    if (failed !== undefined && failingSince !== undefined && performance.now() - failingSince > FAILING_MS_MAX) {
      await takeBack(store, marker)
      const { table, mutation_id: id, latest_fail_reason: reason } = failed
      return problem(
        'mutation_failed',
        `mutation ${id} of ${table} was taken back, ClickHouse could not do it: ${reason}`,
      )
    }
    await sleep(pollMs)
    pollMs = Math.min(POLL_MAX_MS, pollMs * 2)
  }
}
