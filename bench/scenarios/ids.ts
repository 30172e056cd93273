import { type Alternated, alternate, type Side } from '../measure/alternate.ts'
import { verifyIds } from '../measure/counts.ts'
import { measureLoad, warmUp } from '../measure/load.ts'
import type { Bench, Row, Scenario, ScenarioResult } from '../scenario.ts'
import { type Penstock, provisionKeys, startPenstock } from '../system/penstock.ts'
import { BATCHES, SINGLES, writeEventRequests } from '../workload/penstock-requests.ts'
import { BATCH_CONNECTIONS, BATCH_EVENTS } from './batch.ts'
import { SINGLE_CONNECTIONS } from './single.ts'

/** Events a minute of a key whose limit is counted and never reached. */
export const LARGE_LIMIT = '999999999'

/** How events come. */
export interface Size {
  readonly eventsPerRequest: number
  /** Different ones. */
  readonly requests: number
  readonly connections: number
}

/** 100 a request as in the scenario `batch`, and 1 as in `single`. */
export const MANY: Size = { eventsPerRequest: BATCH_EVENTS, requests: BATCHES, connections: BATCH_CONNECTIONS }
export const ONE: Size = { eventsPerRequest: 1, requests: SINGLES, connections: SINGLE_CONNECTIONS }

const ROUNDS = 2

const BARE = 'no ids, no limit'
const ID_TEXT = 'ids, not deduplicated, no limit'
const GUARDED = 'ids, deduplicated, limited'
const TWICE = 'the same, every event twice'

/** What deduplication and limits cost, and what a copy costs, compared with the same events without ids. */
export const ids: Scenario = {
  name: 'ids',
  title: 'events without ids, deduplication and limit, against an id in every event and both, in turns',
  isInShort: true,
  async run(bench) {
    const guarded = await startCollector(bench, LARGE_LIMIT, {})
    const found = bench.isShort ? await copiesOnly(bench, guarded) : await compareAll(bench, guarded)
    await verifyIds(guarded.penstock.clickhouse)
    const { duplicates } = (await guarded.penstock.stats()).events
    return { ...found, notes: [...(found.notes ?? []), `${duplicates} copies were found, and none is stored`] }
  },
}

async function copiesOnly(bench: Bench, guarded: Collector): Promise<ScenarioResult> {
  const few = { ...MANY, requests: BATCHES / 8 }
  return alternate(bench, [await sideOf(bench, TWICE, guarded, few, { hasIds: true, hasCopies: true })], 1)
}

async function compareAll(bench: Bench, guarded: Collector): Promise<ScenarioResult> {
  const bare = await startCollector(bench, 'unlimited', { DEDUPE_WINDOW_MS: '0' })
  const withIds = { hasIds: true }
  const many = await alternate(
    bench,
    [
      await sideOf(bench, BARE, bare, MANY, {}),
      await sideOf(bench, ID_TEXT, bare, MANY, withIds),
      await sideOf(bench, GUARDED, guarded, MANY, withIds),
      await sideOf(bench, TWICE, guarded, MANY, { hasIds: true, hasCopies: true }),
    ],
    ROUNDS,
  )
  const one = await alternate(
    bench,
    [await sideOf(bench, BARE, bare, ONE, {}), await sideOf(bench, GUARDED, guarded, ONE, withIds)],
    ROUNDS,
  )
  const ratio = ({ ratio }: Alternated, size: Size, side: string, base: string) =>
    ratio(`× ${labelOf(size, side)}`, labelOf(size, side), labelOf(size, base))
  const rows = [
    ...many.rows,
    ratio(many, MANY, GUARDED, BARE),
    ratio(many, MANY, ID_TEXT, BARE),
    ratio(many, MANY, TWICE, GUARDED),
    ...one.rows,
    ratio(one, ONE, GUARDED, BARE),
  ]
  const notes = [...many.notes, ...one.notes, costOfCopy(many.rows)]
  return { rows, notes, series: [...many.series, ...one.series] }
}

/** Of the events in the last row half are copies, but for the first few; the row before has none. */
function costOfCopy(rows: readonly Row[]): string {
  const [guarded = 0, twice = 0] = rows.slice(-2).map(({ figures }) => figures.penstockCpuUs ?? 0)
  return `a copy costs Penstock ${(2 * twice - guarded).toFixed(2)} µs of CPU`
}

interface Collector {
  readonly penstock: Penstock
  readonly key: string
}

async function startCollector({ resources }: Bench, tier: string, environment: Readonly<Record<string, string>>) {
  const dataDir = resources.directory('data')
  const { secretKey } = await provisionKeys(resources, dataDir, 'bench', tier)
  return { penstock: await startPenstock({ resources, dataDir, environment }), key: secretKey }
}

async function sideOf(
  bench: Bench,
  name: string,
  { penstock, key }: Collector,
  size: Size,
  { hasIds = false, hasCopies = false },
): Promise<Side> {
  const directory = bench.resources.directory('requests')
  const requests = writeEventRequests({ ...size, directory, host: penstock.host, keys: [key], hasIds })
  const plan = { requests, connections: size.connections, seconds: bench.seconds, hasCopies }
  await warmUp(bench, penstock, plan)
  return { label: labelOf(size, name), measure: () => measureLoad(bench, penstock, plan) }
}

function labelOf({ eventsPerRequest }: Size, name: string): string {
  return `${eventsPerRequest} a request: ${name}`
}
