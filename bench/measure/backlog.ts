/** A Penstock whose log was filled while ClickHouse was away. */
import { runLoad } from '../load/generator.ts'
import type { Bench } from '../scenario.ts'
import { ClickHouse } from '../system/clickhouse.ts'
import { ENGINE_HOST, freePort } from '../../src/sink/engine-setup.ts'
import { answers, launchPenstock, type Penstock, provision } from '../system/penstock.ts'
import { type EventRequests, writeEventRequests } from '../workload/penstock-requests.ts'
import { verifyAnswers } from './counts.ts'
import { settledStats } from './load.ts'

export interface Backlog {
  /** Still running: stop or kill it. */
  readonly penstock: Penstock
  readonly dataDir: string
  readonly key: string
  /** Acknowledged, and all in the log. */
  readonly events: number
}

/** Starts Penstock with the address of a ClickHouse that is not there, and sends events for some seconds. */
export async function fillLog(
  bench: Bench,
  plan: Pick<EventRequests, 'eventsPerRequest' | 'requests' | 'flatKeys'> & {
    readonly connections: number
    readonly seconds: number
    /** Instead of one new workspace. */
    readonly keys?: (dataDir: string) => Promise<readonly string[]>
    readonly environment?: Readonly<Record<string, string>>
  },
): Promise<Backlog> {
  const { resources } = bench
  const dataDir = resources.directory('backlog')
  const keys = (await plan.keys?.(dataDir)) ?? [await provision(resources, dataDir, 'bench')]
  const nobody = new ClickHouse(`http://${ENGINE_HOST}:${freePort()}`, () => 0)
  const { environment = {} } = plan
  const penstock = launchPenstock({ resources, dataDir, clickhouse: nobody, environment })
  await answers(penstock)
  const requests = writeEventRequests({
    directory: resources.directory('requests'),
    host: penstock.host,
    ...plan,
    keys,
  })
  const { connections, seconds } = plan
  const load = await runLoad({ resources, url: penstock.url, requests, connections, seconds })
  const { events } = await settledStats(penstock)
  verifyAnswers({ load, eventsPerRequest: plan.eventsPerRequest, connections, accepted: events.accepted })
  return { penstock, dataDir, key: keys[0] as string, events: events.accepted }
}
