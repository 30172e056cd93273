/**
 * Sessions that the person shares with others: a device that was handed on without a new session. Their states cannot be taken apart, so
 * they are removed with the person's own, and made again from the events of the others, by the query of the view that made them.
 *
 * An event that arrives while this is done may be counted twice, or not at all; so it is checked, and done again where it is not right.
 * On a cluster every shard makes the states of its own events, and all of them are stored at the one that was asked: whoever reads sessions
 * reads those of all shards.
 * Of a session that began more than 90 days ago only the events that are left can be counted again.
 */

import { SettingsMap } from '@clickhouse/client'
import type { Person } from './person.ts'
import type { Store } from './store.ts'
import { EVENT_SESSION, quote } from './tables.ts'

const STATES = 'session_states'
const VIEW = 'session_states_view'

/** Makes the shared sessions from what is not the person's; their old states are deleted. Returns how many there are. */
export async function restoreSharedSessions(store: Store, person: Person): Promise<number> {
  const { conditions: c } = person
  const { layout } = store
  const mixed = await person.ids('mixed')
  if (mixed.length === 0 || (await store.existing([STATES, VIEW])).length < 2) return 0
  const [view] = await store.rows<{ as_select: string }>(
    `SELECT as_select FROM system.tables WHERE database = ${quote(layout.home)} AND name = '${VIEW}'`,
  )
  const columns = await store.rows<{ name: string }>(
    `SELECT name FROM system.columns WHERE database = ${quote(layout.home)} AND table = '${VIEW}' ORDER BY position`,
  )
  const filter = `${c.workspace} AND ${EVENT_SESSION} IN ${c.set('mixed')} AND NOT ${c.ownEvents}`
  await store.run(
    `INSERT INTO ${layout.local(STATES)} (${columns.map(({ name }) => name).join()}) SELECT * FROM ${layout.each(view?.as_select ?? '')}`,
    {
      additional_table_filters: SettingsMap.from({ [`${layout.home}.events`]: quote(filter).slice(1, -1) }),
      insert_deduplicate: 0, // the same states may have been made by an earlier run
    },
  )
  return mixed.length
}

/** Whether every shared session has as many events as there are of others. */
export async function areSharedSessionsRight(store: Store, person: Person): Promise<boolean> {
  const { conditions: c } = person
  const { layout } = store
  if ((await store.existing(['sessions'])).length === 0) return true
  const [row] = await store.rows<{ wrong: number }>(
    `SELECT count() AS wrong FROM (
       SELECT session_id, sum(counted) AS counted, sum(there) AS there FROM (
         SELECT session_id, events AS counted, 0 AS there FROM ${layout.table('sessions')}
         WHERE ${c.workspace} AND session_id IN ${c.set('mixed')}
         UNION ALL
         SELECT ${EVENT_SESSION} AS session_id, 0 AS counted, 1 AS there FROM ${layout.table('events')} AS event
         WHERE ${c.workspace} AND ${EVENT_SESSION} IN ${c.set('mixed')} AND NOT ${c.ownEvents})
       GROUP BY session_id)
     WHERE counted != there`,
  )
  return row?.wrong === 0
}
