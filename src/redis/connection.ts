/**
 * One connection to Redis, held up by one loop: connect, look whether it takes writes, look again every second, begin anew when it is gone.
 *
 * Every try is a new client of ioredis whose own reconnecting, queueing of commands and re-sending are off: a command is sent once, on a
 * connection that is there, or fails at once. So no state of a lost connection can come back, and nothing waits for one.
 * Errors of ioredis carry the command with its arguments, a password among them: only their message is ever handed on.
 */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import type { Redis as Client } from 'ioredis'
import { reasonOf } from '../problem.ts'
import { waitPatiently } from './patience.ts'

export interface ConnectionOptions {
  /** `redis://` or `rediss://`, with user, password and number of the database where there are such. */
  readonly url: string
  /** Does something with the new or the old connection that shows whether it is good, and throws or takes too long when it is not. */
  probe(client: Client, isNew: boolean): Promise<unknown>
  /** Called at every change; `reason` says why it is away. */
  changed(available: boolean, reason: string | undefined): void
}

const PROBE_INTERVAL_MS = 1_000
const PROBE_TIMEOUT_MS = 1_000
const CONNECT_TIMEOUT_MS = 2_000

/** Waits between tries to connect: from 50 ms, doubling, to 1 s; a quarter of it by chance, so that many collectors do not come at once. */
const RETRY_MS = { first: 50, most: 1_000, byChance: 0.25 }

/** A Redis that let a command wait for too long is left alone for this time, lest it be asked, and waited for, again and again. */
const REST_MS = 500

/** See the head of this file. */
export class Connection {
  readonly #options: ConnectionOptions
  readonly #loop: Promise<void>
  #client: Client | undefined
  /** Undefined until the first try has ended. */
  #available: boolean | undefined
  #reason: string | undefined = 'not connected yet'
  #suspected = false
  #again = false
  #count = 0
  #closed = false
  #wake = () => {}

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.#loop = this.#run()
  }

  /** The client while Redis is there; it may be gone a moment later. */
  get client(): Client | undefined {
    return this.#available ? this.#client : undefined
  }

  /** How often a connection was made. */
  get count(): number {
    return this.#count
  }

  /** Why there is no client; undefined when there is one. */
  get reason(): string | undefined {
    return this.#reason
  }

  /** Tells that Redis did not answer as it should: it counts as away until a probe shows otherwise. */
  suspect(reason: string): void {
    if (!this.#available) return
    this.#suspected = true
    this.#change(false, reason)
    this.#wake()
  }

  /** Probes at once, or once more when a probe is under way, instead of after the interval. */
  probeSoon(): void {
    this.#again = true
    this.#wake()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#available = false
    this.#reason = 'closed'
    this.#drop() // a try that is under way ends at once
    this.#wake()
    await this.#loop
  }

  async #run(): Promise<void> {
    let failures = 0
    while (!this.#closed) {
      if (this.#suspected) await this.#pause(REST_MS)
      this.#suspected = false
      this.#again = false
      const reason = await this.#ensure()
      failures = reason === undefined ? 0 : failures + 1
      if (this.#suspected || this.#closed) continue
      if (reason !== undefined) this.#drop()
      this.#change(reason === undefined, reason)
      if (!this.#again || failures > 0) await this.#pause(failures === 0 ? PROBE_INTERVAL_MS : retryMs(failures))
    }
  }

  /** Connects when there is no connection, and probes. Says why it is not good. */
  async #ensure(): Promise<string | undefined> {
    const client = this.#client ?? this.#newClient()
    const isNew = client.status === 'wait'
    const work = async () => {
      if (isNew) await client.connect()
      if (isNew) this.#count++
      await this.#options.probe(client, isNew)
    }
    let lastError: unknown
    const remember = (error: unknown) => {
      lastError ??= error
    }
    client.on('error', remember)
    try {
      await within(isNew ? CONNECT_TIMEOUT_MS : PROBE_TIMEOUT_MS, work())
      // Such as a database that is not there: ioredis would go on with another one.
      if (lastError !== undefined) return reasonOf(lastError)
      return this.#client === client ? undefined : 'the connection was closed'
    } catch (error) {
      // The first error says more than the closed connection that follows it.
      return reasonOf(lastError ?? error)
    } finally {
      client.off('error', remember)
    }
  }

  #newClient(): Client {
    assert(this.#client === undefined)
    // Loaded only here: a collector without Redis need not hold it in memory.
    const { Redis }: typeof import('ioredis') = createRequire(import.meta.url)('ioredis')
    const client = new Redis(this.#options.url, {
      lazyConnect: true,
      retryStrategy: null,
      enableOfflineQueue: false,
      enableAutoPipelining: true, // the commands of a moment in one write: a quarter of the CPU when there are many
      enableReadyCheck: false, // the probe tells more: a server that loads, or only reads, refuses it
      disableClientInfo: true,
      disconnectTimeout: 100,
      protocol: 2, // which every version speaks
    })
    client.on('error', () => {}) // without a listener it prints; what happened is told by the promise of the command
    client.on('end', () => this.#ended(client))
    this.#client = client
    return client
  }

  #ended(client: Client): void {
    if (this.#client !== client) return
    this.#client = undefined
    if (this.#available) this.#change(false, 'the connection was closed') // else the try that has failed tells why
    this.#wake()
  }

  #drop(): void {
    const client = this.#client
    this.#client = undefined
    client?.disconnect()
  }

  #change(available: boolean, reason: string | undefined): void {
    this.#reason = reason
    if (this.#available === available) return
    this.#available = available
    this.#options.changed(available, reason)
  }

  /** Waits, or until something wakes the loop. */
  #pause(ms: number): Promise<void> {
    if (this.#closed) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

function retryMs(failures: number): number {
  const ms = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** (failures - 1))
  return ms * (1 - RETRY_MS.byChance * Math.random())
}

async function within<Value>(ms: number, work: Promise<Value>): Promise<Value> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const stopWaiting = waitPatiently(ms, () => reject(new Error(`no answer within ${ms} ms`)))
  return Promise.race([work, late]).finally(stopWaiting)
}
