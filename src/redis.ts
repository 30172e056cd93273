/**
 * Redis, which collectors share: rate limits, ids of events, signatures, news about keys. One client for all uses.
 *
 * Nothing here throws into a caller or lets one wait: a command gives its reply or a `RedisFailure`, at the latest when its time is over
 * (see `redis/patience.ts`).
 * `available` goes down at once, when the connection is lost, when a command got no answer in time, or when the server refuses to write;
 * while it is down commands fail without being sent. It comes up again by itself (see `redis/connection.ts`). Every change is logged once.
 * A command that failed may have been carried out all the same, when only its answer was lost.
 *
 * Only commands of Redis 5 are used. Every key and channel begins with `penstock:`.
 */
import { createHash } from 'node:crypto'
import type { Redis as Client } from 'ioredis'
import { type Problem, problem, reasonOf } from './problem.ts'
import { Connection } from './redis/connection.ts'
import { type Listener, Messages } from './redis/messages.ts'
import { waitPatiently } from './redis/patience.ts'
import type { Logger } from './telemetry/logger.ts'

/** What every key and channel begins with. */
export const REDIS_PREFIX = 'penstock:'

/** `redis_away`: not sent. `redis_late`: no answer in time. `redis_error`: the server refused it. */
export type RedisFailure = Problem<'redis_away' | 'redis_late' | 'redis_error'>

/** What a command takes; a Buffer is sent as it is. */
export type RedisArgument = string | number | Buffer

/** What a command gives; bytes are read as UTF-8. */
export type RedisReply = string | number | null | readonly RedisReply[]

/** A Lua script, sent whole once and then by its hash. */
export interface RedisScript {
  /** Runs it whole or not at all, with no other command between. `keys` are prefixed. */
  run(
    keys: readonly RedisArgument[],
    args: readonly RedisArgument[],
    timeoutMs?: number,
  ): Promise<RedisReply | RedisFailure>
}

export interface Redis {
  /** Whether it answers and takes writes. */
  readonly available: boolean
  /** Grows with every new connection: what Redis held before may be gone. */
  readonly generation: number
  /** Waits until it is available, or not any longer; gives whether it is. */
  ready(withinMs: number): Promise<boolean>
  /** A command with one key, which is prefixed: `command('SET', 'a', 1, 'NX', 'PX', 500)`. */
  command(name: string, key: RedisArgument, ...args: readonly RedisArgument[]): Promise<RedisReply | RedisFailure>
  /** All of a hash: its fields as texts, their values as bytes. */
  hash(key: string): Promise<ReadonlyMap<string, Buffer> | RedisFailure>
  script(lua: string): RedisScript
  /** Tells every subscriber of the channel, also those of this process. False when it was not sent; whether anyone got it is not known. */
  publish(channel: string, message: string): Promise<boolean>
  /** Hears what is published from now on, and when something may have been missed. Returns what ends it. */
  subscribe(channel: string, listener: Listener): () => void
  /** For health: how long an answer takes, in milliseconds, and the server's version. */
  ping(): Promise<{ readonly responseTimeMs: number; readonly version: string } | RedisFailure>
  /** Failures since the start, by kind. */
  stats(): { readonly available: boolean; readonly failures: Readonly<Record<RedisFailure['problem'], number>> }
  close(): Promise<void>
}

/** How long a command may take on the way of a request. */
const COMMAND_TIMEOUT_MS = 100

/** How long the answer to a health check may take. */
const PING_TIMEOUT_MS = 1_000

/** Errors of a server that is there but does not take writes: https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors */
const UNUSABLE = /^(LOADING|READONLY|MASTERDOWN|MISCONF|OOM|BUSY|NOAUTH|NOREPLICAS|CLUSTERDOWN)\b/

/** Begins to connect, in the background: it is not `available` yet when this returns. */
export function openRedis(url: string, logger: Logger): Redis {
  return new RedisClient(url, logger)
}

class RedisClient implements Redis {
  readonly #connection: Connection
  readonly #messages: Messages
  readonly #awaiting = new Set<() => void>()
  readonly #failures = { redis_away: 0, redis_late: 0, redis_error: 0 }

  constructor(url: string, logger: Logger) {
    const server = URL.parse(url)?.host
    this.#connection = new Connection({
      url,
      probe: (client) => client.set(`${REDIS_PREFIX}probe`, 1, 'PX', 60_000),
      changed: (available, reason) => {
        if (available) {
          logger.info({ server }, 'Redis answers')
          for (const tell of this.#awaiting) tell()
        } else if (reason !== undefined) logger.warn({ server, reason }, 'Redis is away: collectors go on without it')
      },
    })
    this.#messages = new Messages(url, REDIS_PREFIX, logger)
  }

  get available(): boolean {
    return this.#connection.client !== undefined
  }

  get generation(): number {
    return this.#connection.count
  }

  async ready(withinMs: number): Promise<boolean> {
    if (this.available) return true
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, withinMs)
    this.#awaiting.add(resolve)
    await promise
    this.#awaiting.delete(resolve)
    clearTimeout(timer)
    return this.available
  }

  command(name: string, key: RedisArgument, ...args: readonly RedisArgument[]): Promise<RedisReply | RedisFailure> {
    return this.#ask(COMMAND_TIMEOUT_MS, (client) => client.call(name, prefixed(key), ...args))
  }

  hash(key: string): Promise<ReadonlyMap<string, Buffer> | RedisFailure> {
    return this.#ask(
      COMMAND_TIMEOUT_MS,
      async (client) => new Map(Object.entries(await client.hgetallBuffer(prefixed(key)))),
    )
  }

  script(lua: string): RedisScript {
    const hash = createHash('sha1').update(lua).digest('hex')
    const run = (keys: readonly RedisArgument[], args: readonly RedisArgument[], timeoutMs = COMMAND_TIMEOUT_MS) => {
      const all = [keys.length, ...keys.map(prefixed), ...args]
      return this.#ask(timeoutMs, (client) =>
        client.call('EVALSHA', hash, ...all).catch((error: unknown) => {
          if (!reasonOf(error).startsWith('NOSCRIPT')) throw error
          return client.call('EVAL', lua, ...all) // new to this server, or it was started again
        }),
      )
    }
    return { run }
  }

  async publish(channel: string, message: string): Promise<boolean> {
    const reply = await this.#ask(COMMAND_TIMEOUT_MS, (client) => client.publish(REDIS_PREFIX + channel, message))
    return typeof reply === 'number'
  }

  subscribe(channel: string, listener: Listener): () => void {
    return this.#messages.subscribe(channel, listener)
  }

  async ping(): Promise<{ readonly responseTimeMs: number; readonly version: string } | RedisFailure> {
    const startedAt = performance.now()
    const reply = await this.#ask(PING_TIMEOUT_MS, (client) => client.info('server'))
    if (typeof reply !== 'string') return isRedisFailure(reply) ? reply : problem('redis_error', 'INFO gave no text')
    const version = /^redis_version:(\S+)/m.exec(reply)?.[1] ?? 'unknown'
    return { responseTimeMs: performance.now() - startedAt, version }
  }

  stats() {
    return { available: this.available, failures: { ...this.#failures } }
  }

  async close(): Promise<void> {
    await Promise.all([this.#connection.close(), this.#messages.close()])
  }

  #ask<Reply = RedisReply>(
    timeoutMs: number,
    send: (client: Client) => Promise<unknown>,
  ): Promise<Reply | RedisFailure> {
    const { client, reason } = this.#connection
    if (client === undefined) return Promise.resolve(this.#fail('redis_away', `Redis is away: ${reason}`))
    return new Promise((resolve) => {
      let answered = false
      const settle = (result: Reply | RedisFailure) => {
        answered = true
        stopWaiting()
        resolve(result)
      }
      const stopWaiting = waitPatiently(timeoutMs, () => {
        const failure = this.#fail('redis_late', `Redis did not answer within ${timeoutMs} ms`)
        settle(failure)
        this.#connection.suspect(failure.message)
      })
      Promise.try(() => send(client)).then(
        (reply) => settle(reply as Reply),
        (error: unknown) => {
          if (answered) return
          const reason = reasonOf(error)
          settle(this.#fail('redis_error', `Redis: ${reason}`))
          if (UNUSABLE.test(reason)) this.#connection.suspect(reason)
        },
      )
    })
  }

  #fail(kind: RedisFailure['problem'], message: string): RedisFailure {
    this.#failures[kind]++
    return problem(kind, message)
  }
}

/** Tells a failure from a reply. */
export function isRedisFailure(result: unknown): result is RedisFailure {
  return typeof result === 'object' && result !== null && 'problem' in result
}

function prefixed(key: RedisArgument): string | Buffer {
  return Buffer.isBuffer(key) ? Buffer.concat([PREFIX_BYTES, key]) : REDIS_PREFIX + key
}

const PREFIX_BYTES = Buffer.from(REDIS_PREFIX)
