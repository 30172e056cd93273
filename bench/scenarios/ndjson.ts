import { EVENTS_PATH } from '../workload/penstock-requests.ts'
import { run } from '../load/generator.ts'
import { CountMismatch } from '../measure/counts.ts'
import { flushed, measure, settledStats } from '../measure/load.ts'
import type { Bench, Scenario } from '../scenario.ts'
import { type Penstock, provision, startPenstock } from '../system/penstock.ts'
import { type UploadFile, writeUploadFile } from '../workload/upload-file.ts'

const MiB = 1024 * 1024
const CONNECTIONS = 4
const FILE_BYTES = 32 * MiB
const FILE_SHORT_BYTES = 8 * MiB

/** Streamed bulk uploads, with curl: wrk cannot stream. The times are those of whole uploads. */
export const ndjson: Scenario = {
  name: 'ndjson',
  title: `NDJSON uploads of ${FILE_BYTES / MiB} MiB on ${CONNECTIONS} connections, one behind another`,
  isInShort: true,
  async run(bench) {
    const { resources } = bench
    const directory = resources.directory('uploads')
    const fileBytes = bench.isShort ? FILE_SHORT_BYTES : FILE_BYTES
    const files = Array.from({ length: CONNECTIONS }, (_, index) => writeUploadFile(directory, index + 1, fileBytes))
    const dataDir = resources.directory('data')
    const key = await provision(resources, dataDir, 'bench')
    const penstock = await startPenstock({ resources, dataDir })
    if (!bench.isShort) {
      await uploadAll(bench, penstock, key, files, 0) // warm-up: one upload on every connection
      await flushed(penstock)
    }

    let uploads: readonly number[] = []
    const { figures, notes } = await measure(bench, penstock, async () => {
      const before = await settledStats(penstock)
      const begun = performance.now()
      const sent = await uploadAll(bench, penstock, key, files, bench.seconds * 1000)
      const endedAt = performance.now()
      const events = (await settledStats(penstock)).events.accepted - before.events.accepted
      if (events !== sent.events)
        throw new CountMismatch(`the answers acknowledge ${sent.events} events, Penstock counted ${events}`)
      uploads = sent.durationsMs.sort((a, b) => a - b)
      return { events, durationMs: endedAt - begun, endedAt }
    })
    const p50Ms = uploads[Math.floor(uploads.length / 2)] ?? 0
    return {
      rows: [
        {
          label: `${fileBytes / MiB} MiB uploads`,
          figures: { connections: CONNECTIONS, p50Ms, p99Ms: uploads.at(-1) ?? 0, ...figures },
        },
      ],
      notes: [`${uploads.length} uploads; p50 is an upload’s middle time, p99 the longest`, ...notes],
    }
  },
}

/** Uploads on all connections; each begins another one as long as there is time. */
async function uploadAll(bench: Bench, penstock: Penstock, key: string, files: readonly UploadFile[], forMs: number) {
  const deadline = performance.now() + forMs
  const durationsMs: number[] = []
  let events = 0
  const connections = files.map(async (file) => {
    do {
      const begun = performance.now()
      await upload(bench, penstock, key, file)
      durationsMs.push(performance.now() - begun)
      events += file.events
    } while (performance.now() < deadline)
  })
  await Promise.all(connections)
  return { events, durationsMs }
}

/** One upload, streamed from the file; throws unless every event of it was accepted. */
async function upload(bench: Bench, penstock: Penstock, key: string, file: UploadFile): Promise<void> {
  const headers = [`API-Key: ${key}`, 'Content-Type: application/x-ndjson', 'Expect:', 'Transfer-Encoding: chunked']
  const answer = await run(bench.resources, 'curl', [
    ...['--silent', '--show-error', '--request', 'POST', '--upload-file', file.path],
    ...headers.flatMap((header) => ['--header', header]),
    ...['--write-out', ' %{http_code}', `${penstock.url}${EVENTS_PATH}`],
  ])
  if (answer !== `{"accepted":${file.events},"rejected":0} 201`)
    throw new CountMismatch(`an upload of ${file.events} events was answered with ${answer}`)
}
