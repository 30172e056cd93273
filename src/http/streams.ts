/**
 * The open WebSockets: bounded in number, asked whether they are still there, and ended when the collector stops. What is said on one is
 * for `protocols/stream.ts`.
 *
 * Bounded because each may hold the beginning of a message, up to its limit, which only the server under us sees: it is told of no sooner
 * than when the message is complete.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { WebSocketHandler } from 'bun'
import { type Rejection, reject } from '../rejection.ts'

/** One open socket, as this list needs it. */
export interface Stream {
  readonly tenantId: string
  /** Whether it has shown a sign of life since the last call; asks it for the next one. */
  beat(): boolean
  /** The other side is gone: ends it without a word. */
  terminate(): void
  /** Takes no more messages, answers those it has, and closes. */
  end(): Promise<void>
  readonly isPaused: boolean
}

/** Every socket is pinged so often, and closed when the pong to the ping before has not come. */
const PING_INTERVAL_MS = 30_000

/** Bytes of answers that a client may leave unread before it is cut off; reading stops long before. */
const UNREAD_BYTES_MAX = 8 * 1024 * 1024

/** Bun's options for all sockets. Beyond `maxPayloadLength` it closes with 1009. Not compressed: that costs memory for each socket. */
export function socketOptions(messageBytesMax: number) {
  return {
    maxPayloadLength: messageBytesMax,
    idleTimeout: (4 * PING_INTERVAL_MS) / 1000, // the pings come first
    sendPings: false, // they come from here
    perMessageDeflate: false,
    backpressureLimit: UNREAD_BYTES_MAX,
    closeOnBackpressureLimit: true,
  } satisfies Partial<WebSocketHandler<unknown>>
}

/** What one tenant may have of all that may be open. */
const TENANT_SHARE = 0.5

export class Streams {
  private readonly open = new Set<Stream>()
  private readonly openByTenant = new Map<string, number>()
  private readonly streamsMax: number
  private readonly tenantStreamsMax: number
  private readonly stopping = new AbortController()
  private readonly beating: Promise<void>

  constructor(streamsMax: number, pingIntervalMs = PING_INTERVAL_MS) {
    this.streamsMax = streamsMax
    this.tenantStreamsMax = Math.ceil(streamsMax * TENANT_SHARE)
    this.beating = this.beat(pingIntervalMs)
  }

  /** Why there may be no further one of this tenant now; undefined: there may. */
  refusal(tenantId: string): Rejection | undefined {
    const isFull = this.open.size >= this.streamsMax
    if (!isFull && (this.openByTenant.get(tenantId) ?? 0) < this.tenantStreamsMax) return undefined
    const message = isFull ? `${this.streamsMax} streams` : `${this.tenantStreamsMax} streams of this tenant`
    return reject('overloaded', `${message} are open already, as many as may be: see STREAMS_MAX`)
  }

  add(stream: Stream): void {
    const { tenantId } = stream
    this.open.add(stream)
    this.openByTenant.set(tenantId, (this.openByTenant.get(tenantId) ?? 0) + 1)
    if (this.stopping.signal.aborted) void stream.end()
  }

  delete(stream: Stream): void {
    if (!this.open.delete(stream)) return
    const left = (this.openByTenant.get(stream.tenantId) ?? 0) - 1
    if (left > 0) this.openByTenant.set(stream.tenantId, left)
    else this.openByTenant.delete(stream.tenantId)
  }

  stats() {
    let paused = 0
    for (const stream of this.open) if (stream.isPaused) paused++
    return { connections: this.open.size, paused }
  }

  /** Ends all sockets, each after its last answer. */
  async close(): Promise<void> {
    this.stopping.abort()
    await Promise.all([this.beating, ...Array.from(this.open, (stream) => stream.end())])
  }

  private async beat(intervalMs: number): Promise<void> {
    const { signal } = this.stopping
    for (;;) {
      await sleep(intervalMs, undefined, { signal, ref: false }).catch(() => undefined)
      if (signal.aborted) return
      for (const stream of [...this.open]) if (!stream.beat()) stream.terminate()
    }
  }
}
