/** One WebSocket of the load generator: Bun's own, which takes 7 % more CPU a message than frames that were made before. */

/** What Penstock says. */
interface Answer {
  readonly type: 'ack' | 'error' | 'slow_down'
  readonly seq?: number
  readonly accepted?: number
}

export interface StreamListener {
  /** A message was acknowledged; there is room for another one. */
  acknowledged(client: StreamClient, latencyMs: number, events: number): void
  /** An error. */
  refused(text: string): void
  slowedDown(): void
  /** The connection ended before `end` was called. */
  broken(): void
}

/** See the head of this file. */
export class StreamClient {
  private readonly listener: StreamListener
  private readonly freeSlots: number[]
  /** When the message of each slot was due. */
  private readonly since: Float64Array
  private socket: WebSocket | undefined

  /** @param window messages that may be without an answer at one time */
  constructor(listener: StreamListener, window: number) {
    this.listener = listener
    this.freeSlots = Array.from({ length: window }, (_, slot) => slot)
    this.since = new Float64Array(window)
  }

  /** Resolves when messages can be sent; rejects when Penstock refuses. */
  open(url: string, key: string): Promise<void> {
    const opened = Promise.withResolvers<void>()
    const socket = new WebSocket(url, { headers: { 'API-Key': key } })
    this.socket = socket
    socket.onopen = () => opened.resolve()
    socket.onmessage = ({ data }) => this.hear(String(data))
    socket.onclose = ({ code, reason }) => {
      opened.reject(new Error(`the WebSocket was closed: ${code} ${reason}`)) // after `onopen` it says nothing any more
      if (this.socket !== undefined) this.listener.broken()
    }
    return opened.promise
  }

  /**
   * Sends a message, which is known by its slot as `seq`. False: the window is full, nothing was sent.
   * @param dueAt what its latency counts from, on the clock of `performance.now`
   */
  send(events: string, dueAt: number): boolean {
    const slot = this.freeSlots.pop()
    if (slot === undefined || this.socket === undefined) return false
    this.since[slot] = dueAt
    this.socket.send(`{"seq":${slot},"events":${events}}`)
    return true
  }

  end(): void {
    const { socket } = this
    this.socket = undefined
    socket?.terminate()
  }

  private hear(text: string): void {
    const { type, seq, accepted = 0 }: Answer = JSON.parse(text)
    if (type === 'slow_down') return this.listener.slowedDown()
    const since = seq === undefined ? undefined : this.since[seq]
    if (type !== 'ack' || seq === undefined || since === undefined) return this.listener.refused(text)
    this.freeSlots.push(seq)
    this.listener.acknowledged(this, performance.now() - since, accepted)
  }
}
