import { measureLoad, warmUp } from '../measure/load.ts'
import type { Bench, Scenario } from '../scenario.ts'
import { type Penstock, provision, startPenstock } from '../system/penstock.ts'
import { BATCHES, writeEventRequests } from '../workload/penstock-requests.ts'
import type { RequestFile } from '../workload/requests.ts'

/** Enough that Penstock never waits for a request, few enough that none waits long. */
export const BATCH_CONNECTIONS = 32
export const BATCH_EVENTS = 100

/** 100 events a request: how producers with some traffic send. */
export const batch: Scenario = {
  name: 'batch',
  title: `${BATCH_EVENTS} events a request, ${BATCH_CONNECTIONS} connections, as fast as answers come`,
  isInShort: true,
  async run(bench) {
    const { penstock, requests } = await startWithBatches(bench)
    const plan = { requests, connections: BATCH_CONNECTIONS, seconds: bench.seconds }
    await warmUp(bench, penstock, plan)
    const { figures, notes } = await measureLoad(bench, penstock, plan)
    return { rows: [{ label: `${BATCH_EVENTS} a request`, figures }], notes }
  },
}

/** A Penstock with its embedded ClickHouse, and requests of 100 events for it. */
export async function startWithBatches(bench: Bench): Promise<{ penstock: Penstock; requests: RequestFile }> {
  const { resources } = bench
  const dataDir = resources.directory('data')
  const key = await provision(resources, dataDir, 'bench')
  const penstock = await startPenstock({ resources, dataDir })
  const requests = writeEventRequests({
    directory: resources.directory('requests'),
    host: penstock.host,
    keys: [key],
    eventsPerRequest: BATCH_EVENTS,
    requests: BATCHES,
  })
  return { penstock, requests }
}
