import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { verifyCounts } from '../measure/counts.ts'
import { firstAccept } from '../measure/first-accept.ts'
import { flushed } from '../measure/load.ts'
import type { Bench, Row, Scenario } from '../scenario.ts'
import { launchPenstock } from '../system/penstock.ts'

const TIMES = 5

/** From the start of the process to the first 201, with the embedded ClickHouse: an empty data directory, and one with data. */
export const start: Scenario = {
  name: 'start',
  title: `process start to first 201, and to that event in a query (slowest of ${TIMES})`,
  isInShort: true,
  async run(bench) {
    const times = bench.isShort ? 1 : TIMES
    const empty: Started[] = []
    const warm: Started[] = []
    for (let time = 0; time < times; time++) {
      const dataDir = bench.resources.directory('start')
      empty.push(await measureStart(bench, dataDir, 0))
      warm.push(await measureStart(bench, dataDir, 1))
    }
    const row = (label: string, started: readonly Started[]): Row => ({
      label,
      figures: {
        firstAcceptMs: Math.max(...started.map((one) => one.firstAcceptMs)),
        firstQueryableMs: Math.max(...started.map((one) => one.firstQueryableMs)),
      },
    })
    return { rows: [row('empty directory', empty), row('with data', warm)], series: [...empty, ...warm] }
  },
}

interface Started {
  readonly firstAcceptMs: number
  readonly firstQueryableMs: number
}

async function measureStart(bench: Bench, dataDir: string, stored: number): Promise<Started> {
  const penstock = launchPenstock({ resources: bench.resources, dataDir })
  const firstAcceptMs = await firstAccept(penstock, () => firstKey(dataDir))
  const queryableAt = await flushed(penstock, stored)
  await verifyCounts(penstock.clickhouse, stored + 1)
  await penstock.stop()
  return { firstAcceptMs, firstQueryableMs: queryableAt - penstock.startedAt }
}

/** The key that a first start leaves in the data directory; undefined while it is not there. */
function firstKey(dataDir: string): string | undefined {
  try {
    const made: { readonly secret_key: string } = JSON.parse(readFileSync(join(dataDir, 'first-key.json'), 'utf8'))
    return made.secret_key
  } catch {
    return undefined
  }
}
