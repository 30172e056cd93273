/** Metrics of several workers on one port: whichever is asked answers for all. */
import { afterAll, expect, test } from 'bun:test'
import { mergeWorkers } from '../../src/telemetry/workers.ts'
import { type Collector, startCollector, waitUntil } from '../support/collector.ts'
import { newHomeWithoutEngine } from '../support/engine.ts'
import { makeDrafts } from '../support/event-drafts.ts'
import { Exposition, scrape } from '../support/exposition.ts'
import { startTestRedis } from '../support/redis.ts'
import { workerPid } from '../support/workers.ts'

const redis = await startTestRedis()
const { home } = newHomeWithoutEngine({ WORKERS: '2', REDIS_URL: redis.url })
let collector: Collector | undefined

afterAll(async () => {
  await collector?.kill9()
  home.remove()
  await redis.dispose()
})

test('samples of all workers come family by family, each with its worker', () => {
  const text = (value: number) =>
    `# HELP a What.\n# TYPE a counter\na{b="{c"} ${value}\na ${value}\n# HELP d Else.\n# TYPE d gauge\nd 1\n`
  expect(
    mergeWorkers([
      [0, text(1)],
      [1, null],
      [2, text(3)],
    ]),
  ).toBe(`# HELP a What.
# TYPE a counter
a{worker="0",b="{c"} 1
a{worker="0"} 1
a{worker="2",b="{c"} 3
a{worker="2"} 3
# HELP d Else.
# TYPE d gauge
d{worker="0"} 1
d{worker="2"} 1
# HELP penstock_worker_up With WORKERS: whether a worker has given its metrics, 1 or 0. Then every sample has this label.
# TYPE penstock_worker_up gauge
penstock_worker_up{worker="0"} 1
penstock_worker_up{worker="1"} 0
penstock_worker_up{worker="2"} 1
`)
})

test('a scrape has what all workers took', async () => {
  collector = await startCollector({ home, untilFlowing: false })
  const { url, key } = collector
  const headers = { 'api-key': key, connection: 'close' }
  const body = JSON.stringify({ events: makeDrafts(3) })
  await waitUntil(
    'both workers take events',
    async () => (await scrape({ url })).samples('penstock_worker_up').length === 2,
  )
  for (let n = 0; n < 40; n++)
    expect((await fetch(`${url}/v1/events`, { method: 'POST', headers, body })).status).toBe(201)
  for (let n = 0; n < 5; n++) {
    const metrics = new Exposition(await (await fetch(`${url}/metrics`, { headers: { connection: 'close' } })).text())
    expect(metrics.value('penstock_events_accepted_total')).toBe(120)
    expect(metrics.samples('target_info').map(({ labels }) => labels.worker)).toEqual(['0', '1'])
    const instances = metrics.samples('target_info').map(({ labels }) => labels.service_instance_id)
    expect(new Set(instances).size).toBe(2)
  }
})

test('a worker that hangs is left out, and missed', async () => {
  const pid = workerPid(home, 1) as number
  process.kill(pid, 'SIGSTOP')
  try {
    await waitUntil('it is missed', async () => {
      // A connection that comes to the one that hangs has no answer.
      const response = await fetch(`${collector?.url}/metrics`, {
        headers: { connection: 'close' },
        signal: AbortSignal.timeout(4_000),
      })
      const metrics = new Exposition(await response.text())
      const up = metrics.samples('penstock_worker_up').map(({ value }) => value)
      return up[0] === 1 && up[1] === 0 && metrics.samples('process_uptime_seconds').length === 1
    })
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  const all = async () =>
    (await scrape(collector as Collector)).samples('penstock_worker_up').every(({ value }) => value === 1)
  await waitUntil('it is back', all)
})
