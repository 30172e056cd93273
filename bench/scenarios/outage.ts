import { setTimeout as sleep } from 'node:timers/promises'
import { runLoad } from '../load/generator.ts'
import { verifyAnswers, verifyCounts } from '../measure/counts.ts'
import { figuresOf, flushed, settledStats } from '../measure/load.ts'
import type { Bench, Scenario, ScenarioResult } from '../scenario.ts'
import { type OwnClickHouse, startOwnClickHouse } from '../system/clickhouse.ts'
import { type Penstock, provision, startPenstock } from '../system/penstock.ts'
import { memory } from '../system/processes.ts'
import { BATCHES, writeEventRequests } from '../workload/penstock-requests.ts'
import { BATCH_CONNECTIONS, BATCH_EVENTS } from './batch.ts'

const MiB = 1024 * 1024
const OUTAGE_SECONDS = 60
const OUTAGE_SHORT_SECONDS = 4
const SAMPLE_MS = 500
/** More than a minute of 800,000 events a second takes; the default of 10 GiB was full after 28 million events. */
const LOG_LIMIT = '32GiB'

/** Takes ClickHouse away and brings it back. */
interface Outage {
  begin(own: OwnClickHouse): Promise<void> | void
  end(own: OwnClickHouse): Promise<void> | void
}

/** ClickHouse is killed in the middle of the load, and stays down. */
export const outage: Scenario = {
  name: 'outage',
  title: `ClickHouse killed and down for ${OUTAGE_SECONDS} s under full load (${BATCH_EVENTS} a request), then back without load`,
  isInShort: true,
  run: (bench) => runOutage(bench, { begin: (own) => own.kill(), end: (own) => own.revive() }),
}

/** ClickHouse hangs: connections stay open, nothing is answered. */
export const freeze: Scenario = {
  name: 'freeze',
  title: `ClickHouse stopped by SIGSTOP for ${OUTAGE_SECONDS} s under full load (${BATCH_EVENTS} a request), then back without load`,
  isInShort: false,
  run: (bench) =>
    runOutage(bench, {
      begin: ({ clickhouse }) => void process.kill(clickhouse.pid, 'SIGSTOP'),
      end: ({ clickhouse }) => void process.kill(clickhouse.pid, 'SIGCONT'),
    }),
}

interface Sample {
  /** Since the outage began. */
  readonly seconds: number
  readonly acceptedEvents: number
  readonly rssMiB: number
  readonly logMiB: number
}

async function runOutage(bench: Bench, { begin, end }: Outage): Promise<ScenarioResult> {
  const { resources } = bench
  const dataDir = resources.directory('data')
  const key = await provision(resources, dataDir, 'bench')
  const own = await startOwnClickHouse(resources)
  const penstock = await startPenstock({
    resources,
    dataDir,
    clickhouse: own.clickhouse,
    environment: { WAL_MAX_BYTES: LOG_LIMIT },
  })
  const requests = writeEventRequests({
    directory: resources.directory('requests'),
    host: penstock.host,
    keys: [key],
    eventsPerRequest: BATCH_EVENTS,
    requests: BATCHES,
  })
  const connections = BATCH_CONNECTIONS
  const load = (seconds: number) => runLoad({ resources, url: penstock.url, requests, connections, seconds })

  const leadSeconds = bench.isShort ? 1 : 5
  const outageSeconds = bench.isShort ? OUTAGE_SHORT_SECONDS : OUTAGE_SECONDS
  const loading = load(leadSeconds + outageSeconds)
  loading.catch(() => undefined) // awaited below
  await sleep(leadSeconds * 1000)
  await begin(own)
  bench.say('ClickHouse is away')
  const samples = await watch(penstock, loading)
  const loaded = await loading
  const { accepted } = (await settledStats(penstock)).events
  verifyAnswers({ load: loaded, eventsPerRequest: BATCH_EVENTS, connections, accepted })

  await end(own)
  bench.say('ClickHouse is back')
  const backAt = performance.now()
  const backlog = accepted - (await own.clickhouse.storedEvents())
  const caughtUpAt = await flushed(penstock)
  await verifyCounts(own.clickhouse, accepted)
  const { peakRssBytes } = memory(penstock.pid)
  const { buffer } = await penstock.stats()
  const figures = {
    ...figuresOf(loaded, { connections }),
    events: accepted,
    outageEventsPerSecond: rate(samples),
    ...flatness(samples),
    peakRssMiB: peakRssBytes / MiB,
    ringMiB: buffer.ring_bytes / MiB,
    backlogEvents: backlog,
    catchUpEventsPerSecond: (backlog * 1000) / (caughtUpAt - backAt),
  }
  return { rows: [{ label: `${outageSeconds} s`, figures }], series: samples }
}

/** Looks at Penstock until the load has ended. */
async function watch(penstock: Penstock, loading: Promise<unknown>): Promise<Sample[]> {
  const samples: Sample[] = []
  const begunAt = performance.now()
  let isOver = false
  const over = loading.finally(() => {
    isOver = true
  })
  over.catch(() => undefined)
  while (!isOver) {
    const { events, buffer } = await penstock.stats()
    samples.push({
      seconds: (performance.now() - begunAt) / 1000,
      acceptedEvents: events.accepted,
      rssMiB: memory(penstock.pid).rssBytes / MiB,
      logMiB: buffer.log_bytes / MiB,
    })
    await Promise.race([over, sleep(SAMPLE_MS)])
  }
  return samples
}

/** Events acknowledged per second between the first and the last sample. */
function rate(samples: readonly Sample[]): number {
  const [first, last] = [samples[0], samples.at(-1)]
  if (first === undefined || last === undefined) return 0
  return (last.acceptedEvents - first.acceptedEvents) / (last.seconds - first.seconds)
}

/** Mean RSS in the last third of the outage, and how much more that is than in its second third: nothing, when memory is flat. */
function flatness(samples: readonly Sample[]) {
  const third = Math.max(1, Math.floor(samples.length / 3))
  const mean = (part: readonly Sample[]) => part.reduce((sum, sample) => sum + sample.rssMiB, 0) / part.length
  const last = mean(samples.slice(-third))
  return { rssAtOutageMiB: last, rssGrowthMiB: last - mean(samples.slice(-2 * third, -third)) }
}
