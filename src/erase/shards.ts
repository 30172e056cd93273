/**
 * The servers of a cluster, as an erasure needs them. Reading and finding go through one address, CLICKHOUSE_URL: Distributed tables and
 * `cluster()` ask all shards. Changing the tables does not: a Distributed table has no mutations, and without Keeper nothing but SELECT and
 * INSERT gets from one server to another. So
 *
 * - with replicas every such statement says ON CLUSTER, and one address is enough;
 * - without them (CLICKHOUSE_CLUSTER_REPLICATED=false) it is run at each shard, and people name the address of each, with `--shard`: what
 *   `system.clusters` tells are native ports, and the client speaks HTTP. CLICKHOUSE_URL is taken for none of them, it may be a load balancer's.
 *
 * Which shard an address is, is told by the UUID of its table `events`, which no other one has. So a shard that is forgotten, and an address of
 * another cluster, are known before anything is done. All servers have to answer: what is at one that is away cannot be found.
 */
import { isProblem, type Problem, problem, reasonOf } from '../problem.ts'
import { type ClickHouse, type ClickHouseOptions, createClickHouse } from '../sink/clickhouse.ts'
import type { Cluster } from '../sink/cluster-ddl.ts'
import { homeOf, type LayoutProblem, layoutProblem } from '../sink/migration-layout.ts'
import { quote } from './tables.ts'

/** Why the tables cannot be changed everywhere. `shard_away` may pass; the others want somebody to act. */
export type ShardProblem = LayoutProblem | Problem<'shard_away' | 'shard_without_tables' | 'shards_not_named'>

/** A server of the cluster. */
interface Server {
  /** For people. */
  readonly name: string
  /** UUID of its table `events`; empty when it has none, undefined when it does not answer. */
  readonly events: string | undefined
}

/** A server whose name leads nowhere must not keep the others from being told. */
const CONNECT_WITHIN_MS = 2_000

/**
 * Whether the configuration fits what is there and, on a cluster, every server answers, has the tables and can be changed. Throws when the one
 * at `url` does not answer.
 * @param shardUrls HTTP addresses, one of each shard, when there are no replicas
 */
export async function checkServers(
  options: ClickHouseOptions,
  shardUrls: readonly string[],
): Promise<ShardProblem | undefined> {
  const { cluster } = options
  return withSystem(options, async ({ client }) => {
    const mismatch = await layoutProblem(client, options)
    if (mismatch !== undefined) return mismatch
    const isNamed = cluster?.isReplicated === false
    if (!isNamed && shardUrls.length > 0) {
      const why = 'shards are named only where there are several without replicas (CLICKHOUSE_CLUSTER_REPLICATED=false)'
      return problem('shards_not_named', `--shard is not wanted: ${why}`)
    }
    if (cluster === undefined) return undefined
    const servers = await serversOf(client, options, cluster)
    const away = awayProblem(servers, cluster)
    if (away !== undefined) return away
    const empty = servers.filter(({ events }) => events === '')
    if (empty.length > 0)
      return problem(
        'shard_without_tables',
        `no tables at ${namesOf(empty)} of cluster ${cluster.name}: run \`penstock migrate\` there`,
      )
    return isNamed ? namingProblem(servers, options, cluster, shardUrls) : undefined
  })
}

/** Which servers of the cluster do not answer the one at `url`: for what failed in the middle. Undefined: all do, or that one does not. */
export async function findAway(options: ClickHouseOptions): Promise<Problem<'shard_away'> | undefined> {
  const { cluster } = options
  if (cluster === undefined) return undefined
  try {
    return await withSystem(options, async ({ client }) =>
      awayProblem(await serversOf(client, options, cluster), cluster),
    )
  } catch {
    return undefined
  }
}

function awayProblem(servers: readonly Server[], { name }: Cluster): Problem<'shard_away'> | undefined {
  const away = servers.filter(({ events }) => events === undefined)
  if (away.length === 0) return undefined
  return problem('shard_away', `no answer from ${namesOf(away)} of cluster ${name}: run this when all shards are there`)
}

/** Whether the addresses are those of all shards, each of one. */
async function namingProblem(
  servers: readonly Server[],
  options: ClickHouseOptions,
  { name }: Cluster,
  shardUrls: readonly string[],
): Promise<ShardProblem | undefined> {
  const named = new Set<string>()
  for (const url of shardUrls) {
    const events = await withSystem({ ...options, url }, ({ client }) => eventsAt(client, options)).catch((error) =>
      problem('shard_away', `ClickHouse at --shard ${url} does not answer: ${reasonOf(error)}`),
    )
    if (isProblem(events)) return events
    if (!servers.some((server) => server.events === events))
      return problem('shards_not_named', `ClickHouse at --shard ${url} is no shard of cluster ${name}`)
    named.add(events)
  }
  const missing = servers.filter(({ events = '' }) => !named.has(events))
  if (missing.length === 0) return undefined
  const message = `not named by --shard http://host:port: ${namesOf(missing)} of cluster ${name}, whose tables are changed at each shard`
  return problem('shards_not_named', message)
}

async function serversOf(
  client: ClickHouse['client'],
  options: ClickHouseOptions,
  cluster: Cluster,
): Promise<Server[]> {
  const places = await client.query({
    query: `SELECT shard_num, replica_num, count() OVER (PARTITION BY shard_num) AS replicas, host_name, port
      FROM system.clusters WHERE cluster = ${quote(cluster.name)} ORDER BY shard_num, replica_num`,
    format: 'JSONEachRow',
  })
  // clusterAllReplicas counts the servers in this order. Every server has system.one.
  const answers = await client.query({
    query: `SELECT _shard_num AS number, max(if(name = 'events', toString(uuid), '')) AS events
      FROM clusterAllReplicas(${quote(cluster.name)}, system.tables)
      WHERE database = 'system' AND name = 'one' OR database = ${quote(homeOf(options))} AND name = 'events' GROUP BY number`,
    format: 'JSONEachRow',
    clickhouse_settings: { skip_unavailable_shards: 1, connect_timeout_with_failover_ms: CONNECT_WITHIN_MS },
  })
  const events = new Map(
    (await answers.json<{ number: number; events: string }>()).map((row) => [row.number, row.events]),
  )
  const rows = await places.json<{
    shard_num: number
    replica_num: number
    replicas: string
    host_name: string
    port: number
  }>()
  return rows.map(({ shard_num, replica_num, replicas, host_name, port }, index) => ({
    name: `shard ${shard_num}${Number(replicas) > 1 ? `, replica ${replica_num}` : ''} (${host_name}:${port})`,
    events: events.get(index + 1),
  }))
}

async function eventsAt(client: ClickHouse['client'], options: ClickHouseOptions): Promise<string> {
  const query = `SELECT toString(uuid) AS events FROM system.tables WHERE database = ${quote(homeOf(options))} AND name = 'events'`
  const [row] = await (await client.query({ query, format: 'JSONEachRow' })).json<{ events: string }>()
  return row?.events ?? ''
}

async function withSystem<Result>(
  options: ClickHouseOptions,
  work: (clickhouse: ClickHouse) => Promise<Result>,
): Promise<Result> {
  const clickhouse = createClickHouse({ ...options, database: 'system' })
  try {
    return await work(clickhouse)
  } finally {
    await clickhouse.close()
  }
}

function namesOf(servers: readonly Server[]): string {
  return servers.map(({ name }) => name).join(' and ')
}
