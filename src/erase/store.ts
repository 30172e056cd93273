/** ClickHouse as an erasure uses it: statements that may take hours, rows as objects. Every failure is thrown with ClickHouse's words. */
import type { ClickHouseSettings } from '@clickhouse/client'
import { type ClickHouseOptions, createClickHouse } from '../sink/clickhouse.ts'
import { homeOf } from '../sink/migration-layout.ts'
import { type Layout, layoutOf } from './layout.ts'
import { checkServers, findAway, type ShardProblem } from './shards.ts'

export interface Store {
  readonly layout: Layout
  /** Rows of a SELECT without FORMAT; 64-bit integers as numbers. */
  rows<Row>(sql: string): Promise<Row[]>
  run(sql: string, settings?: ClickHouseSettings): Promise<void>
  /** Runs a statement where tables are: it says ON CLUSTER itself, or is run at each shard (`shards.ts`). Undefined: there is none. */
  everywhere(sql: string | undefined, settings?: ClickHouseSettings): Promise<void>
  /** Values travel in the body: they are in no log of queries. */
  insert(table: string, values: readonly object[]): Promise<void>
  /** Which of these tables there are: an older database has not all of them. Asked once. */
  existing<Name extends string>(names: readonly Name[]): Promise<Name[]>
  close(): Promise<void>
}

/** Reading the ids of a large workspace may take that long; mutations are waited for by asking. */
const REQUEST_TIMEOUT_MS = 6 * 3_600_000

/** What a profile may say otherwise: it would leave out a shard or a replica without a word, or return before something is done. */
const COMPLETE: ClickHouseSettings = {
  async_insert: 0,
  wait_end_of_query: 1,
  skip_unavailable_shards: 0,
  distributed_ddl_output_mode: 'throw',
  distributed_ddl_task_timeout: '600',
}

/**
 * Looks whether everything is there that has to be changed. Throws when ClickHouse does not answer.
 * @param shardUrls HTTP addresses of all shards, of a cluster without replicas
 */
export async function openStore(
  options: ClickHouseOptions,
  shardUrls: readonly string[] = [],
): Promise<Store | ShardProblem> {
  const failure = await checkServers(options, shardUrls)
  if (failure !== undefined) return failure
  const connect = (url: string) =>
    createClickHouse({ ...options, url, database: homeOf(options), requestTimeoutMs: REQUEST_TIMEOUT_MS })
  const main = connect(options.url)
  const shards = shardUrls.map(connect)
  /** A failure of a cluster tells which shard is away, if one is. */
  const told = async <Result>(work: Promise<Result>): Promise<Result> => {
    try {
      return await work
    } catch (error) {
      const away = await findAway(options)
      throw away === undefined ? error : new Error(away.message, { cause: error })
    }
  }
  const runAt = async ({ client }: typeof main, query: string, settings: ClickHouseSettings) => {
    await client.command({ query, clickhouse_settings: { ...COMPLETE, ...settings } })
  }
  const rows = <Row>(query: string): Promise<Row[]> => {
    const clickhouse_settings = { output_format_json_quote_64bit_integers: 0, ...COMPLETE } as const
    return told(
      main.client.query({ query, format: 'JSONEachRow', clickhouse_settings }).then((result) => result.json<Row>()),
    )
  }
  const layout = layoutOf(options)
  let tables: Promise<{ name: string }[]> | undefined
  return {
    layout,
    rows,
    run: (sql, settings = {}) => told(runAt(main, sql, settings)),
    async everywhere(sql, settings = {}) {
      if (sql === undefined) return
      const places = shards.length > 0 ? shards : [main]
      // Of all, so that none goes on behind the back of a failure.
      const results = await Promise.allSettled(places.map((place) => runAt(place, sql, settings)))
      const failed = results.find(({ status }) => status === 'rejected')
      if (failed?.status === 'rejected') await told(Promise.reject(failed.reason))
    },
    async existing(names) {
      tables ??= rows(`SELECT name FROM system.tables WHERE database = currentDatabase()`)
      const found = new Set((await tables).map(({ name }) => name))
      return names.filter((name) => found.has(name))
    },
    async insert(table, values) {
      if (values.length === 0) return
      await told(
        main.client
          .insert({ table, values, format: 'JSONEachRow', clickhouse_settings: COMPLETE })
          .then(() => undefined),
      )
    },
    async close() {
      await Promise.all([main, ...shards].map((place) => place.close()))
    },
  }
}
