/**
 * Removes people from ClickHouse, on their request. The order of things is what the guarantee rests on:
 *
 *     wait    until all that was accepted before is in ClickHouse
 *     find    who the person is: `person.ts`
 *     turn    wait for other runs that remove the same person, and look again if there are any: `run.ts`
 *     delete  sessions, events, traits: `mutation.ts`; make shared sessions again: `sessions.ts`
 *     wait    until all that was accepted while the parts were written anew is in ClickHouse, too
 *     count   when there are rows, go on with `find`
 *
 * After the second wait no segment that was stored before the deletion can be sent again; see `unflushed.ts`. So what is counted at the
 * end stays: only new events, and what a person decided to keep, can change it. Deleting rows triggers no view: counts stay as they are.
 *
 * On a cluster the steps are the same; which server does what of them is in `shards.ts` and `layout.ts`.
 */
import { isProblem, type Problem, problem } from '../problem.ts'
import type { DeadLetters } from '../sink/dead-letters.ts'
import { type FoundDeadLetter, findInDeadLetters } from './dead-letter-persons.ts'
import { deleteRows } from './mutation.ts'
import { type Alias, checkWorkspace, Person, type PersonQuery } from './person.ts'
import { areSharedSessionsRight, restoreSharedSessions } from './sessions.ts'
import type { Store } from './store.ts'
import { AGGREGATES, PERSONAL_TABLES, type PersonalTable } from './tables.ts'
import { emailAddresses, type FoundTexts, findTexts } from './texts.ts'
import { type Unflushed, untilFlushed } from './unflushed.ts'

/** Rows by table; only of tables that there are. */
export type RowCounts = Partial<Record<PersonalTable, number>>

/** What was found, before anything is changed. */
export interface Findings {
  readonly rows: RowCounts
  readonly anonymousIds: number
  readonly sharedSessions: number
  readonly sharedDevices: readonly { anonymous_id: string; is_given: number; events: number }[]
  readonly aliases: readonly Alias[]
  readonly texts: FoundTexts
  readonly deadLetters: readonly FoundDeadLetter[]
}

/** What was done. */
export interface Outcome {
  /** Rows that were counted and are gone. */
  readonly removed: RowCounts
  /** Rows of aggregates whose text named the person. */
  readonly textsRemoved: number
  readonly sessionsRestored: number
  readonly deadLettersDropped: readonly string[]
  /** What keeps it from being complete; none: everything was counted again, and there is nothing left. */
  readonly problems: readonly Problem[]
}

export interface EraseOptions {
  readonly store: Store
  readonly query: PersonQuery
  readonly letters: DeadLetters
  readonly unflushed: Unflushed
  /** What becomes of texts in aggregates that name the person; undefined: nobody has decided. */
  readonly texts: 'remove' | 'keep' | undefined
  readonly dropDeadLetters: boolean
  /** Looks at what is in ClickHouse now, and waits for nothing. */
  readonly isDryRun: boolean
}

/** How often rows that arrive meanwhile are deleted, too. */
const ROUNDS_MAX = 4

/**
 * Looks who it is and what there is, and erases that when `approve` says so. Gives no outcome when it does not. Throws what ClickHouse or the
 * file system say: then it can be run again.
 */
export async function erase(
  options: EraseOptions,
  approve: (findings: Findings) => Promise<boolean>,
): Promise<{ findings: Findings; outcome: Outcome | undefined } | Problem> {
  const { store, query, isDryRun } = options
  const stopped = (isDryRun ? undefined : await untilFlushed(options.unflushed)) ?? (await checkWorkspace(store, query))
  if (stopped !== undefined) return stopped
  if (!isDryRun) await options.letters.removeDrafts()
  const person = await Person.open(store, query)
  if (isProblem(person)) return person
  let mayForget = true
  // One that cannot say that it is over is known by its silence.
  const end = () => (mayForget ? person.run.drop() : person.run.leave().catch(() => undefined))
  const eraseAll = async () => {
    await person.find()
    const addresses = await emailAddresses(store, person)
    const findings = await look(options, person, addresses)
    if (!(await approve(findings))) return { findings, outcome: undefined }
    mayForget = false // of a run that broke off the ids are kept: see `person.ts`
    const hadOthers = await person.run.takeTurn()
    if (isProblem(hadOthers)) return hadOthers
    await person.run.dropLeftTables()
    if (hadOthers) await person.find()
    const rows = hadOthers ? await countRows(store, person) : findings.rows
    const outcome = await new Erasure(options, person, { ...findings, rows }).run()
    mayForget = outcome.problems.length === 0
    return { findings, outcome }
  }
  const result = await eraseAll().catch(async (error: unknown) => {
    await end().catch(() => undefined) // what broke it off says more
    throw error
  })
  await end()
  return result
}

async function look(options: EraseOptions, person: Person, addresses: readonly string[]): Promise<Findings> {
  const { store, letters, query } = options
  return {
    rows: await countRows(store, person),
    anonymousIds: (await person.ids('device')).length,
    sharedSessions: (await person.ids('mixed')).length,
    sharedDevices: await person.sharedDevices(),
    aliases: await person.aliases(),
    texts: await findTexts(store, person, addresses),
    deadLetters: await findInDeadLetters(letters, person, query),
  }
}

/** Rows of the person in each table. A session counts once, however many rows its states are in, and not when it is made again. */
async function countRows(store: Store, person: Person): Promise<RowCounts> {
  const { conditions } = person
  const { layout } = store
  const counts: RowCounts = {}
  for (const table of await store.existing(PERSONAL_TABLES)) {
    const isSessions = table === 'session_states'
    const condition = conditions.rowsOf(table as PersonalTable)
    const [row] = await store.rows<{ found: number }>(
      `SELECT ${isSessions ? 'uniqExact(session_id)' : 'count()'} AS found FROM ${layout.table(table)}
       WHERE ${condition}${isSessions ? ` AND session_id NOT IN ${conditions.set('mixed')}` : ''}`,
    )
    counts[table as PersonalTable] = row?.found ?? 0
  }
  return counts
}

class Erasure {
  readonly #options: EraseOptions
  readonly #person: Person
  readonly #findings: Findings
  readonly #removed: RowCounts = {}
  #textsRemoved = 0
  #sessionsRestored = 0

  constructor(options: EraseOptions, person: Person, findings: Findings) {
    this.#options = options
    this.#person = person
    this.#findings = findings
  }

  async run(): Promise<Outcome> {
    const failure = await this.#clearTables()
    const texts = failure === undefined ? await this.#clearTexts() : []
    const { dropped, problems } = await this.#clearDeadLetters()
    return {
      removed: this.#removed,
      textsRemoved: this.#textsRemoved,
      sessionsRestored: this.#sessionsRestored,
      deadLettersDropped: dropped,
      problems: [...(failure === undefined ? [] : [failure]), ...texts, ...problems],
    }
  }

  async #clearTables(): Promise<Problem | undefined> {
    const { store, unflushed } = this.#options
    let counts = this.#findings.rows
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const isClear = Object.values(counts).every((rows) => rows === 0)
      if (isClear && (await areSharedSessionsRight(store, this.#person))) return undefined
      const failure = (await this.#deleteRound(counts)) ?? (await untilFlushed(unflushed))
      if (failure !== undefined) return failure
      await this.#person.find()
      counts = await countRows(store, this.#person)
    }
    return problem(
      'still_arriving',
      'events of the person keep arriving: stop the producers from sending them, and run this again',
    )
  }

  async #deleteRound(counts: RowCounts): Promise<Problem | undefined> {
    const { store } = this.#options
    const { conditions, run } = this.#person
    for (const table of PERSONAL_TABLES) {
      const rows = counts[table]
      if (rows === undefined) continue
      const isMixed = table === 'session_states' && (await this.#person.ids('mixed')).length > 0
      if (rows > 0 || isMixed) {
        const condition = conditions.rowsOf(table)
        const isPartitioned = table === 'events'
        const failure = await deleteRows(store, { table, condition, isPartitioned, marker: run.table })
        if (failure !== undefined) return failure
      }
      if (isMixed) this.#sessionsRestored = await restoreSharedSessions(store, this.#person)
      this.#removed[table] = (this.#removed[table] ?? 0) + rows
    }
    return undefined
  }

  /** What was noted before the traits were gone: they told the e-mail addresses. */
  async #clearTexts(): Promise<Problem[]> {
    const { store, texts: decision } = this.#options
    const { total } = this.#findings.texts
    if (total === 0 || decision === 'keep') return []
    if (decision === undefined) {
      const message = `${total} texts in aggregates may name the person: say --paths remove or --paths keep`
      return [problem('texts_undecided', message)]
    }
    const { conditions, run } = this.#person
    for (const table of await store.existing(Object.keys(AGGREGATES))) {
      const condition = conditions.namingRowsOf(table)
      const [row] = await store.rows<{ found: number }>(
        `SELECT count() AS found FROM ${store.layout.table(table)} WHERE ${condition}`,
      )
      if ((row?.found ?? 0) === 0) continue
      const failure = await deleteRows(store, { table, condition, isPartitioned: false, marker: run.table })
      if (failure !== undefined) return [failure]
      this.#textsRemoved += row?.found ?? 0
    }
    return []
  }

  async #clearDeadLetters(): Promise<{ dropped: string[]; problems: Problem[] }> {
    const { letters, query, dropDeadLetters } = this.#options
    const found = await findInDeadLetters(letters, this.#person, query)
    const dropped: string[] = []
    if (dropDeadLetters) {
      for (const { name, own } of found) if (own !== undefined && (await letters.remove(name))) dropped.push(name)
    }
    const left = found.filter(({ name }) => !dropped.includes(name))
    const namesOf = (letters: typeof found) => letters.map(({ name }) => name).join(', ')
    const drafts = left.filter(({ isDraft }) => isDraft === true)
    const whole = left.filter(({ isDraft }) => isDraft !== true)
    const wholeMessage = `dead letters hold, or may hold, events of the person: ${namesOf(whole)}; drop them with --drop-dead-letters or \`penstock dead-letter drop\``
    const draftsMessage = `dead letters are being written, or were when a collector was killed: ${namesOf(drafts)}; run this again in a minute`
    return {
      dropped,
      problems: [
        ...(whole.length === 0 ? [] : [problem('dead_letters', wholeMessage)]),
        ...(drafts.length === 0 ? [] : [problem('dead_letters', draftsMessage)]),
      ],
    }
  }
}
