/** What the tests of erasing share: a ClickHouse server with a collector beside it, events, and a search through everything that is stored. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type EraseOptions, erase, type Findings, type Outcome } from '../../src/erase/erase.ts'
import type { PersonQuery } from '../../src/erase/person.ts'
import { openStore } from '../../src/erase/store.ts'
import type { Event } from '../../src/event.ts'
import { EventBlock } from '../../src/native/event-block.ts'
import { isProblem } from '../../src/problem.ts'
import type { ClickHouseOptions } from '../../src/sink/clickhouse.ts'
import { DeadLetters } from '../../src/sink/dead-letters.ts'
import { type InsertTarget, insertNative } from '../../src/sink/insert.ts'
import { settled } from '../sink/sink-fixture.ts'
import { queryClickHouse } from '../support/collector.ts'
import { makeEvent } from '../support/events.ts'

/** Events received now, as one Native block. */
export function blockOf(events: readonly Partial<Event>[]): Uint8Array {
  const block = new EventBlock()
  const now = Date.now()
  for (const event of events) block.append(makeEvent({ occurredAt: now, receivedAt: now, ...event }))
  const bytes = new Uint8Array(block.byteLength)
  block.writeTo(bytes, 0)
  return bytes
}

/** Events numbered in `properties.n`, each in a session of its own when it names none. */
export function numbered(events: readonly Partial<Event>[]): Partial<Event>[] {
  return events.map((event, n) => ({
    sessionId: crypto.randomUUID(),
    ...event,
    properties: { n, ...event.properties },
  }))
}

/** A server, or a shard of a cluster. */
export type EraseTarget = InsertTarget & Pick<ClickHouseOptions, 'cluster'>

/** A workspace of a test's own in the tables of a server. */
export class Workspace {
  readonly target: EraseTarget
  readonly id: string
  readonly dataDir: string
  /** Of a cluster without replicas. */
  readonly shardUrls: readonly string[]

  /** @param dataDir where logs and dead letters are looked for; made with an empty log when it is not there */
  constructor(target: EraseTarget, id: string, dataDir: string, shardUrls: readonly string[] = []) {
    this.shardUrls = shardUrls
    this.target = target
    this.id = id
    this.dataDir = dataDir
    mkdirSync(join(dataDir, 'log'), { recursive: true })
  }

  /** Stores events as one batch. */
  async insert(events: readonly Partial<Event>[], token: string = crypto.randomUUID()): Promise<void> {
    await this.send(blockOf(events.map((event) => ({ tenantId: 'tenant', workspaceId: this.id, ...event }))), token)
  }

  async send(body: Uint8Array, token: string): Promise<void> {
    const result = await settled(() => insertNative(this.target, { body: [body], bodyBytes: body.byteLength, token }))
    if (result.outcome === 'failed') throw new Error(result.failure.message)
  }

  /**
   * Erases without a question. Throws what the command would print.
   * @param meanwhile happens when everything is found and nothing is removed yet
   */
  async erase(
    who: Partial<PersonQuery>,
    options: Partial<EraseOptions> = {},
    meanwhile: () => Promise<void> = async () => undefined,
  ): Promise<{ findings: Findings; outcome: Outcome }> {
    const approve = () => meanwhile().then(() => true)
    const { findings, outcome } = await this.run(who, options, approve)
    if (outcome === undefined) throw new Error('nothing was done')
    return { findings, outcome }
  }

  async find(who: Partial<PersonQuery>): Promise<Findings> {
    return (await this.run(who, { isDryRun: true }, async () => false)).findings
  }

  private async run(who: Partial<PersonQuery>, options: Partial<EraseOptions>, approve: () => Promise<boolean>) {
    const store = await openStore(this.target, this.shardUrls)
    if (isProblem(store)) throw new Error(store.message)
    const config = { durability: 'fsync', host: '127.0.0.1', port: 1, workers: 1, flushIntervalMs: 100 } as const
    try {
      const result = await erase(
        {
          store,
          query: { tenantId: 'tenant', workspaceId: this.id, users: [], anonymousIds: [], ...who },
          letters: new DeadLetters(join(this.dataDir, 'dead-letters')),
          unflushed: { config: { ...config, dataDir: this.dataDir }, collectors: [], waitMs: 60_000 },
          texts: undefined,
          dropDeadLetters: false,
          isDryRun: false,
          ...options,
        },
        approve,
      )
      if (isProblem(result)) throw new Error(result.message)
      return result
    } finally {
      await store.close()
    }
  }

  query(sql: string): Promise<string> {
    return queryClickHouse(this.target.url, sql, this.target.database)
  }

  /** `properties.n` of the events that there are, in order. */
  async numbers(): Promise<number[]> {
    const text = await this.query(
      `SELECT arraySort(groupArray(properties.n::Int64)) FROM events WHERE workspace_id = '${this.id}'`,
    )
    return JSON.parse(text) as number[]
  }
}

/** Sessions and users. */
export async function statesOf(workspace: Workspace): Promise<string[]> {
  const views = ['sessions', 'users'].map((view) =>
    workspace.query(
      `SELECT * EXCEPT (workspace_id) FROM ${view} WHERE workspace_id = '${workspace.id}' ORDER BY ALL FORMAT JSONEachRow`,
    ),
  )
  return (await Promise.all(views)).flatMap((text) => text.trim().split('\n'))
}

/** What the aggregates say, as numbers. */
export async function countsOf(workspace: Workspace): Promise<string[]> {
  const views = (await workspace.query(`SHOW TABLES LIKE '%_counts_per_%'`)).trim().split('\n')
  const counts = views.map((view) =>
    workspace.query(`SELECT * FROM ${view} WHERE workspace_id = '${workspace.id}' ORDER BY ALL`),
  )
  return Promise.all(counts)
}

/** Where one of the words is in the tables of a database: every column of every table as its bytes, states included. */
export async function findEverywhere(target: InsertTarget, words: readonly string[]): Promise<string[]> {
  const tables = await queryClickHouse(
    target.url,
    `SELECT name FROM system.tables WHERE database = '${target.database}' AND engine NOT LIKE '%View'`,
    target.database,
  )
  const found: string[] = []
  for (const table of tables.split('\n').filter(Boolean)) {
    const response = await fetch(`${target.url}/?${new URLSearchParams({ database: target.database })}`, {
      method: 'POST',
      body: `SELECT * FROM ${table} FORMAT RowBinary`,
    })
    if (!response.ok) throw new Error(await response.text())
    const bytes = Buffer.from(await response.arrayBuffer())
    found.push(...words.filter((word) => bytes.includes(word)).map((word) => `${table}: ${word}`))
  }
  return found
}
