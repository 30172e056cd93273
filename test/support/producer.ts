/** A producer that sends events without end, once each unless it is told otherwise, and remembers which were acknowledged. */

export interface ProducerOptions {
  /** Begins the ids of its events. */
  readonly name: string
  /** Events in one request: a random number up to this one. */
  readonly eventsMax: number
  readonly random: () => number
  /** Between two requests, in milliseconds. Default 0. */
  readonly pauseMs?: number
  /** Every request by a connection of its own, so that each of several workers gets some. */
  readonly newConnections?: boolean
  /** A request that is not acknowledged is sent again until it is, as a client does that gives its events ids. */
  readonly sendsAgain?: boolean
}

const TYPES = ['pageview', 'click', 'Order Completed']
/** Before the next request when nobody answered. */
const AWAY_PAUSE_MS = 50
const DAYS_BACK_MS = 3 * 24 * 3_600_000

export class Producer {
  /** Events acknowledged so far. */
  acknowledged = 0
  /** Answers by status; 0 for none. */
  readonly answers = new Map<number, number>()
  private readonly options: ProducerOptions
  private readonly states: boolean[] = []
  private stopped = false

  constructor(options: ProducerOptions) {
    this.options = options
  }

  /** Sends until `stop`; an error of the connection is no end. */
  async run(url: string, key: string): Promise<void> {
    while (!this.stopped) {
      const status = await this.sendOnce(url, key)
      await Bun.sleep(status === 0 ? AWAY_PAUSE_MS : (this.options.pauseMs ?? 0))
    }
  }

  stop(): void {
    this.stopped = true
  }

  /** Every event that was sent. */
  *sent(): Generator<{ readonly id: string; readonly isAcknowledged: boolean }> {
    for (const [number, isAcknowledged] of this.states.entries()) yield { id: this.idOf(number), isAcknowledged }
  }

  /** One request with new events; gives the last status, 0 when there was no answer. */
  async sendOnce(url: string, key: string): Promise<number> {
    const { eventsMax, random, newConnections, sendsAgain } = this.options
    const first = this.states.length
    const count = 1 + Math.floor(random() * eventsMax)
    const events = Array.from({ length: count }, (_, n) => this.event(first + n))
    for (let n = 0; n < count; n++) this.states.push(false)
    let status: number
    do {
      status = await post(url, key, events, newConnections === true ? { connection: 'close' } : {})
      this.answers.set(status, (this.answers.get(status) ?? 0) + 1)
      if (status !== 201 && sendsAgain === true) await Bun.sleep(AWAY_PAUSE_MS)
    } while (status !== 201 && sendsAgain === true)
    if (status === 201) {
      this.states.fill(true, first, first + count)
      this.acknowledged += count
    }
    return status
  }

  private event(number: number): object {
    const { random, name } = this.options
    return {
      type: TYPES[number % TYPES.length],
      timestamp: new Date(Date.now() - random() * DAYS_BACK_MS).toISOString(),
      session_id: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b',
      event_id: this.idOf(number),
      user_id: `user ${number % 100}`,
      properties: { producer: name, number, text: 'x'.repeat(random() * 200) },
    }
  }

  private idOf(number: number): string {
    return `${this.options.name}-${number}`
  }
}

async function post(
  url: string,
  key: string,
  events: readonly object[],
  headers: Record<string, string>,
): Promise<number> {
  try {
    const response = await fetch(`${url}/v1/events`, {
      method: 'POST',
      headers: { 'api-key': key, ...headers },
      body: JSON.stringify({ events }),
      signal: AbortSignal.timeout(20_000),
    })
    await response.arrayBuffer()
    return response.status
  } catch {
    return 0
  }
}
