/** ClickHouse as the bench sees it: SQL over HTTP and the engine's process; and an engine of the bench's own. */
import { setTimeout as sleep } from 'node:timers/promises'
import { startEmbeddedClickHouse } from '../../src/sink/embedded-clickhouse.ts'
import { ENGINE_HOST, freePort } from '../../src/sink/engine-setup.ts'
import { migrate } from '../../src/sink/migrations.ts'
import { isProblem } from '../../src/problem.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import type { Resources } from './resources.ts'

export const DATABASE = 'penstock'

/** How often something that is waited for is looked at. */
const POLL_MS = 10

export class ClickHouse {
  readonly url: string
  readonly database: string
  private readonly findPid: () => number

  constructor(url: string, findPid: () => number, database = DATABASE) {
    this.url = url
    this.findPid = findPid
    this.database = database
  }

  /** Of the engine's process. */
  get pid(): number {
    return this.findPid()
  }

  /** The same server, another database. */
  with(database: string): ClickHouse {
    return new ClickHouse(this.url, this.findPid, database)
  }

  /** Runs one statement and gives the answer as text; throws ClickHouse's message. */
  async query(sql: string): Promise<string> {
    const response = await fetch(`${this.url}/?database=${this.database}`, {
      method: 'POST',
      body: sql,
      headers: { connection: 'close' }, // an open connection would hold up the engine's end
      signal: AbortSignal.timeout(60_000),
    })
    const text = (await response.text()).trim()
    if (!response.ok) throw new Error(text)
    return text
  }

  /** One number. */
  async number(sql: string): Promise<number> {
    return Number(await this.query(sql))
  }

  /** Rows of `events` that a query sees; 0 while there is no table. */
  async storedEvents(): Promise<number> {
    try {
      return await this.number('SELECT count() FROM events')
    } catch {
      return 0
    }
  }

  /** Waits until no merge has run for two seconds. False when that did not come about within the time. */
  async mergesIdle(deadlineMs: number): Promise<boolean> {
    const deadline = performance.now() + deadlineMs
    let idleSince = performance.now()
    while (performance.now() < deadline) {
      const merges = await this.number('SELECT count() FROM system.merges')
      if (merges > 0) idleSince = performance.now()
      if (performance.now() - idleSince >= 2_000) return true
      await sleep(250)
    }
    return false
  }
}

/** An engine that the bench starts itself, and can take away and bring back under the same address. */
export interface OwnClickHouse {
  readonly clickhouse: ClickHouse
  /** Kills the engine (SIGKILL) and keeps it down. */
  kill(): Promise<void>
  /** Starts it again on the same data; resolves when it answers. */
  revive(): Promise<void>
}

/** Starts the embedded engine in a directory of its own, without tables. */
export async function startOwnClickHouse(resources: Resources): Promise<OwnClickHouse> {
  const options = {
    dataDir: resources.directory('clickhouse'),
    httpPort: freePort(),
    tcpPort: freePort(),
    logger: createLogger({ level: 'error' }),
  }
  let engine = startEmbeddedClickHouse(options)
  resources.add(() => engine.stop())
  await engine.ready()
  const pid = () => {
    if (engine.pid === undefined) throw new Error('ClickHouse does not run')
    return engine.pid
  }
  return {
    clickhouse: new ClickHouse(`http://${ENGINE_HOST}:${options.httpPort}`, pid),
    async kill() {
      const killed = pid()
      const stopped = engine.stop() // first, so that it is not started again
      process.kill(killed, 'SIGKILL')
      await stopped
    },
    async revive() {
      engine = startEmbeddedClickHouse(options)
      await engine.ready()
    },
  }
}

/** Makes the tables of Penstock's own migrations. */
export async function migrateDatabase(clickhouse: ClickHouse): Promise<void> {
  const migrated = await migrate({
    clickhouse: { url: clickhouse.url, user: 'default', password: '', database: clickhouse.database },
    logger: createLogger({ level: 'error' }),
  })
  if (isProblem(migrated)) throw new Error(migrated.message)
}

/** Polls until `look` gives something else than undefined; throws after the deadline, and says what was waited for. */
export async function waitFor<Value>(
  what: string | (() => string),
  deadlineMs: number,
  look: () => Promise<Value | undefined> | Value | undefined,
  pollMs = POLL_MS,
): Promise<Value> {
  const deadline = performance.now() + deadlineMs
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (performance.now() > deadline)
      throw new Error(`waited ${Math.round(deadlineMs / 1000)} s in vain: ${typeof what === 'string' ? what : what()}`)
    await sleep(pollMs)
  }
}
