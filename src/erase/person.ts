/**
 * Who the person is: which ids and which events are theirs. Everything is found in `events`, and kept in a table of the run.
 *
 *     user       user ids that were given
 *     given      anonymous ids that were given
 *     candidate  anonymous ids that were seen with these users: of a device before the login. Also `previousId` of their `alias` events
 *     device     candidates that were not seen with another user, and the given ones
 *     touched    sessions with events of the person, also older ones whose events are gone
 *     nameless   of these, the ones without events of anybody else: their events without any id are the person's
 *     mixed      of these, the ones with events that are not the person's
 *     word       what is looked for in the keys of aggregates, and
 *     text       keys that name the person, by table (`scope`); see `texts.ts`
 *
 * Events of the person are those of the users, those without user of a device, and those without user and device of a nameless session. A
 * device or session that others use too tells nothing about an event without user: such events stay. Who knows better gives the anonymous id.
 *
 * `alias` events are believed as far as `identify` events are: what a device sent before it had a user is the person's. A previous *user* is
 * not: whoever may send events could have another one erased so. Such users are named in the report.
 *
 * The ids are in a table and not in the statements, because ClickHouse keeps the text of a mutation for the next hundred, and logs that of
 * queries. They are only added to, never taken out, through all rounds of a run: once the events of a login are gone, nothing else tells
 * whose the device was. For the same reason the table of a run that broke off stays, and the next run for the same person takes it over; see
 * `run.ts`.
 */
import { type Problem, problem } from '../problem.ts'
import type { Layout } from './layout.ts'
import { Run } from './run.ts'
import type { Store } from './store.ts'
import { Conditions, EVENT_SESSION, type IdKind, PERSONAL_TABLES, quote } from './tables.ts'

/** Whom to erase. */
export interface PersonQuery {
  readonly tenantId: string
  readonly workspaceId: string
  readonly users: readonly string[]
  readonly anonymousIds: readonly string[]
}

/** Another user that an `alias` event ties to the person. */
export interface Alias {
  readonly userId: string
  /** Events of that user. */
  readonly events: number
}

const PREVIOUS_ID = `ifNull(properties.previousId.:String, '')`

/** The person of one run. */
export class Person {
  readonly run: Run
  readonly conditions: Conditions
  readonly #layout: Layout
  readonly #store: Store

  private constructor(store: Store, query: PersonQuery) {
    this.run = new Run(store, query)
    this.#layout = store.layout
    this.conditions = new Conditions({ ...query, idsTable: store.layout.local(this.run.table) })
    this.#store = store
  }

  /** Begins a run, with the ids that are given and those of runs for the same person that broke off. */
  static async open(store: Store, query: PersonQuery): Promise<Person | Problem<'mutation_failed'>> {
    const person = new Person(store, query)
    const given = (kind: IdKind, ids: readonly string[]) =>
      ids.map((id) => ({ kind, scope: '', id: id.toWellFormed() }))
    const { users, anonymousIds } = query
    const ids = [...given('user', users), ...given('given', anonymousIds), ...given('device', anonymousIds)]
    let hasBegun = false
    try {
      const failure = await person.run.begin(ids)
      hasBegun = failure === undefined
      return failure ?? person
    } finally {
      if (!hasBegun) await person.run.drop().catch(() => undefined) // what broke it off says more
    }
  }

  /** Finds ids that are not known yet. */
  async find(): Promise<void> {
    for (const table of await this.#store.existing(PERSONAL_TABLES))
      await this.#store.everywhere(this.#layout.caughtUp(table))
    const { workspace, ownEvents } = this.conditions
    const c = this.conditions
    const events = this.#layout.table('events')
    await this.#add(
      'candidate',
      `SELECT anonymous_id AS id FROM ${events} WHERE ${workspace} AND user_id IN ${c.set('user')}
       UNION ALL
       SELECT ${PREVIOUS_ID} AS id FROM ${events} WHERE ${workspace} AND type = 'alias' AND user_id IN ${c.set('user')}`,
    )
    await this.#add('device', `SELECT id FROM ${c.set('candidate')} WHERE id NOT IN (${this.#othersDevices()})`)
    await this.#add('touched', `SELECT ${EVENT_SESSION} AS id FROM ${events} WHERE ${workspace} AND ${ownEvents}`)
    await this.#findOldSessions()
    const others = (which: string) =>
      `SELECT ${EVENT_SESSION} AS id FROM ${events}
       WHERE ${workspace} AND ${EVENT_SESSION} IN ${c.set('touched')} AND NOT ${ownEvents} AND ${which}`
    await this.#add(
      'nameless',
      `SELECT id FROM ${c.set('touched')} WHERE id NOT IN (${others(`(user_id != '' OR anonymous_id != '')`)})`,
    )
    await this.#add('mixed', others('1'))
  }

  /**
   * Sessions outlive their events. Of those that have none any more the user and the device are known, of several the greatest: a session of
   * the device counts when it had no user. They tell nothing about other devices: a device may have got a new id within a session.
   */
  async #findOldSessions(): Promise<void> {
    const [sessions] = await this.#store.existing(['session_states'])
    if (sessions === undefined) return
    const c = this.conditions
    const states = this.#layout.table(sessions)
    await this.#add(
      'touched',
      `SELECT session_id AS id FROM ${states} WHERE ${c.workspace} AND user_id IN ${c.cutSet('user')}
       UNION ALL
       SELECT session_id AS id FROM ${states} WHERE ${c.workspace} AND session_id GLOBAL IN (
         SELECT session_id FROM ${states} WHERE ${c.workspace} AND anonymous_id IN ${c.cutSet('device')})
       GROUP BY session_id HAVING max(user_id) = '' AND countIf(anonymous_id NOT IN ${c.cutSet('device')} AND anonymous_id != '') = 0`,
    )
  }

  /** Anonymous ids that were seen with the person and with others. Those that were not given keep their events without user. */
  sharedDevices(): Promise<{ anonymous_id: string; is_given: number; events: number }[]> {
    const c = this.conditions
    const shared = `(SELECT id FROM (${this.#othersDevices()}))`
    return this.#store.rows(
      `SELECT anonymous_id, anonymous_id IN ${c.set('given')} AS is_given, countIf(user_id = '') AS events
       FROM ${this.#layout.table('events')} WHERE ${c.workspace} AND anonymous_id GLOBAL IN ${shared}
       GROUP BY anonymous_id ORDER BY anonymous_id`,
    )
  }

  /** Users that are the person before or after an `alias`, as far as its sender tells the truth. */
  async aliases(): Promise<Alias[]> {
    const c = this.conditions
    const events = this.#layout.table('events')
    const isAlias = `${c.workspace} AND type = 'alias'`
    const rows = await this.#store.rows<{ id: string; events: number }>(
      `SELECT user_id AS id, count() AS events FROM ${events}
       WHERE ${c.workspace} AND user_id != '' AND user_id NOT IN ${c.set('user')} AND user_id GLOBAL IN (
         SELECT ${PREVIOUS_ID} FROM ${events} WHERE ${isAlias} AND user_id IN ${c.set('user')}
         UNION ALL SELECT user_id FROM ${events} WHERE ${isAlias} AND ${PREVIOUS_ID} IN (
           SELECT id FROM ${this.#layout.local(this.run.table)} WHERE kind IN ('user', 'device')))
       GROUP BY id ORDER BY id`,
    )
    return rows.map(({ id, events: count }) => ({ userId: id, events: count }))
  }

  /** Ids of a kind. */
  async ids(kind: IdKind): Promise<string[]> {
    const rows = await this.#store.rows<{ id: string }>(
      `SELECT DISTINCT id FROM ${this.conditions.set(kind)} ORDER BY id`,
    )
    return rows.map(({ id }) => id)
  }

  /** Adds what was found elsewhere. */
  async note(kind: 'word' | 'text', scope: string, ids: readonly string[]): Promise<void> {
    await this.run.insert(ids.map((id) => ({ kind, scope, id })))
  }

  /** How many texts are noted, over all aggregates. */
  async countTexts(): Promise<number> {
    const texts = `SELECT DISTINCT scope, id FROM ${this.#layout.local(this.run.table)} WHERE kind = 'text'`
    const [row] = await this.#store.rows<{ texts: number }>(`SELECT count() AS texts FROM (${texts})`)
    return row?.texts ?? 0
  }

  /** Adds what a query finds, each once, without the empty id. */
  async #add(kind: IdKind, query: string): Promise<void> {
    const known = this.conditions.set(kind)
    await this.run.insertFrom(`SELECT DISTINCT '${kind}', '', id FROM (${query}) WHERE id != '' AND id NOT IN ${known}`)
  }

  /** Candidates and given ids that an event, or an alias, of another user names. */
  #othersDevices(): string {
    const c = this.conditions
    const events = this.#layout.table('events')
    const isAnother = `user_id != '' AND user_id NOT IN ${c.set('user')}`
    const ids = `(SELECT id FROM ${this.#layout.local(this.run.table)} WHERE kind IN ('candidate', 'given'))`
    return `SELECT anonymous_id AS id FROM ${events} WHERE ${c.workspace} AND ${isAnother} AND anonymous_id IN ${ids}
      UNION ALL
      SELECT ${PREVIOUS_ID} AS id FROM ${events} WHERE ${c.workspace} AND type = 'alias' AND ${isAnother} AND ${PREVIOUS_ID} IN ${ids}`
  }
}

/** Whether a workspace has anything in ClickHouse: a misspelt name must not look like an erasure that is done. */
export async function checkWorkspace(
  store: Store,
  { tenantId, workspaceId }: PersonQuery,
): Promise<Problem<'unknown_workspace' | 'no_tables'> | undefined> {
  const [table] = await store.existing(['events'])
  if (table === undefined) return problem('no_tables', `database ${store.layout.home} has no table events`)
  const where = `tenant_id = ${quote(tenantId)} AND workspace_id = ${quote(workspaceId)}`
  for (const known of await store.existing(['events', 'events_per_day', 'user_traits'])) {
    // No LIMIT 1: ClickHouse cuts its connection to a shard when it has enough, and one that is an embedded ClickHouse (26.7) can die of it.
    const [row] = await store.rows<{ there: number }>(
      `SELECT count() AS there FROM ${store.layout.table(known)} WHERE ${where}`,
    )
    if ((row?.there ?? 0) > 0) return undefined
  }
  return problem('unknown_workspace', `there is nothing of workspace ${tenantId}/${workspaceId} in ClickHouse`)
}
