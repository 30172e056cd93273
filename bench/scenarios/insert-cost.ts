import { fillLog } from '../measure/backlog.ts'
import { measureInsertCost } from '../measure/insert-cost.ts'
import type { Row, Scenario } from '../scenario.ts'
import { startOwnClickHouse } from '../system/clickhouse.ts'
import { BATCHES, SINGLES } from '../workload/penstock-requests.ts'
import { BATCH_CONNECTIONS, BATCH_EVENTS } from './batch.ts'

const LOADS = [
  {
    label: `${BATCH_EVENTS} a request`,
    eventsPerRequest: BATCH_EVENTS,
    requests: BATCHES,
    connections: BATCH_CONNECTIONS,
  },
  { label: '1 a request', eventsPerRequest: 1, requests: SINGLES, connections: 256 },
]

/** The parts of ClickHouse's CPU, by replaying the very segments of a log; the engine has the machine for itself. */
export const insertCost: Scenario = {
  name: 'insert-cost',
  title:
    'the segments of a log replayed into ClickHouse: CPU per event of the insert, with views, with views and merges',
  isInShort: false,
  async run(bench) {
    const rows: Row[] = []
    const notes: string[] = []
    for (const { label, ...plan } of LOADS) {
      const { penstock, dataDir } = await fillLog(bench, { ...plan, seconds: bench.seconds })
      await penstock.stop()
      const { clickhouse } = await startOwnClickHouse(bench.resources)
      const { isMerged, ...figures } = await measureInsertCost({ dataDir, clickhouse, mergesDeadlineMs: 180_000 })
      if (!isMerged) notes.push(`${label}: merges had not ended`)
      rows.push({ label, figures })
    }
    return { rows, notes }
  },
}
