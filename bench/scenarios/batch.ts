import { measureLoad, warmUp } from '../measure/load.ts'
import type { Scenario } from '../scenario.ts'
import { startWithRequests } from '../system/start-with-requests.ts'
import { BATCHES } from '../workload/penstock-requests.ts'

/** Enough that Penstock never waits for a request, few enough that none waits long. */
export const BATCH_CONNECTIONS = 32
export const BATCH_EVENTS = 100

/** 100 events a request: how producers with some traffic send. */
export const batch: Scenario = {
  name: 'batch',
  title: `${BATCH_EVENTS} events a request, ${BATCH_CONNECTIONS} connections, as fast as answers come`,
  isInShort: true,
  async run(bench) {
    const { penstock, requests } = await startWithRequests(bench, BATCH_EVENTS, BATCHES)
    const plan = { requests, connections: BATCH_CONNECTIONS, seconds: bench.seconds }
    await warmUp(bench, penstock, plan)
    const { figures, notes } = await measureLoad(bench, penstock, plan)
    return { rows: [{ label: `${BATCH_EVENTS} a request`, figures }], notes }
  },
}
