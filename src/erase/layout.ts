/**
 * By which names the tables are reached, and what statements say for all servers to run them: on one server, where all names of a table are
 * the same, and on a cluster with its two databases (`sink/cluster-ddl.ts`). Which server is asked for what: `shards.ts`.
 *
 * On a cluster every server has the ids of a run in a table of its own, because the mutations of every server read them. So
 * `IN (SELECT … FROM ids)` is right in every statement, wherever a part of it runs. A set that comes from Distributed tables wants GLOBAL IN;
 * on one server that is IN.
 */
import type { ClickHouseOptions } from '../sink/clickhouse.ts'
import { onCluster } from '../sink/cluster-ddl.ts'
import { homeOf, ownTable } from '../sink/migration-layout.ts'
import { quote } from './tables.ts'

/** See the head of the file. */
export interface Layout {
  /** Database of the tables that hold the data, on every server. */
  readonly home: string
  /** What a statement says for all servers to run it, or nothing. */
  readonly onCluster: string
  /** For SELECT: with the rows of all shards. */
  table(name: string): string
  /** For INSERT, and for what every server reads of its own: the ids of a run. */
  local(name: string): string
  /** For ALTER and DROP: the local table, and behind it where. */
  target(name: string): string
  /** A SELECT from local tables as a table: every shard runs it. */
  each(select: string): string
  /** A table of `system`, with the rows of every server that has a part in it. */
  system(name: string): string
  /** CREATE TABLE for a table of ids: one that all servers read as their own. */
  idsTable(create: string): string
  /** To be run everywhere: gives every server the rows of a table of ids that another one has. Undefined: there is one server. */
  spread(name: string): string | undefined
  /** To be run everywhere: waits until every replica has stored and deleted what another one has. Undefined: there are no replicas. */
  caughtUp(name: string): string | undefined
}

/** On one server, or on a cluster. */
export function layoutOf(options: ClickHouseOptions): Layout {
  const { database, cluster } = options
  const home = homeOf(options)
  const local = (name: string) => `${quoteName(home)}.${quoteName(name)}`
  const names = { home, local, idsTable: (create: string) => ownTable(create, options) }
  if (cluster === undefined)
    return {
      ...names,
      onCluster: '',
      table: local,
      target: local,
      each: (select) => `(${select})`,
      system: (name) => `system.${name}`,
      spread: () => undefined,
      caughtUp: () => undefined,
    }
  const inCluster = (of: string, what: string) => `${of}(${quote(cluster.name)}, ${what})`
  const each = (select: string) => inCluster('cluster', `view(${select})`)
  const sync = (name: string) => `SYSTEM SYNC REPLICA${onCluster(cluster)} ${local(name)}`
  const pull = (name: string) => {
    const ids = `SELECT kind, scope, id FROM ${local(name)}`
    return `INSERT INTO ${local(name)} (kind, scope, id) SELECT kind, scope, id FROM ${each(ids)} EXCEPT DISTINCT ${ids}`
  }
  return {
    ...names,
    onCluster: onCluster(cluster),
    table: (name) => `${quoteName(database)}.${quoteName(name)}`,
    target: (name) => `${local(name)}${onCluster(cluster)}`,
    each,
    system: (name) => inCluster('clusterAllReplicas', `system.${name}`),
    spread: cluster.isReplicated ? sync : pull,
    caughtUp: cluster.isReplicated ? sync : () => undefined,
  }
}

function quoteName(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``
}
