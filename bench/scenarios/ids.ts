import { alternate, type Side } from '../measure/alternate.ts'
import { verifyIds } from '../measure/counts.ts'
import { measureLoad, warmUp } from '../measure/load.ts'
import type { Bench, Row, Scenario } from '../scenario.ts'
import { type Penstock, provisionKeys, startPenstock } from '../system/penstock.ts'
import { BATCHES, writeEventRequests } from '../workload/penstock-requests.ts'
import type { RequestFile } from '../workload/requests.ts'
import { BATCH_CONNECTIONS, BATCH_EVENTS } from './batch.ts'

/** Events a minute of a key whose limit is counted and never reached. */
export const LARGE_LIMIT = '999999999'

const ROUNDS = 2

const BARE = 'no ids, no limit'
const ID_TEXT = 'ids, not deduplicated, no limit'
const GUARDED = 'ids, deduplicated, limited'
const TWICE = 'the same, every event twice'

/** What deduplication and limits cost, and what a copy costs, compared with the same events without ids. */
export const ids: Scenario = {
  name: 'ids',
  title: `${BATCH_EVENTS} events a request without ids, deduplication and limit, against an id in every event and both, in turns`,
  isInShort: true,
  async run(bench) {
    const guarded = await startSide(bench, LARGE_LIMIT, {})
    const sides: Side[] = []
    if (!bench.isShort) {
      const bare = await startSide(bench, 'unlimited', { DEDUPE_WINDOW_MS: '0' })
      sides.push(await sideOf(bench, BARE, bare.penstock, bare.requests(false)))
      sides.push(await sideOf(bench, ID_TEXT, bare.penstock, bare.requests(true)))
      sides.push(await sideOf(bench, GUARDED, guarded.penstock, guarded.requests(true)))
    }
    sides.push(await sideOf(bench, TWICE, guarded.penstock, guarded.requests(true), true))
    const { rows, notes, ratio } = await alternate(bench, sides, bench.isShort ? 1 : ROUNDS)
    await verifyIds(guarded.penstock.clickhouse)
    const { duplicates } = (await guarded.penstock.stats()).events
    const found = `${duplicates} copies were found, and none is stored`
    if (bench.isShort) return { rows, notes: [found, ...notes] }
    const ratios = [
      ratio(`× ${GUARDED}`, GUARDED, BARE),
      ratio(`× ${ID_TEXT}`, ID_TEXT, BARE),
      ratio(`× ${TWICE}`, TWICE, GUARDED),
    ]
    return { rows: [...rows, ...ratios], notes: [costOfCopy(rows), found, ...notes] }
  },
}

/** Of the events in the last row half are copies, but for the first few; the row before has none. */
function costOfCopy(rows: readonly Row[]): string {
  const [guarded = 0, twice = 0] = rows.slice(-2).map(({ figures }) => figures.penstockCpuUs ?? 0)
  return `a copy costs Penstock ${(2 * twice - guarded).toFixed(2)} µs of CPU`
}

/** A Penstock, and what makes requests for it. */
async function startSide({ resources, isShort }: Bench, tier: string, environment: Readonly<Record<string, string>>) {
  const dataDir = resources.directory('data')
  const { secretKey } = await provisionKeys(resources, dataDir, 'bench', tier)
  const penstock = await startPenstock({ resources, dataDir, environment })
  const requests = (hasIds: boolean) =>
    writeEventRequests({
      directory: resources.directory('requests'),
      host: penstock.host,
      keys: [secretKey],
      eventsPerRequest: BATCH_EVENTS,
      requests: isShort ? BATCHES / 8 : BATCHES,
      hasIds,
    })
  return { penstock, requests }
}

async function sideOf(
  bench: Bench,
  label: string,
  penstock: Penstock,
  requests: RequestFile,
  hasCopies = false,
): Promise<Side> {
  const plan = { requests, connections: BATCH_CONNECTIONS, seconds: bench.seconds, hasCopies }
  await warmUp(bench, penstock, plan)
  return { label, measure: () => measureLoad(bench, penstock, plan) }
}
