/**
 * The table of one run, and the runs beside it. A run keeps the ids of its person in a table of its own (`person.ts` says which), with marks:
 *
 *     alive  the time of a sign of life, in milliseconds by the server's clock; one every HEARTBEAT_INTERVAL_MS
 *     wants  it is about to take a number
 *     turn   its number: it removes rows, or waits until it may
 *     ended  it did not come to its end, and is over
 *
 * A run that ended, or gave no sign of life for CLAIM_LIFETIME_MS, has left its table. The next run for the same person takes its ids over,
 * and drops it. Tables of runs that live are never touched.
 *
 * Of several runs for the same person at one time, as when every machine of the collectors has one by cron, one removes rows at a time: two
 * that make shared sessions again would count these twice. Who comes first is decided as in a bakery (Lamport's): a number above those of
 * all others, and before it is taken `wants` is there for all to see; who has one waits for lower ones, and for who wants one. Should a run
 * that was taken for dead go on all the same, then it fails, or counts again what is not right: nothing is lost by it.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Problem } from '../problem.ts'
import { CLAIM_LIFETIME_MS, HEARTBEAT_INTERVAL_MS } from '../sink/migration-claim.ts'
import type { Layout } from './layout.ts'
import { killOrphans, mutationsDone } from './mutation.ts'
import type { Store } from './store.ts'
import { type IdKind, quote } from './tables.ts'

/** An id, or a mark, as it stands in the table. */
export interface RunRow {
  readonly kind: IdKind | 'wants' | 'turn' | 'ended'
  readonly scope: string
  readonly id: string
}

/** Another run for the same person. */
interface OtherRun {
  readonly name: string
  readonly isLeft: boolean
  readonly wants: boolean
  /** Its number; 0: none. */
  readonly turn: number
}

const PREFIX = 'erasing_'
const POLL_INTERVAL_MS = 250
/** A table that is not at every server is being made, or dropped; after that it was left so. */
const HALF_MADE_MS = 1_000
const UNKNOWN_TABLE = '60'

/** See the head of the file. */
export class Run {
  readonly table: string
  readonly #layout: Layout
  readonly #store: Store
  readonly #comment: string
  readonly #left = new Set<string>()
  readonly #over = new AbortController()
  #heartbeat: Promise<void> = Promise.resolve()
  #hasOthers = false

  /** Nothing is made before `begin`. */
  constructor(store: Store, { tenantId, workspaceId }: { tenantId: string; workspaceId: string }) {
    this.table = `${PREFIX}${randomBytes(8).toString('hex')}`
    this.#layout = store.layout
    this.#store = store
    this.#comment = `Ids of a run of penstock erase for ${JSON.stringify([tenantId, workspaceId])}; dropped at its end`
  }

  /** Makes the table, with the ids that are given and those of runs for the same person that broke off. */
  async begin(given: readonly RunRow[]): Promise<Problem<'mutation_failed'> | undefined> {
    await killOrphans(this.#store, PREFIX)
    await this.#make(this.table)
    await this.#beat()
    this.#heartbeat = this.#keepAlive()
    await this.insert(given)
    return this.#takeOver()
  }

  /** Values travel in the body. */
  async insert(rows: readonly RunRow[]): Promise<void> {
    await this.#store.insert(this.table, rows)
    await this.#store.everywhere(this.#layout.spread(this.table))
  }

  /** Adds what a query finds: `kind`, `scope`, `id`. */
  async insertFrom(query: string): Promise<void> {
    await this.#store.run(`INSERT INTO ${this.#layout.local(this.table)} (kind, scope, id) ${query}`)
    await this.#store.everywhere(this.#layout.spread(this.table))
  }

  /**
   * Resolves when no other run for the same person removes rows. Until this one is over none begins.
   * @returns whether there were any: then what is there may be other than what was found
   */
  async takeTurn(): Promise<boolean | Problem<'mutation_failed'>> {
    await this.insert([{ kind: 'wants', scope: '', id: '' }])
    const turn = 1 + Math.max(0, ...(await this.#others()).map((other) => other.turn))
    await this.insert([{ kind: 'turn', scope: '', id: String(turn) }])
    const isBefore = ({ name, ...other }: OtherRun) =>
      other.turn === 0 ? other.wants : other.turn < turn || (other.turn === turn && name < this.table)
    while ((await this.#others()).some((other) => !other.isLeft && isBefore(other))) await sleep(POLL_INTERVAL_MS)
    return (await this.#takeOver()) ?? this.#hasOthers
  }

  /** This run does what those that broke off did not: their tables, whose ids it has taken over, can go. */
  async dropLeftTables(): Promise<void> {
    for (const name of this.#left) await this.#dropTable(name)
    this.#left.clear()
  }

  /** Is over, and forgets the ids. */
  async drop(): Promise<void> {
    this.#over.abort()
    await this.#heartbeat
    await this.#dropTable(this.table)
  }

  /** Is over, and leaves the ids for the next run. */
  async leave(): Promise<void> {
    this.#over.abort()
    await this.#heartbeat
    await this.insert([{ kind: 'ended', scope: '', id: '' }])
  }

  /** The comment says whose run it was: ids of another workspace are never taken over. */
  async #make(name: string): Promise<void> {
    const create = `CREATE TABLE IF NOT EXISTS ${name} (kind LowCardinality(String), scope LowCardinality(String), id String)
      ENGINE = MergeTree ORDER BY (kind, scope, id)
      SETTINGS non_replicated_deduplication_window = 0, fsync_after_insert = 1, fsync_part_directory = 1
      COMMENT ${quote(this.#comment)}`
    await this.#store.everywhere(this.#layout.idsTable(create))
  }

  async #beat(): Promise<void> {
    await this.#store.run(
      `INSERT INTO ${this.#layout.local(this.table)} (kind, scope, id)
       SELECT 'alive', '', toString(toUnixTimestamp64Milli(now64(3)))`,
    )
  }

  async #keepAlive(): Promise<void> {
    const { signal } = this.#over
    for (;;) {
      await sleep(HEARTBEAT_INTERVAL_MS, undefined, { signal, ref: false }).catch(() => undefined)
      if (signal.aborted) return
      await this.#beat().catch(() => undefined) // the run's own statements tell what is wrong
    }
  }

  /** Takes over what earlier runs have found, and waits for what they began. Of one that removes rows at this time the ids only. */
  async #takeOver(): Promise<Problem<'mutation_failed'> | undefined> {
    for (const { name, isLeft, turn } of await this.#others()) {
      this.#hasOthers = true
      if (!isLeft && turn === 0) continue // it has removed nothing yet, and may never
      const failure = isLeft ? await mutationsDone(this.#store, name) : undefined
      if (failure !== undefined) return failure
      const kinds = `('candidate', 'device', 'touched', 'nameless', 'mixed')`
      const rows = `SELECT DISTINCT kind, scope, id FROM ${this.#rowsOf(name)} WHERE kind IN ${kinds}`
      await this.#unlessGone(this.insertFrom(rows))
      if (isLeft) this.#left.add(name)
    }
    return undefined
  }

  /** Runs for one of the given ids, in the same workspace. */
  async #others(): Promise<OtherRun[]> {
    const others: OtherRun[] = []
    for (const name of await this.#tables()) {
      const other = await this.#look(name)
      if (other !== undefined) others.push(other)
    }
    return others
  }

  async #tables(): Promise<string[]> {
    const tables = await this.#store.rows<{ name: string }>(
      `SELECT DISTINCT name FROM ${this.#layout.system('tables')} WHERE database = ${quote(this.#layout.home)}
       AND startsWith(name, '${PREFIX}') AND name != '${this.table}' AND comment = ${quote(this.#comment)}`,
    )
    return tables.map(({ name }) => name)
  }

  /**
   * Undefined when it is not for one of the given ids, or gone. On a cluster a table may be at some of the shards only, or have other rows at
   * each: it is made whole, and every shard is asked.
   */
  async #look(name: string): Promise<OtherRun | undefined> {
    const given = `SELECT kind, id FROM ${this.#layout.local(this.table)} WHERE kind IN ('user', 'given')`
    const state = () =>
      this.#unlessGone(
        this.#store.rows<{ same: number; ended: number; wants: number; turn: number; silent_ms: number }>(
          `SELECT countIf((kind, id) IN (${given})) AS same, countIf(kind = 'ended') AS ended, countIf(kind = 'wants') AS wants,
             maxIf(toUInt32OrZero(id), kind = 'turn') AS turn,
             toUnixTimestamp64Milli(now64(3)) - maxIf(toInt64OrZero(id), kind = 'alive') AS silent_ms
           FROM ${this.#rowsOf(name)}`,
        ),
      )
    let found = await state()
    if (found === undefined && this.#layout.spread(name) !== undefined) {
      await sleep(HALF_MADE_MS)
      if (!(await this.#tables()).includes(name)) return undefined
      await this.#make(name)
      found = await state()
    }
    const [row] = found ?? []
    if (row === undefined || row.same === 0) return undefined
    const { ended, wants, turn, silent_ms: silentMs } = row
    return { name, isLeft: ended > 0 || silentMs > CLAIM_LIFETIME_MS, wants: wants > 0, turn }
  }

  #rowsOf(name: string): string {
    return this.#layout.each(`SELECT kind, scope, id FROM ${this.#layout.local(name)}`)
  }

  /** Another run may drop its table at any time. */
  async #unlessGone<Result>(work: Promise<Result>): Promise<Result | undefined> {
    try {
      return await work
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === UNKNOWN_TABLE) return undefined
      throw error
    }
  }

  async #dropTable(name: string): Promise<void> {
    await this.#store.everywhere(`DROP TABLE IF EXISTS ${this.#layout.target(name)} SYNC`)
  }
}
