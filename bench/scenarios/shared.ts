import { type Alternated, alternate, type Side } from '../measure/alternate.ts'
import { verifyIds } from '../measure/counts.ts'
import { type LoadPlan, measureLoad, warmUp } from '../measure/load.ts'
import type { Bench, Row, Scenario } from '../scenario.ts'
import { type Penstock, provisionKeys, startPenstock } from '../system/penstock.ts'
import { cpuUs, memory } from '../system/processes.ts'
import { REDIS_MISSING, type Redis, startRedis } from '../system/redis.ts'
import { writeEventRequests } from '../workload/penstock-requests.ts'
import { LARGE_LIMIT, MANY, ONE, type Size } from './ids.ts'

const MiB = 1024 * 1024
const ROUNDS = 2

const SIZES: readonly Size[] = [MANY, ONE]

interface Collector {
  readonly name: string
  readonly penstock: Penstock
  readonly key: string
  /** Undefined: it shares nothing. */
  readonly redis: Redis | undefined
}

/** What it costs that several collectors could share limits and deduplication: one that keeps both in Redis, against one that does not. */
export const shared: Scenario = {
  name: 'shared',
  title:
    'limits and deduplication in memory against both in Redis, an id in every event: full load, then paced at half of it',
  isInShort: false,
  async run(bench) {
    const redis = await startRedis(bench.resources)
    if (redis === undefined) return { rows: [], notes: [REDIS_MISSING] }
    const collectors = [await start(bench, 'memory', undefined), await start(bench, 'Redis', redis)]
    const rows: Row[] = []
    const notes: string[] = []
    const series: object[] = []
    for (const size of SIZES) {
      const full = await run(bench, collectors, size, 'full')
      const slowest = Math.min(...full.rows.map(({ figures }) => figures.requestsPerSecond ?? 0))
      const paced = await run(bench, collectors, size, 'paced', Math.round(slowest / 2))
      const name = `${size.eventsPerRequest} a request`
      const ratio = full.ratio(`× ${name}`, `${name}, Redis, full`, `${name}, memory, full`)
      const [before = 0, after = 0] = paced.rows.map(({ figures }) => figures.p99Ms ?? 0)
      rows.push(...full.rows, ...paced.rows)
      rows.push({ ...ratio, figures: { ...ratio.figures, p99AddedMs: after - before } })
      notes.push(...full.notes, ...paced.notes)
      series.push(...full.series, ...paced.series)
    }
    for (const { penstock } of collectors) await verifyIds(penstock.clickhouse)
    const said = [
      await questions(collectors),
      `Redis holds ${Math.round(memory(redis.pid).rssBytes / MiB)} MiB at the end`,
    ]
    return { rows, notes: [...said, ...notes], series }
  },
}

async function start({ resources }: Bench, name: string, redis: Redis | undefined): Promise<Collector> {
  const dataDir = resources.directory('data')
  const { secretKey } = await provisionKeys(resources, dataDir, 'bench', LARGE_LIMIT)
  const environment = redis === undefined ? {} : { REDIS_URL: redis.url }
  return { name, penstock: await startPenstock({ resources, dataDir, environment }), key: secretKey, redis }
}

async function run(
  bench: Bench,
  collectors: readonly Collector[],
  size: Size,
  kind: string,
  requestsPerSecond?: number,
): Promise<Alternated> {
  const pace = requestsPerSecond === undefined ? {} : { requestsPerSecond }
  const sides: Side[] = []
  for (const collector of collectors) {
    const { penstock } = collector
    const directory = bench.resources.directory('requests')
    const keys = [collector.key]
    const requests = writeEventRequests({ ...size, directory, host: penstock.host, keys, hasIds: true })
    const plan = { requests, connections: size.connections, seconds: bench.seconds, ...pace }
    if (requestsPerSecond === undefined) await warmUp(bench, penstock, plan)
    const label = `${size.eventsPerRequest} a request, ${collector.name}, ${kind}`
    sides.push({ label, measure: () => measureWithRedis(bench, collector, plan) })
  }
  return alternate(bench, sides, ROUNDS)
}

async function measureWithRedis(bench: Bench, { penstock, redis }: Collector, plan: LoadPlan) {
  if (redis === undefined) return measureLoad(bench, penstock, plan)
  const before = cpuUs(redis.pid)
  const { figures, notes } = await measureLoad(bench, penstock, plan)
  return { notes, figures: { ...figures, redisCpuUs: (cpuUs(redis.pid) - before) / (figures.events ?? 1) } }
}

/** Whether Redis was asked at all: what a collector decides without it is not what is measured here. */
async function questions(collectors: readonly Collector[]): Promise<string> {
  const [, sharing] = collectors
  const { limits, dedupe } = (await sharing?.penstock.stats()) ?? {}
  const { unasked } = dedupe?.shared ?? {}
  return (
    `without asking Redis: ${limits?.decided_alone ?? 'all'} requests were let through by the limit, ` +
    `${unasked ?? 'all'} events taken for new`
  )
}
