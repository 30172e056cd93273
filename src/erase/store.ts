/** ClickHouse as an erasure uses it: statements that may take hours, rows as objects. Every failure is thrown with ClickHouse's words. */
import type { ClickHouseSettings } from '@clickhouse/client'
import { type ClickHouseOptions, createClickHouse } from '../sink/clickhouse.ts'

export interface Store {
  readonly database: string
  /** Rows of a SELECT without FORMAT; 64-bit integers as numbers. */
  rows<Row>(sql: string): Promise<Row[]>
  run(sql: string, settings?: ClickHouseSettings): Promise<void>
  /** Values travel in the body: they are in no log of queries. */
  insert(table: string, values: readonly object[]): Promise<void>
  /** Which of these tables there are: an older database has not all of them. Asked once. */
  existing<Name extends string>(names: readonly Name[]): Promise<Name[]>
  close(): Promise<void>
}

/** Reading the ids of a large workspace may take that long; mutations are waited for by asking. */
const REQUEST_TIMEOUT_MS = 6 * 3_600_000

/** Connects at the first use. */
export function openStore(options: ClickHouseOptions): Store {
  const { client, close } = createClickHouse({ ...options, requestTimeoutMs: REQUEST_TIMEOUT_MS })
  const rows = async <Row>(query: string): Promise<Row[]> => {
    const clickhouse_settings = { output_format_json_quote_64bit_integers: 0 } as const
    return (await client.query({ query, format: 'JSONEachRow', clickhouse_settings })).json<Row>()
  }
  let tables: Promise<{ name: string }[]> | undefined
  return {
    database: options.database,
    close,
    rows,
    async existing(names) {
      tables ??= rows(`SELECT name FROM system.tables WHERE database = currentDatabase()`)
      const found = new Set((await tables).map(({ name }) => name))
      return names.filter((name) => found.has(name))
    },
    async run(query, settings = {}) {
      await client.command({ query, clickhouse_settings: { wait_end_of_query: 1, ...settings } })
    },
    async insert(table, values) {
      if (values.length === 0) return
      await client.insert({ table, values, format: 'JSONEachRow', clickhouse_settings: { async_insert: 0 } })
    },
  }
}
