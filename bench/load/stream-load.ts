/**
 * The load generator for WebSockets, a process of its own: opens all of them, says OPEN, waits for a line on its standard input, sends,
 * waits for the last answer and prints a line of result.
 *
 *     bun stream-load.ts URL <key> <message file> <messages per second, 0 = as many as the windows let through>
 *                        <connections> <seconds> <window: messages of a connection without an answer>
 *
 * Paced, one timetable holds for all connections, which take turns; where a window is full the next connection takes the message.
 * Latency counts from when a message was due: up to a millisecond of it, or two, is this process's timer.
 */
import { readFileSync } from 'node:fs'
import { Latencies } from './latencies.ts'
import { StreamClient } from './stream-client.ts'

const [url = '', key = '', path = '', ...numbers] = process.argv.slice(2)
const [perSecond = 0, connections = 1, seconds = 1, window = 1] = numbers.map(Number)

/** Handshakes side by side. */
const OPENING_AT_ONCE = 50
/** For what is without an answer at the end. */
const PATIENCE_MS = 20_000
const TICK_MS = 1

const messages = readFileSync(path, 'utf8').trimEnd().split('\n')
const latencies = new Latencies()
const totals = { events: 0, waiting: 0, refused: 0, broken: 0, slowDowns: 0 }
const drained = Promise.withResolvers<void>()
let position = 0
let isOver = false
let lastAnswerAt = 0

const listener = {
  acknowledged(client: StreamClient, latencyMs: number, events: number) {
    latencies.add(latencyMs)
    totals.events += events
    totals.waiting--
    lastAnswerAt = performance.now()
    if (isOver && totals.waiting === 0) drained.resolve()
    if (!isOver && perSecond === 0) send(client, lastAnswerAt)
  },
  refused(text: string) {
    if (totals.refused++ === 0) process.stderr.write(`${text}\n`)
  },
  slowedDown: () => totals.slowDowns++,
  broken() {
    if (++totals.broken === connections) drained.resolve()
  },
}
const clients = Array.from({ length: connections }, () => new StreamClient(listener, window))

function send(client: StreamClient, dueAt: number): boolean {
  const message = messages[position]
  if (message === undefined || !client.send(message, dueAt)) return false
  position = (position + 1) % messages.length
  totals.waiting++
  return true
}

async function openAll(): Promise<void> {
  for (let first = 0; first < connections; first += OPENING_AT_ONCE)
    await Promise.all(clients.slice(first, first + OPENING_AT_ONCE).map((client) => client.open(url, key)))
}

/** Every connection fills its window; answers bring the next messages. */
async function sendAll(durationMs: number): Promise<void> {
  for (const client of clients) while (send(client, performance.now()));
  await Bun.sleep(durationMs)
}

async function sendPaced(begun: number, durationMs: number): Promise<void> {
  let next = 0
  for (let sent = 0; performance.now() - begun < durationMs; await Bun.sleep(TICK_MS)) {
    const due = Math.floor(((performance.now() - begun) * perSecond) / 1000)
    // A round of all connections at most: when all windows are full the messages wait, and count as late.
    for (let tries = connections; sent < due && tries > 0; tries--) {
      const client = clients[next]
      next = (next + 1) % connections
      if (client !== undefined && send(client, begun + (sent * 1000) / perSecond)) {
        sent++
        tries = connections
      }
    }
  }
}

await openAll()
process.stdout.write('OPEN\n')
for await (const _ of process.stdin) break

const cpuBefore = process.cpuUsage()
const begun = performance.now()
await (perSecond === 0 ? sendAll(seconds * 1000) : sendPaced(begun, seconds * 1000))
isOver = true
if (totals.waiting === 0) drained.resolve()
await Promise.race([drained.promise, Bun.sleep(PATIENCE_MS)])
const cpu = process.cpuUsage(cpuBefore)
const result = {
  requests: latencies.count,
  durationUs: Math.round((lastAnswerAt - begun) * 1000),
  errors: { connect: 0, read: totals.broken, write: 0, status: totals.refused, timeout: totals.waiting },
  ...latencies.summary(),
  lateShare: 0,
  events: totals.events,
  slowDowns: totals.slowDowns,
  cpuUs: cpu.user + cpu.system,
}
process.stdout.write(`RESULT ${JSON.stringify(result)}\n`)
for (const client of clients) client.end()
process.exit(0)
