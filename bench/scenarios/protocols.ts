import { measureLoad, warmUp } from '../measure/load.ts'
import type { Bench, Row, Scenario } from '../scenario.ts'
import { type Penstock, provisionKeys, startPenstock, type WorkspaceKeys } from '../system/penstock.ts'
import { SINGLES } from '../workload/penstock-requests.ts'
import { writeSegmentRequests, writeTrackRequests } from '../workload/protocol-requests.ts'
import type { RequestFile } from '../workload/requests.ts'
import { BATCH_CONNECTIONS } from './batch.ts'
import { SINGLE_CONNECTIONS } from './single.ts'

const SEGMENT_EVENTS = 20
const SEGMENT_REQUESTS = 2_000

interface Protocol {
  readonly label: string
  readonly connections: number
  readonly environment: Readonly<Record<string, string>>
  write(directory: string, host: string, keys: WorkspaceKeys): RequestFile
}

const PROTOCOLS: readonly Protocol[] = [
  {
    label: `Segment, ${SEGMENT_EVENTS} a batch, gzip`,
    connections: BATCH_CONNECTIONS,
    environment: { DEDUPE_WINDOW_MS: '0' },
    write: (directory, host, { secretKey }) =>
      writeSegmentRequests({
        directory,
        host,
        key: secretKey,
        requests: SEGMENT_REQUESTS,
        eventsPerRequest: SEGMENT_EVENTS,
      }),
  },
  {
    label: '/api/track, 1 a request',
    connections: SINGLE_CONNECTIONS,
    environment: {},
    write: (directory, host, { publicKey }) =>
      writeTrackRequests({ directory, host, key: publicKey, requests: SINGLES }),
  },
]

/** The other front doors, as their clients use them. */
export const protocols: Scenario = {
  name: 'protocols',
  title: 'Segment’s API and the browser script’s, as fast as answers come',
  isInShort: false,
  async run(bench) {
    const rows: Row[] = []
    const notes = ['Segment: deduplication is off, because compressed requests are the same in every pass, ids and all']
    for (const protocol of PROTOCOLS) {
      bench.say(protocol.label)
      const measured = await measureProtocol(bench, protocol)
      rows.push({ label: protocol.label, figures: measured.figures })
      notes.push(...measured.notes.map((note) => `${protocol.label}: ${note}`))
    }
    return { rows, notes }
  },
}

async function measureProtocol(bench: Bench, { connections, environment, write }: Protocol) {
  const { resources } = bench
  const dataDir = resources.directory('data')
  const keys = await provisionKeys(resources, dataDir, 'bench')
  const penstock: Penstock = await startPenstock({ resources, dataDir, environment })
  const requests = write(resources.directory('requests'), penstock.host, keys)
  const plan = { requests, connections, seconds: bench.seconds }
  await warmUp(bench, penstock, plan)
  const measured = await measureLoad(bench, penstock, plan)
  await penstock.stop()
  return measured
}
