import { setTimeout as sleep } from 'node:timers/promises'
import { type LoadOptions, runLoad } from '../load/generator.ts'
import type { LoadResult } from '../load/result.ts'
import { alternate, type Side } from '../measure/alternate.ts'
import { CountMismatch, verifyCounts } from '../measure/counts.ts'
import { figuresOf, flushed } from '../measure/load.ts'
import type { Row, Scenario } from '../scenario.ts'
import { provisionKeys, startPenstock } from '../system/penstock.ts'
import { EVENTS_PATH, SINGLES, writeEventRequests } from '../workload/penstock-requests.ts'
import { BATCH_EVENTS } from './batch.ts'

const ROUNDS = 3
/** Of the tier `enterprise`. */
const LIMIT_PER_MINUTE = 10_000
const FLOOD = { timesLimit: 10, connections: 128 }
/** A tenant with some traffic; a second has enough requests for a p99. */
const QUIET = { requestsPerSecond: 250, connections: 16 }
/** The flood is there before the quiet tenant's requests are measured, and longer. */
const FLOOD_AHEAD_SECONDS = 1

const ALONE = 'alone'

/** What a tenant notices of another one that floods: both send at the same time, with keys of their own. */
export const neighbours: Scenario = {
  name: 'neighbours',
  title: `a tenant that sends ${QUIET.requestsPerSecond} requests a second, alone and beside one that floods, in turns`,
  isInShort: false,
  async run(bench) {
    const { resources } = bench
    const dataDir = resources.directory('data')
    const quiet = await provisionKeys(resources, dataDir, 'quiet')
    const limited = await provisionKeys(resources, dataDir, 'limited', `${LIMIT_PER_MINUTE}`)
    const unlimited = await provisionKeys(resources, dataDir, 'unlimited')
    const penstock = await startPenstock({ resources, dataDir })
    const load = (key: string, eventsPerRequest: number): LoadOptions => {
      const directory = resources.directory('requests')
      const requests = writeEventRequests({
        ...{ directory, host: penstock.host, keys: [key], eventsPerRequest },
        requests: Math.ceil(SINGLES / 4 / eventsPerRequest),
      })
      return { resources, url: penstock.url, requests, connections: FLOOD.connections, seconds: bench.seconds }
    }
    const quietLoad = { ...load(quiet.secretKey, 1), ...QUIET }
    const singles = load(limited.secretKey, 1)
    const paced = { ...singles, requestsPerSecond: Math.round((FLOOD.timesLimit * LIMIT_PER_MINUTE) / 60) }
    const floods: readonly (readonly [label: string, flood: LoadOptions | undefined])[] = [
      [ALONE, undefined],
      [`beside ${FLOOD.timesLimit} times the other’s limit`, paced],
      ['beside a limited key, as fast as answers come', singles],
      [
        `beside an unlimited key, ${BATCH_EVENTS} a request, as fast as answers come`,
        load(unlimited.secretKey, BATCH_EVENTS),
      ],
    ]
    const sides = floods.map(
      ([label, flood]): Side => ({
        label,
        async measure() {
          await useUpBurst(limited.secretKey, penstock.url)
          return measureBeside(quietLoad, flood, () => flushed(penstock))
        },
      }),
    )
    const { rows, notes } = await alternate(bench, sides, bench.isShort ? 1 : ROUNDS)
    const { accepted } = (await penstock.stats()).events
    await verifyCounts(penstock.clickhouse, accepted)
    return { rows: [...rows, ...ratios(rows)], notes: [...new Set(notes)] }
  },
}

/** The first events that a key was allowed to save up are none of its limit. */
async function useUpBurst(key: string, url: string): Promise<void> {
  const event = { type: 'burst', timestamp: new Date().toISOString(), session_id: crypto.randomUUID(), properties: {} }
  const body = JSON.stringify({ events: Array.from({ length: BATCH_EVENTS }, () => event) })
  for (let status = 0; status !== 429; ) {
    const response = await fetch(`${url}${EVENTS_PATH}`, { method: 'POST', headers: { 'api-key': key }, body })
    await response.arrayBuffer()
    status = response.status
    if (status !== 201 && status !== 429) throw new CountMismatch(`the flooding tenant was answered with ${status}`)
  }
}

/** The latency of the quiet tenant. Throws when one of its requests was not taken. */
async function measureBeside(quiet: LoadOptions, flood: LoadOptions | undefined, flushed: () => Promise<number>) {
  const seconds = quiet.seconds + 2 * FLOOD_AHEAD_SECONDS
  const flooding = flood === undefined ? undefined : runLoad({ ...flood, seconds })
  await sleep(FLOOD_AHEAD_SECONDS * 1000)
  const load = await runLoad(quiet)
  const other = await flooding
  await flushed()
  if (load.refused > 0 || load.broken > 0)
    throw new CountMismatch(
      `of the quiet tenant ${load.refused} requests were refused and ${load.broken} connections broke`,
    )
  return { figures: { ...figuresOf(load, QUIET), events: load.requests }, notes: notesOn(load, other) }
}

function notesOn(load: LoadResult, other: LoadResult | undefined): string[] {
  const late = `${(load.lateShare * 100).toFixed(1)} % of the requests went out more than 5 ms late`
  if (other === undefined) return [late]
  const perSecond = Math.round((other.requests * 1000) / other.durationMs)
  const refused = ((100 * other.refused) / Math.max(1, other.requests)).toFixed(0)
  return [late, `the other sent ${perSecond} requests a second, ${refused} % of them were refused`]
}

/** Latency beside each flood, divided by that alone. */
function ratios(rows: readonly Row[]): Row[] {
  const alone = rows.find(({ label }) => label === ALONE)?.figures.p99Ms ?? Number.NaN
  return rows
    .filter(({ label }) => label !== ALONE)
    .map(({ label, figures }) => ({
      label: `× ${label}`,
      figures: { p99Ratio: (figures.p99Ms ?? Number.NaN) / alone },
    }))
}
