/**
 * A flusher for each shard of a cluster, side by side on one log: each takes the segments of its shard (`shard-pins.ts`), and waits by
 * itself when that is away. Its segments stay in the log untaken then, while those of the others flow.
 *
 * Which shards there are is asked once, before the first insert: a collector that is started after the cluster was changed knows the new
 * shards, one that runs goes on with the old ones.
 */
import type { ClickHouseClient } from '@clickhouse/client'
import { isProblem, type Problem, problem, reasonOf } from '../problem.ts'
import type { ClickHouse } from './clickhouse.ts'
import type { Cluster } from './cluster-ddl.ts'
import { Flusher, type FlusherOptions } from './flusher.ts'
import type { FlusherStats } from './flusher-stats.ts'
import { openShardPins } from './shard-pins.ts'

/** How one shard is doing. */
export interface ShardState {
  /** From 1, as in `system.clusters`. */
  readonly shard: number
  /** Failures in a row of the shard as a whole; 0 = it works. */
  readonly failuresInRow: number
  readonly segmentsHeld: number
  readonly insertedSegments: number
  readonly insertedRows: number
}

/** The flusher's, of all shards together; `failuresInRow` is that of the worst. */
export interface ShardedStats extends FlusherStats {
  readonly shards: readonly ShardState[]
}

/** What it is made from; `logDirectory` is undefined for a log in memory. */
export interface ShardedFlusherOptions extends Omit<FlusherOptions, 'isWanted'> {
  readonly cluster: Cluster
  readonly clickhouse: ClickHouse
  readonly logDirectory: string | undefined
}

/** Of one shard two requests at once keep it busy; where there are many, one each is enough for the log. */
const IN_FLIGHT_MAX = 2
const SHARDS_FEW = 2

/** See the head of the file. */
export class ShardedFlusher {
  readonly #options: ShardedFlusherOptions
  #flushers: readonly Flusher[] = []

  constructor(options: ShardedFlusherOptions) {
    this.#options = options
  }

  /**
   * Begins to take segments. `clickhouse_unavailable`: try again later; `unknown_cluster`, `damaged_shards`: somebody has to act. Throws the file
   * system's error.
   */
  async start(): Promise<Problem<'clickhouse_unavailable' | 'unknown_cluster' | 'damaged_shards'> | undefined> {
    const { cluster, clickhouse, logDirectory, ...options } = this.#options
    const weights = await readWeights(clickhouse.client, cluster)
    if (isProblem(weights)) return weights
    const pins = await openShardPins({ directory: logDirectory, weights, nextNumber: options.log.nextNumber })
    if (isProblem(pins)) return pins
    const inFlightMax = options.inFlightMax ?? (pins.shards > SHARDS_FEW ? 1 : IN_FLIGHT_MAX)
    this.#flushers = Array.from({ length: pins.shards }, (_, index) => {
      const shard = index + 1
      const isWanted = (number: number) => pins.shardOf(number) === shard
      return new Flusher({ ...options, inFlightMax, isWanted, target: { ...options.target, shard } })
    })
    for (const flusher of this.#flushers) flusher.start()
    return undefined
  }

  /** See `Flusher.stop`. */
  async stop(deadlineMs: number): Promise<void> {
    await Promise.all(this.#flushers.map((flusher) => flusher.stop(deadlineMs)))
  }

  stats(): ShardedStats {
    const each = this.#flushers.map((flusher) => flusher.stats())
    const sum = (of: (stats: FlusherStats) => number) => each.reduce((total, stats) => total + of(stats), 0)
    const newest = (of: (stats: FlusherStats) => number | undefined) =>
      each.reduce<FlusherStats | undefined>(
        (best, stats) => ((of(stats) ?? 0) > (best ? (of(best) ?? 0) : 0) ? stats : best),
        undefined,
      )
    return {
      inFlight: sum((stats) => stats.inFlight),
      segmentsHeld: sum((stats) => stats.segmentsHeld),
      segmentsStuck: sum((stats) => stats.segmentsStuck),
      insertedSegments: sum((stats) => stats.insertedSegments),
      insertedRows: sum((stats) => stats.insertedRows),
      insertedBytes: sum((stats) => stats.insertedBytes),
      retries: sum((stats) => stats.retries),
      failuresInRow: Math.max(0, ...each.map((stats) => stats.failuresInRow)),
      deadLetters: each[0]?.deadLetters ?? 0, // all have one directory
      refusedRecords: sum((stats) => stats.refusedRecords),
      refusedRows: sum((stats) => stats.refusedRows),
      lastError: newest((stats) => stats.lastError?.at)?.lastError,
      lastSuccessAt: newest((stats) => stats.lastSuccessAt)?.lastSuccessAt,
      shards: each.map(({ failuresInRow, segmentsHeld, insertedSegments, insertedRows }, index) => ({
        shard: index + 1,
        ...{ failuresInRow, segmentsHeld, insertedSegments, insertedRows },
      })),
    }
  }
}

/** Weights of shard 1, 2, 3 … as the server's configuration has them now. */
export async function readWeights(
  client: ClickHouseClient,
  cluster: Cluster,
): Promise<number[] | Problem<'clickhouse_unavailable' | 'unknown_cluster'>> {
  try {
    const result = await client.query({
      query: `SELECT shard_num, any(shard_weight) AS weight FROM system.clusters WHERE cluster = {name:String}
        GROUP BY shard_num ORDER BY shard_num`,
      query_params: { name: cluster.name },
      format: 'JSONEachRow',
    })
    const shards = await result.json<{ shard_num: number; weight: number }>()
    if (shards.length > 0) return shards.map(({ weight }) => weight)
    return problem(
      'unknown_cluster',
      `CLICKHOUSE_CLUSTER is "${cluster.name}", but ClickHouse does not know it any more`,
    )
  } catch (error) {
    return problem('clickhouse_unavailable', `the shards could not be asked for: ${reasonOf(error)}`)
  }
}
