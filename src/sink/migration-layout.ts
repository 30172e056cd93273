/**
 * Where the migrations go: into one database of one server, or into the two databases of a cluster (see `cluster-ddl.ts`). And that
 * nobody mixes the two: what one made, the other would take for its own, because every statement says IF NOT EXISTS.
 *
 * `schema_migrations` and the claims are in the database of the tables. With replicas they are one table for all nodes, whatever
 * their shard: the path in Keeper has no {shard} in it, and the name of the replica has. Without replicas every node has its own.
 */
import type { ClickHouseClient } from '@clickhouse/client'
import { isProblem, type Problem, problem } from '../problem.ts'
import type { ClickHouseOptions } from './clickhouse.ts'
import { clusterStatements, everywhereTable, onCluster, type PlacedStatement, shardDatabase } from './cluster-ddl.ts'
import type { Migration } from './migration-files.ts'

/** A migration with what runs of it, and where. */
export interface PlacedMigration extends Migration {
  readonly placed: readonly PlacedStatement[]
}

/** The databases are not what the configuration says. Trying again does not help. */
export type LayoutProblem = Problem<'unknown_cluster' | 'other_layout' | 'unknown_statement'>

/** Database of the tables that hold data, and of `schema_migrations`. */
export function homeOf({ database, cluster }: ClickHouseOptions): string {
  return cluster === undefined ? database : shardDatabase(database)
}

/** What runs of each migration. */
export function placeMigrations(
  migrations: readonly Migration[],
  { database, cluster }: ClickHouseOptions,
): PlacedMigration[] | LayoutProblem {
  const result: PlacedMigration[] = []
  for (const migration of migrations) {
    const placed: PlacedStatement[] = []
    for (const sql of migration.statements) {
      const statements =
        cluster === undefined ? [{ place: 'shard', sql } as const] : clusterStatements(sql, { cluster, database })
      if (isProblem(statements))
        return problem(statements.problem, `migration ${migration.version}: ${statements.message}`)
      placed.push(...statements)
    }
    result.push({ ...migration, placed })
  }
  return result
}

/** A table of the migrations' own, as it is made on one server and on a cluster. */
export function ownTable(statement: string, { database, cluster }: ClickHouseOptions): string {
  return cluster === undefined ? statement : everywhereTable(statement, { cluster, database })
}

/**
 * Makes the databases that are missing, on a cluster with replicas on every node, and asks whether the tables of the migrations are there.
 * Nothing is sent to other nodes when nothing is missing here: a node that is away must not keep a collector from its start.
 * @param everywhere make them again, for a node that is new
 */
export async function prepareDatabases(
  client: ClickHouseClient,
  clickhouse: ClickHouseOptions,
  everywhere: boolean,
): Promise<LayoutProblem | 'ready' | 'new'> {
  const mismatch = await layoutProblem(client, clickhouse)
  if (mismatch !== undefined) return mismatch
  const { database, cluster } = clickhouse
  const home = homeOf(clickhouse)
  for (const name of cluster === undefined ? [home] : [home, database]) {
    // Needs no right to create when it is there. Atomic, so that tables can be dropped and renamed while they are read.
    const found = await rows(client, 'SELECT name FROM system.databases WHERE name = {name:String}', { name })
    if (found.length > 0 && !everywhere) continue
    const where = cluster === undefined ? '' : onCluster(cluster)
    await client.command({
      query: `CREATE DATABASE IF NOT EXISTS \`${name}\`${where} ENGINE = Atomic`,
    })
  }
  const own = await rows(
    client,
    "SELECT name FROM system.tables WHERE database = {home:String} AND name IN ('schema_migrations', 'schema_migration_claims')",
    { home },
  )
  return own.length === 2 && !everywhere ? 'ready' : 'new'
}

/** Why the configuration and what is there do not fit together, if so. */
export async function layoutProblem(
  client: ClickHouseClient,
  clickhouse: ClickHouseOptions,
): Promise<LayoutProblem | undefined> {
  const { database, cluster, url } = clickhouse
  if (cluster !== undefined) {
    const known = await rows<{ name: string }>(client, 'SELECT DISTINCT cluster AS name FROM system.clusters', {})
    if (!known.some(({ name }) => name === cluster.name)) {
      const names = known.map(({ name }) => name).join(', ')
      return problem(
        'unknown_cluster',
        `CLICKHOUSE_CLUSTER is "${cluster.name}", but ClickHouse at ${url} knows ${names === '' ? 'no cluster' : `only ${names}`} (system.clusters)`,
      )
    }
  }
  const engineOf = async (place: string) => {
    const query = "SELECT engine_full AS engine FROM system.tables WHERE database = {place:String} AND name = 'events'"
    return (await rows<{ engine: string }>(client, query, { place }))[0]?.engine
  }
  const outer = await engineOf(database)
  if (cluster === undefined) {
    if (outer?.startsWith('Distributed') !== true) return undefined
    return problem('other_layout', `CLICKHOUSE_DATABASE ${database} is that of a cluster: set CLICKHOUSE_CLUSTER`)
  }
  const home = homeOf(clickhouse)
  const wanted = `Distributed('${cluster.name}', '${home}'`
  if (outer !== undefined && !outer.startsWith(wanted)) {
    const found = outer.startsWith('Distributed')
      ? `has tables of another cluster (${outer})`
      : 'has tables of one server'
    return problem(
      'other_layout',
      `CLICKHOUSE_DATABASE ${database} ${found}: CLICKHOUSE_CLUSTER=${cluster.name} wants another database, a new one`,
    )
  }
  const inner = await engineOf(home)
  if (inner === undefined || inner.startsWith('Replicated') === cluster.isReplicated) return undefined
  const is = cluster.isReplicated ? 'not replicated' : 'replicated'
  return problem(
    'other_layout',
    `the tables in ${home} are ${is}: set CLICKHOUSE_CLUSTER_REPLICATED=${!cluster.isReplicated}, or CLICKHOUSE_DATABASE to a new one`,
  )
}

async function rows<Row = unknown>(
  client: ClickHouseClient,
  query: string,
  parameters: Record<string, string>,
): Promise<Row[]> {
  const result = await client.query({ query, query_params: parameters, format: 'JSONEachRow' })
  return result.json<Row>()
}
