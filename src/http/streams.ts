/**
 * The open WebSockets: counted, asked whether they are still there, and ended when the collector stops. What is said on one is for
 * `protocols/stream.ts`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { WebSocketHandler } from 'bun'

/** One open socket, as this list needs it. */
export interface Stream {
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

export class Streams {
  private readonly open = new Set<Stream>()
  private readonly stopping = new AbortController()
  private readonly beating: Promise<void>

  constructor(pingIntervalMs = PING_INTERVAL_MS) {
    this.beating = this.beat(pingIntervalMs)
  }

  add(stream: Stream): void {
    this.open.add(stream)
    if (this.stopping.signal.aborted) void stream.end()
  }

  delete(stream: Stream): void {
    this.open.delete(stream)
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
