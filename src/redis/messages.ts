/**
 * Messages between collectors (Redis's publish and subscribe), on a connection of their own, which is made when the first one subscribes.
 * Redis keeps no message for who is away: a listener is told when it may have missed some, which is also when it begins to hear.
 */
import type { Redis as Client } from 'ioredis'
import type { Logger } from '../telemetry/logger.ts'
import { Connection } from './connection.ts'

/** What a subscriber does; neither may throw. */
export interface Listener {
  message(text: string): void
  /** From now on messages arrive; some may have been missed before. Called after every new connection. */
  missed(): void
}

/** See the head of this file. */
export class Messages {
  readonly #url: string
  readonly #prefix: string
  readonly #logger: Logger
  readonly #listeners = new Map<string, Set<Listener>>()
  /** Listeners whose channel the connection has. */
  #hearing = new Set<Listener>()
  #connection: Connection | undefined

  /** @param prefix what every channel begins with */
  constructor(url: string, prefix: string, logger: Logger) {
    this.#url = url
    this.#prefix = prefix
    this.#logger = logger
  }

  /** Returns what ends it. */
  subscribe(channel: string, listener: Listener): () => void {
    const name = this.#prefix + channel
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners.add(listener))
    if (this.#connection === undefined) this.#connection = this.#connect()
    else this.#connection.probeSoon()
    return () => {
      listeners.delete(listener)
      this.#hearing.delete(listener)
      if (listeners.size > 0 || this.#listeners.get(name) !== listeners) return
      this.#listeners.delete(name)
      this.#connection?.client?.unsubscribe(name).catch(() => {})
    }
  }

  async close(): Promise<void> {
    await this.#connection?.close()
  }

  #connect(): Connection {
    let wasAway = false
    return new Connection({
      url: this.#url,
      probe: (client, isNew) => this.#hear(client, isNew),
      changed: (available, reason) => {
        if (!available) this.#logger.warn({ reason }, 'messages of other collectors do not arrive')
        else if (wasAway) this.#logger.info('messages of other collectors arrive again')
        wasAway = !available
      },
    })
  }

  /** Subscribes to what is not heard yet. */
  async #hear(client: Client, isNew: boolean): Promise<void> {
    if (isNew) {
      this.#hearing = new Set()
      client.on('message', (channel: string, text: string) => {
        for (const listener of this.#listeners.get(channel) ?? []) listener.message(text)
      })
    }
    await client.ping()
    for (const [name, listeners] of this.#listeners) {
      const silent = [...listeners].filter((listener) => !this.#hearing.has(listener))
      if (silent.length === 0) continue
      await client.subscribe(name)
      for (const listener of silent) {
        if (!listeners.has(listener)) continue
        this.#hearing.add(listener)
        listener.missed()
      }
    }
  }
}
