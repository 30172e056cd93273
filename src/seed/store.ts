/** What ClickHouse has of a workspace. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { WorkspaceName } from '../control/workspace-record.ts'
import { isProblem, type Problem, problem, reasonOf } from '../problem.ts'
import { type ClickHouseOptions, createClickHouse } from '../sink/clickhouse.ts'

/** The table `events`, asked. */
export interface Store {
  /** Events of a workspace. */
  count(workspace: WorkspaceName): Promise<number | Problem<'store_unavailable'>>
  /** Waits until a workspace has so many events, in aggregates too; false when they do not come. */
  holds(workspace: WorkspaceName, events: number): Promise<boolean>
  close(): Promise<void>
}

const POLL_INTERVAL_MS = 200
/** Gives up when no more have arrived for so long. */
const PATIENCE_MS = 15_000
const ANSWER_WITHIN_MS = 10_000

const COUNT = `
SELECT count() AS events FROM events
WHERE tenant_id = {tenant: String} AND workspace_id = {workspace: String}`

/** Views get their rows after the table: inserts that have run for so many seconds or longer, by the collectors' own user. */
const OLD_INSERTS =
  "SELECT count() AS inserts FROM system.processes WHERE query_kind = 'Insert' AND elapsed >= {seconds: Float64}"

/** Nothing is asked before the first use. */
export function openStore(clickhouse: ClickHouseOptions): Store {
  const { url } = clickhouse
  const { client, close } = createClickHouse({ ...clickhouse, requestTimeoutMs: ANSWER_WITHIN_MS })

  const count: Store['count'] = async ({ tenant, workspace }) => {
    try {
      const result = await client.query({
        query: COUNT,
        query_params: { tenant, workspace },
        format: 'JSONEachRow',
      })
      const [row] = await result.json<{ events: string }>()
      return Number(row?.events)
    } catch (error) {
      return problem('store_unavailable', `ClickHouse at ${url}: ${reasonOf(error).split('\n')[0]}`)
    }
  }

  /** Waits until the inserts that run now are over, views and all. */
  const settle = async () => {
    const begunMs = performance.now()
    for (; performance.now() - begunMs < PATIENCE_MS; await sleep(POLL_INTERVAL_MS)) {
      const seconds = (performance.now() - begunMs) / 1000
      const result = await client.query({ query: OLD_INSERTS, query_params: { seconds }, format: 'JSONEachRow' })
      const [row] = await result.json<{ inserts: string }>()
      if (Number(row?.inserts) === 0) return true
    }
    return false
  }

  return {
    count,
    close,
    async holds(workspace, events) {
      let most = 0
      for (let grownMs = performance.now(); performance.now() - grownMs < PATIENCE_MS; await sleep(POLL_INTERVAL_MS)) {
        const stored = await count(workspace)
        if (isProblem(stored)) continue
        if (stored >= events) return await settle().catch(() => true) // a user who may not look there
        if (stored > most) grownMs = performance.now()
        most = Math.max(most, stored)
      }
      return false
    },
  }
}
