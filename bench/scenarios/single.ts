import { measureLoad, warmUp } from '../measure/load.ts'
import type { Scenario } from '../scenario.ts'
import { startWithRequests } from '../system/start-with-requests.ts'
import { SINGLES } from '../workload/penstock-requests.ts'

export const SINGLE_CONNECTIONS = 256

/** One event a request: how browsers send. Latency at full load says how long the queue is; at half load, how fast Penstock is. */
export const single: Scenario = {
  name: 'single',
  title: `1 event a request, ${SINGLE_CONNECTIONS} connections: full load, then paced at half of the rate found`,
  isInShort: true,
  async run(bench) {
    const { penstock, requests } = await startWithRequests(bench, 1, SINGLES)
    const plan = { requests, connections: SINGLE_CONNECTIONS, seconds: bench.seconds }
    await warmUp(bench, penstock, plan)
    const full = await measureLoad(bench, penstock, plan)
    const half = await measureLoad(bench, penstock, {
      ...plan,
      requestsPerSecond: Math.round((full.figures.requestsPerSecond ?? 0) / 2),
    })
    return {
      rows: [
        { label: 'full load', figures: full.figures },
        { label: 'half of it', figures: half.figures },
      ],
      notes: [...full.notes, ...half.notes],
    }
  },
}
