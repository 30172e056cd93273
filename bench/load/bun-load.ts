/**
 * The load generator for machines without wrk, a process of its own. Prints the same line of result as `replay.lua`.
 *
 *     bun bun-load.ts URL <request file> <requests per second, 0 = as fast as answers come> <connections> <seconds>
 *         <number of the first pass> <copies: 0 = none, else how many requests a copy comes after its original>
 */
import { Latencies } from './latencies.ts'
import { RequestSource } from './request-source.ts'

const [address = '', path = '', ...numbers] = process.argv.slice(2)
const [rateText = '0', connectionsText = '1', secondsText = '1', firstPassText = '0', copyDistanceText = '0'] = numbers
const url = new URL(address)
const connections = Number(connectionsText)
const intervalMs = Number(rateText) > 0 ? 1000 / Number(rateText) : 0
const durationMs = Number(secondsText) * 1000

const source = new RequestSource(path, Number(firstPassText), Number(copyDistanceText))
const LATE_MS = 5
const errors = { connect: 0, read: 0, write: 0, status: 0, timeout: 0 }
const latencies = new Latencies()
let isOver = false

const HEAD_END = Buffer.from('\r\n\r\n')

class Connection {
  private socket: Bun.Socket | undefined
  private unsent: Uint8Array | undefined
  private heard: Buffer = Buffer.alloc(0)
  private sentAt = 0

  async run(): Promise<void> {
    try {
      this.socket = await Bun.connect({
        hostname: url.hostname,
        port: Number(url.port),
        socket: {
          data: (_socket, bytes) => this.hear(bytes),
          drain: () => this.write(),
          close: () => {
            if (!isOver) errors.read++
          },
          error: () => {
            if (!isOver) errors.write++
          },
        },
      })
    } catch {
      errors.connect++
      return
    }
    this.next()
  }

  end(): void {
    this.socket?.terminate()
  }

  /** The next request, at its time. */
  private next(): void {
    if (isOver) return
    const waitMs = intervalMs === 0 ? 0 : takeDeparture() - performance.now()
    if (waitMs < 1) this.send()
    else setTimeout(() => this.send(), waitMs)
  }

  private send(): void {
    if (isOver) return
    this.unsent = source.next()
    this.sentAt = performance.now()
    this.write()
  }

  private write(): void {
    if (this.unsent === undefined || this.socket === undefined) return
    const written = this.socket.write(this.unsent)
    this.unsent = written === this.unsent.length ? undefined : this.unsent.subarray(Math.max(0, written))
  }

  private hear(bytes: Buffer): void {
    this.heard = this.heard.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.heard, bytes])
    const headEnd = this.heard.indexOf(HEAD_END)
    if (headEnd < 0) return
    const head = this.heard.toString('latin1', 0, headEnd)
    const bodyBytes = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? 0)
    if (this.heard.length < headEnd + HEAD_END.length + bodyBytes) return
    this.heard = Buffer.alloc(0)
    if (isOver) return
    note(performance.now() - this.sentAt, Number(head.slice(9, 12)))
    this.next()
  }
}

let departure = performance.now()
let departures = 0
let lateDepartures = 0
function takeDeparture(): number {
  const now = performance.now()
  if (departure < now - 1000) departure = now
  departure += intervalMs
  departures++
  if (departure < now - LATE_MS) lateDepartures++
  return departure
}

function note(latencyMs: number, status: number): void {
  if (!(status < 400)) errors.status++
  latencies.add(latencyMs)
}

const begun = performance.now()
departure = begun
const all = Array.from({ length: connections }, () => new Connection())
for (const connection of all) connection.run()
setTimeout(() => {
  isOver = true
  const durationUs = Math.round((performance.now() - begun) * 1000)
  for (const connection of all) connection.end()
  const lateShare = lateDepartures / Math.max(1, departures)
  const result = { requests: latencies.count, durationUs, errors, ...latencies.summary(), lateShare }
  process.stdout.write(`RESULT ${JSON.stringify(result)}\n`)
  process.exit(0)
}, durationMs)
