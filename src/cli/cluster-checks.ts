/** What `doctor` looks at when there is a cluster: whether its shards answer, and have the tables. */
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../problem.ts'
import { type ClickHouseOptions, createClickHouse } from '../sink/clickhouse.ts'
import { type Cluster, shardDatabase } from '../sink/cluster-ddl.ts'
import type { Check } from './checks.ts'

const ANSWER_WITHIN_MS = 5_000
/** A shard whose name leads nowhere must not keep the others from being told. */
const CONNECT_WITHIN_MS = 500

/** Every shard answers the server at `url`, and has the migrations that it has. */
export async function checkShards(clickhouse: ClickHouseOptions, cluster: Cluster): Promise<Check> {
  const name = 'cluster'
  const { client, close } = createClickHouse({
    ...clickhouse,
    database: 'system',
    requestTimeoutMs: ANSWER_WITHIN_MS,
  })
  /** The number that each shard answers with; of those that do. */
  const ask = async (query: string) => {
    const result = await client.query({
      query,
      format: 'JSONEachRow',
      clickhouse_settings: {
        skip_unavailable_shards: 1,
        connect_timeout_with_failover_ms: CONNECT_WITHIN_MS,
      },
    })
    const answers = await result.json<{ shard: number; value: number | string }>()
    return new Map(answers.map(({ shard, value }) => [shard, Number(value)]))
  }
  try {
    const literal = `'${cluster.name}'`
    const tables = `'${shardDatabase(clickhouse.database)}', 'schema_migrations'`
    const weights = await ask(
      `SELECT shard_num AS shard, any(shard_weight) AS value FROM system.clusters WHERE cluster = ${literal} GROUP BY shard`,
    )
    const answering = await ask(
      `SELECT _shard_num AS shard, any(1) AS value FROM cluster(${literal}, system.one) GROUP BY shard`,
    )
    const migrated = await Promise.race([
      ask(`SELECT _shard_num AS shard, uniq(version) AS value FROM cluster(${literal}, ${tables}) GROUP BY shard`),
      sleep(ANSWER_WITHIN_MS, new Map<number, number>(), { ref: false }),
    ]).catch(() => new Map<number, number>())
    const shards = [...weights.keys()].sort((a, b) => a - b)
    const silent = shards.filter((shard) => !answering.has(shard))
    const newest = Math.max(0, ...migrated.values())
    const behind = shards.filter((shard) => answering.has(shard) && (migrated.get(shard) ?? 0) < newest)
    const all = `${cluster.name}: ${shards.length} shards`
    if (silent.length > 0) {
      const message = `${all}, ${numbers(silent)} not reached by the server at ${clickhouse.url}: the events for it wait in the log`
      return {
        name,
        status: 'warning',
        message,
        mend: 'start its servers, and look at remote_servers of the one that was asked',
      }
    }
    if (behind.length > 0) {
      const message = `${all}, ${numbers(behind)} without the tables, or with older ones`
      const mend = cluster.isReplicated
        ? 'run `penstock migrate --again`'
        : 'run `penstock migrate` with the address of that shard as CLICKHOUSE_URL'
      return { name, status: 'failed', message, mend }
    }
    return { name, status: 'ok', message: `${all}, all answer` }
  } catch (error) {
    const mend = 'look at remote_servers of the ClickHouse servers, and at the rights of CLICKHOUSE_USER'
    return { name, status: 'failed', message: reasonOf(error), mend }
  } finally {
    await close()
  }
}

function numbers(shards: readonly number[]): string {
  return `${shards.length === 1 ? 'shard' : 'shards'} ${shards.join(', ')}`
}
