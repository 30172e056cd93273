import { runLoad } from '../load/generator.ts'
import { figuresOf } from '../measure/load.ts'
import type { Bench, Figures, Scenario } from '../scenario.ts'
import { EVENTS_PATH } from '../workload/penstock-requests.ts'
import { waitFor } from '../system/clickhouse.ts'
import { BATCHES, SINGLES, writeEventRequests } from '../workload/penstock-requests.ts'
import { freePort } from '../../src/sink/engine-setup.ts'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { BATCH_CONNECTIONS, BATCH_EVENTS } from './batch.ts'

/** What the generator can send at most: a server that only answers. Figures near these say nothing about Penstock. */
export const generator: Scenario = {
  name: 'generator',
  title: 'the same requests against a server in Bun that reads nothing and answers 201: the ceiling of the generator',
  isInShort: false,
  async run(bench) {
    const port = freePort()
    bench.resources.track(
      spawn(process.execPath, [join(import.meta.dir, '../load/idle-server.ts'), String(port)], { stdio: 'ignore' }),
    )
    const url = `http://127.0.0.1:${port}`
    await waitFor('the idle server', 10_000, () =>
      fetch(`${url}${EVENTS_PATH}`).then(
        () => true,
        () => undefined,
      ),
    )
    const ceiling = (eventsPerRequest: number, requests: number, connections: number) =>
      measureCeiling(bench, url, { eventsPerRequest, requests, connections })
    return {
      rows: [
        { label: `${BATCH_EVENTS} a request`, figures: await ceiling(BATCH_EVENTS, BATCHES, BATCH_CONNECTIONS) },
        { label: '1 a request', figures: await ceiling(1, SINGLES, 256) },
      ],
    }
  },
}

async function measureCeiling(
  bench: Bench,
  url: string,
  plan: { readonly eventsPerRequest: number; readonly requests: number; readonly connections: number },
): Promise<Figures> {
  const { resources } = bench
  const directory = resources.directory('requests')
  const requests = writeEventRequests({ directory, host: new URL(url).host, keys: ['nobody'], ...plan })
  const { connections } = plan
  const load = await runLoad({ resources, url, requests, connections, seconds: Math.min(5, bench.seconds) })
  const acknowledgedEventsPerSecond = (load.requests * plan.eventsPerRequest * 1000) / load.durationMs
  return { ...figuresOf(load, plan), acknowledgedEventsPerSecond }
}
