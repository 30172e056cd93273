import { openControl } from '../../src/control/open-control.ts'
import { isProblem } from '../../src/problem.ts'
import { compare } from '../measure/ratio.ts'
import type { Scenario } from '../scenario.ts'
import { BATCH_CONNECTIONS, BATCH_EVENTS } from './batch.ts'

const TENANTS = 1000

/** Many tenants at one time: one of them in every request, a different one in the next. */
export const tenants: Scenario = {
  name: 'tenants',
  title: `1 tenant against ${TENANTS}, which take turns: CPU per event`,
  isInShort: false,
  async run(bench) {
    // As many different requests as tenants on both sides.
    const plan = { connections: BATCH_CONNECTIONS, eventsPerRequest: BATCH_EVENTS, requests: TENANTS }
    const rows = await compare(bench, plan, [
      { label: '1 tenant', keys: (dataDir) => makeTenants(dataDir, 1) },
      { label: `${TENANTS} tenants`, keys: (dataDir) => makeTenants(dataDir, TENANTS) },
    ])
    return { rows, notes: ['the CPU of ClickHouse is that of a replay of the same log, with one merge of everything'] }
  },
}

/** Makes tenants with a workspace each; gives their keys. In this process: the command line would take a minute for so many. */
export async function makeTenants(dataDir: string, count: number): Promise<string[]> {
  const control = await openControl({ dataDir })
  if (isProblem(control)) throw new Error(control.message)
  const keys: string[] = []
  for (let number = 0; number < count; number++) {
    const made = await control.provision({ tenant: `tenant-${number}`, workspace: 'bench', tier: 'unlimited' })
    if (isProblem(made)) throw new Error(made.message)
    keys.push(made.secretKey)
  }
  await control.close()
  return keys
}
