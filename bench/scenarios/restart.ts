import { fillLog } from '../measure/backlog.ts'
import { verifyCounts } from '../measure/counts.ts'
import { firstAccept } from '../measure/first-accept.ts'
import { flushed } from '../measure/load.ts'
import type { Scenario } from '../scenario.ts'
import { startOwnClickHouse } from '../system/clickhouse.ts'
import { launchPenstock } from '../system/penstock.ts'
import { cpuUs, memory } from '../system/processes.ts'
import { BATCHES } from '../workload/penstock-requests.ts'
import { BATCH_CONNECTIONS, BATCH_EVENTS } from './batch.ts'

const MiB = 1024 * 1024

/** A crash with a full log: Penstock is killed, and started again with ClickHouse there. */
export const restart: Scenario = {
  name: 'restart',
  title: 'a log filled without ClickHouse, Penstock killed (SIGKILL), started again with an empty ClickHouse there',
  isInShort: true,
  async run(bench) {
    const { resources } = bench
    const backlog = await fillLog(bench, {
      eventsPerRequest: BATCH_EVENTS,
      requests: BATCHES,
      connections: BATCH_CONNECTIONS,
      seconds: bench.isShort ? 1 : 2 * bench.seconds,
    })
    await backlog.penstock.kill()
    const { clickhouse } = await startOwnClickHouse(resources)
    const engineCpu = cpuUs(clickhouse.pid)

    const penstock = launchPenstock({ resources, dataDir: backlog.dataDir, clickhouse })
    const firstAcceptMs = await firstAccept(penstock, () => backlog.key)
    const recoveredAt = await flushed(penstock, backlog.events)
    const penstockCpu = cpuUs(penstock.pid)
    const events = backlog.events + (await penstock.stats()).events.accepted
    await verifyCounts(clickhouse, events)
    const figures = {
      backlogEvents: backlog.events,
      recoveryEventsPerSecond: (events * 1000) / (recoveredAt - penstock.startedAt),
      firstAcceptMs,
      penstockCpuUs: penstockCpu / events,
      clickhouseCpuUs: (cpuUs(clickhouse.pid) - engineCpu) / events,
      peakRssMiB: memory(penstock.pid).peakRssBytes / MiB,
    }
    return {
      rows: [{ label: 'after SIGKILL', figures }],
      notes: ['the recovery rate counts from the start of the process; the CPU of ClickHouse is without later merges'],
    }
  },
}
