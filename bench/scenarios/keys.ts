import { compare } from '../measure/ratio.ts'
import type { Scenario } from '../scenario.ts'
import { BATCHES } from '../workload/penstock-requests.ts'
import { BATCH_CONNECTIONS, BATCH_EVENTS } from './batch.ts'
import { makeTenants } from './tenants.ts'

const PER_EVENT = 5
const DISTINCT = 300

/** A workspace whose events have many different properties: as many an event on both sides, but other ones. */
export const keys: Scenario = {
  name: 'keys',
  title: `${PER_EVENT} distinct property keys against ${DISTINCT} in one workspace, ${PER_EVENT} an event: CPU per event`,
  isInShort: false,
  async run(bench) {
    const plan = { connections: BATCH_CONNECTIONS, eventsPerRequest: BATCH_EVENTS, requests: BATCHES }
    const one = (dataDir: string) => makeTenants(dataDir, 1)
    const rows = await compare(bench, plan, [
      { label: `${PER_EVENT} keys`, keys: one, flatKeys: { distinct: PER_EVENT, perEvent: PER_EVENT } },
      { label: `${DISTINCT} keys`, keys: one, flatKeys: { distinct: DISTINCT, perEvent: PER_EVENT } },
    ])
    return { rows, notes: ['the CPU of ClickHouse is that of a replay of the same log, with one merge of everything'] }
  },
}
