/**
 * The client for queries and migrations, the same for the embedded ClickHouse and for a server elsewhere.
 * Events do not go through it: see the flusher.
 */
import { type ClickHouseClient, ClickHouseLogLevel, createClient } from '@clickhouse/client'
import { type Problem, problem, reasonOf } from '../problem.ts'
import type { Cluster } from './cluster-ddl.ts'

/** Where ClickHouse is and who we are there. */
export interface ClickHouseOptions {
  /** Of the HTTP interface, such as http://127.0.0.1:8123. */
  readonly url: string
  readonly user: string
  readonly password: string
  /** Names in SQL are relative to it. */
  readonly database: string
  /** Its tables are on all nodes of a cluster; `url` is one of these. */
  readonly cluster?: Cluster
  /** A request that takes longer fails. Default 30,000. */
  readonly requestTimeoutMs?: number
}

/** A healthy answer. */
export interface ClickHouseAnswer {
  /** Of the server, such as 26.7.2.1. */
  readonly version: string
  readonly responseTimeMs: number
}

/** `@clickhouse/client` for one database, and a check whether it can be used. */
export interface ClickHouse {
  readonly client: ClickHouseClient
  /** Runs a query, so that a wrong password or database shows too, which ClickHouse's own /ping does not. */
  ping(timeoutMs?: number): Promise<ClickHouseAnswer | Problem<'clickhouse_unavailable'>>
  close(): Promise<void>
}

const REQUEST_TIMEOUT_MS = 30_000
const PING_TIMEOUT_MS = 2_000

/** Creates a client; nothing is sent before the first use. */
export function createClickHouse(options: ClickHouseOptions): ClickHouse {
  const client = createClient({
    url: options.url,
    username: options.user,
    password: options.password,
    database: options.database,
    application: 'penstock',
    request_timeout: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
    log: { level: ClickHouseLogLevel.OFF }, // failures are returned or thrown, and logged by who knows what they mean
  })

  return {
    client,
    close: () => client.close(),
    async ping(timeoutMs = PING_TIMEOUT_MS) {
      const startedAt = performance.now()
      try {
        const result = await client.query({
          query: 'SELECT version() AS version',
          format: 'JSONEachRow',
          abort_signal: AbortSignal.timeout(timeoutMs),
        })
        const [row] = await result.json<{ version: string }>()
        return { version: row?.version ?? 'unknown', responseTimeMs: performance.now() - startedAt }
      } catch (error) {
        return problem('clickhouse_unavailable', `ClickHouse at ${options.url} does not answer: ${reasonOf(error)}`)
      }
    },
  }
}
