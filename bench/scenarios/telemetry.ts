import { setTimeout as sleep } from 'node:timers/promises'
import { type Alternated, alternate, type Side } from '../measure/alternate.ts'
import { measureLoad, warmUp } from '../measure/load.ts'
import type { Bench, Scenario } from '../scenario.ts'
import { type Penstock, provision, startPenstock } from '../system/penstock.ts'
import { BATCHES, writeEventRequests } from '../workload/penstock-requests.ts'
import { MANY, ONE, type Size } from './ids.ts'

/** More than elsewhere: what is looked for is 1 or 2 %. */
const ROUNDS = 6
const SCRAPE_INTERVAL_MS = 1000
/** Six times as often as usual, so that a load of 10 s has one. */
const EXPORT_INTERVAL_MS = 10_000

const OFF = 'off'
const OFF_AGAIN = 'off, once more'
const SCRAPED = 'scraped every second'
const SENT = 'OTLP, traces of 1 %'

/** What telemetry costs: as it is and scraped, and sent over OTLP with traces, against switched off. */
export const telemetry: Scenario = {
  name: 'telemetry',
  title: 'telemetry scraped once a second, and sent over OTLP with traces of 1 %, against switched off, in turns',
  isInShort: true,
  isOnRequest: true,
  async run(bench) {
    const otlp = swallowOtlp(bench)
    const sent = { OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url, OTEL_METRIC_EXPORT_INTERVAL: String(EXPORT_INTERVAL_MS) }
    const off = await startCollector(bench, { OTEL_SDK_DISABLED: 'true' })
    const scraped = await startCollector(bench, {})
    const sending = await startCollector(bench, { ...sent, OTEL_TRACES_SAMPLER_ARG: '0.01' })
    const compare = async (size: Size) => {
      const sides = [
        await sideOf(bench, OFF, off, size),
        await sideOf(bench, SCRAPED, scraped, size, true),
        await sideOf(bench, SENT, sending, size),
        await sideOf(bench, OFF_AGAIN, off, size),
      ]
      return alternate(bench, sides, bench.isShort ? 1 : ROUNDS)
    }
    const sizes = bench.isShort ? [{ ...MANY, requests: BATCHES / 8 }] : [MANY, ONE]
    const found: { readonly size: Size; readonly compared: Alternated }[] = []
    for (const size of sizes) found.push({ size, compared: await compare(size) })
    return {
      rows: found.flatMap(({ size, compared }) => [
        ...compared.rows,
        ...[SCRAPED, SENT, OFF_AGAIN].map((name) =>
          compared.ratio(`× ${labelOf(size, name)}`, labelOf(size, name), labelOf(size, OFF)),
        ),
      ]),
      notes: [
        ...found.flatMap(({ compared }) => compared.notes),
        `${otlp.requests} exports came, ${(otlp.bytes / 1024 / 1024).toFixed(1)} MiB`,
        `the ratio of "${OFF_AGAIN}" says how far a ratio may be from 1 by chance`,
      ],
      series: found.flatMap(({ compared }) => compared.series),
    }
  },
}

interface Collector {
  readonly penstock: Penstock
  readonly key: string
}

async function startCollector({ resources }: Bench, environment: Readonly<Record<string, string>>): Promise<Collector> {
  const dataDir = resources.directory('data')
  const key = await provision(resources, dataDir, 'bench')
  return { penstock: await startPenstock({ resources, dataDir, environment }), key }
}

async function sideOf(
  bench: Bench,
  name: string,
  { penstock, key }: Collector,
  size: Size,
  isScraped = false,
): Promise<Side> {
  const directory = bench.resources.directory('requests')
  const requests = writeEventRequests({ ...size, directory, host: penstock.host, keys: [key] })
  const plan = { requests, connections: size.connections, seconds: bench.seconds }
  await warmUp(bench, penstock, plan)
  const measure = () => measureLoad(bench, penstock, plan)
  return { label: labelOf(size, name), measure: isScraped ? () => whileScraping(penstock, measure) : measure }
}

/** What Prometheus would do meanwhile. */
async function whileScraping<Result>({ url }: Penstock, work: () => Promise<Result>): Promise<Result> {
  const stopping = new AbortController()
  const { signal } = stopping
  const scraping = (async () => {
    while (!signal.aborted) {
      const response = await fetch(`${url}/metrics`)
      if (!response.ok || !(await response.text()).includes('penstock_events_accepted_total'))
        throw new Error(`/metrics answers with ${response.status}`)
      await sleep(SCRAPE_INTERVAL_MS, undefined, { signal }).catch(() => undefined)
    }
  })()
  try {
    return await work()
  } finally {
    stopping.abort()
    await scraping
  }
}

/** Takes what is sent over OTLP, and forgets it. */
function swallowOtlp({ resources }: Bench) {
  const taken = { url: '', requests: 0, bytes: 0 }
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      taken.requests++
      taken.bytes += (await request.bytes()).length
      return new Response(null, { headers: { 'content-type': 'application/x-protobuf' } })
    },
  })
  resources.add(() => server.stop(true))
  taken.url = `http://127.0.0.1:${server.port}`
  return taken
}

function labelOf({ eventsPerRequest }: Size, name: string): string {
  return `${eventsPerRequest} a request: ${name}`
}
