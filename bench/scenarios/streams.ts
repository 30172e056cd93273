import { setTimeout as sleep } from 'node:timers/promises'
import { STREAM_PATH } from '../../src/protocols/stream-handshake.ts'
import { openStreams, type StreamResult } from '../load/streams.ts'
import { CountMismatch } from '../measure/counts.ts'
import { figuresOf, flushed, measure, settledStats } from '../measure/load.ts'
import type { Bench, Figures, Row, Scenario } from '../scenario.ts'
import { type Penstock, provision, startPenstock } from '../system/penstock.ts'
import { memory } from '../system/processes.ts'
import { SINGLES } from '../workload/penstock-requests.ts'
import { type MessageFile, writeMessages } from '../workload/stream-messages.ts'

const KiB = 1024
/** How long memory is left alone before it is read. */
const SETTLE_MS = 2_000
const WARM_UP_SECONDS = 2

interface Load {
  readonly connections: number
  readonly eventsPerMessage: number
  /** Messages of a connection that wait for their answers. */
  readonly window: number
}

const WINDOW = 4

const LOADS: readonly Load[] = [
  { connections: 200, eventsPerMessage: 1, window: WINDOW },
  { connections: 2000, eventsPerMessage: 1, window: WINDOW },
  { connections: 200, eventsPerMessage: 20, window: WINDOW },
  // Penstock reads no further at 256 messages, and says so: nothing is lost by that.
  { connections: 10, eventsPerMessage: 1, window: 1000 },
]
const SHORT_LOADS: readonly Load[] = [{ connections: 20, eventsPerMessage: 1, window: WINDOW }]

/** Events over WebSockets: at full speed, and paced at half of that; and what a connection costs in memory. */
export const streams: Scenario = {
  name: 'streams',
  title: `WebSockets, up to ${WINDOW} messages of each without an answer: full load, then paced at half of the rate found`,
  isInShort: true,
  async run(bench) {
    const rows: Row[] = []
    const notes: string[] = []
    for (const load of bench.isShort ? SHORT_LOADS : LOADS) {
      const label = nameOf(load)
      bench.say(label)
      const found = await measureStreams(bench, load, label)
      rows.push(...found.rows)
      notes.push(...found.notes)
    }
    return { rows, notes }
  },
}

function nameOf({ connections, eventsPerMessage, window }: Load): string {
  const said = window === WINDOW ? '' : `, ${window} unanswered`
  return `${connections} connections, ${eventsPerMessage} a message${said}`
}

async function measureStreams(bench: Bench, load: Load, label: string) {
  const { resources } = bench
  const dataDir = resources.directory('data')
  const key = await provision(resources, dataDir, 'bench')
  const penstock = await startPenstock({ resources, dataDir })
  const directory = resources.directory('messages')
  const messages = writeMessages(directory, Math.ceil(SINGLES / load.eventsPerMessage), load.eventsPerMessage)
  const side = { bench, penstock, key, messages, load }
  const isPaced = !bench.isShort && load.window === WINDOW
  const weight = isPaced ? { connectionKiB: await weigh(side) } : {}
  if (!bench.isShort) {
    await (await openSide(side, WARM_UP_SECONDS)).send()
    await flushed(penstock)
  }
  const full = await measureSending(side)
  const rows: Row[] = [{ label: `${label}: full`, figures: { ...full.figures, ...weight } }]
  const notes = [...full.notes]
  if (isPaced) {
    const half = await measureSending(side, Math.round((full.figures.requestsPerSecond ?? 0) / 2))
    rows.push({ label: `${label}: half of it`, figures: half.figures })
    notes.push(...half.notes)
  }
  await penstock.stop()
  return { rows, notes: notes.map((note) => `${label}: ${note}`) }
}

interface Sending {
  readonly bench: Bench
  readonly penstock: Penstock
  readonly key: string
  readonly messages: MessageFile
  readonly load: Load
}

/** Memory that a connection takes which sends nothing, in KiB; of a Penstock that has done nothing yet, and so has none to reuse. */
async function weigh(side: Sending): Promise<number> {
  const { penstock, load } = side
  // What the first connections bring in, code above all, is not the others'.
  await (await openSide({ ...side, load: { ...load, connections: 20 } }, 1, 20)).send()
  const before = await settledRss(penstock)
  const open = await openSide(side, 1)
  const after = await settledRss(penstock)
  await open.close()
  return (after - before) / load.connections / KiB
}

/** Opens the connections, sends, and counts. */
async function measureSending(side: Sending, messagesPerSecond?: number) {
  const { bench, penstock, load } = side
  const open = await openSide(side, bench.seconds, messagesPerSecond)
  let result: StreamResult | undefined
  const { figures, notes } = await measure(bench, penstock, async () => {
    const { accepted } = (await settledStats(penstock)).events
    const sent = await open.send()
    result = sent
    const acknowledged = (await settledStats(penstock)).events.accepted - accepted
    verifyStreams(sent, acknowledged, load)
    return { events: acknowledged, durationMs: sent.durationMs, endedAt: sent.endedAt }
  })
  if (result === undefined) return { figures, notes }
  const cost = `the generator took ${(result.cpuUs / result.requests).toFixed(1)} µs of CPU a message`
  const own: Figures = {
    ...figuresOf(result, load),
    ...figures,
    slowDowns: result.slowDowns,
  }
  return { figures: own, notes: [...notes, cost] }
}

function openSide({ bench, penstock, key, messages, load }: Sending, seconds: number, messagesPerSecond?: number) {
  const { resources } = bench
  const url = `ws://${penstock.host}${STREAM_PATH}`
  const pace = messagesPerSecond === undefined ? {} : { messagesPerSecond }
  return openStreams({ ...load, resources, url, key, messages, seconds, ...pace })
}

/** Every answer came, and says what Penstock counted. */
function verifyStreams(sent: StreamResult, accepted: number, { eventsPerMessage }: Load): void {
  const { requests, events, refused, broken } = sent
  if (refused > 0) throw new CountMismatch(`${refused} messages were refused`)
  if (broken > 0) throw new CountMismatch(`${broken} connections broke, or messages were not answered`)
  if (events !== accepted || events !== requests * eventsPerMessage)
    throw new CountMismatch(
      `${requests} messages of ${eventsPerMessage} were acknowledged as ${events} events, Penstock accepted ${accepted}`,
    )
}

async function settledRss(penstock: Penstock): Promise<number> {
  await sleep(SETTLE_MS)
  return memory(penstock.pid).rssBytes
}
