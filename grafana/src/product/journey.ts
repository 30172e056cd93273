/** What one user did. */

import type { Row } from '../assemble.ts'
import { chosen, OCCURRED, rows, TYPES, WORKSPACE } from '../clickhouse.ts'
import { table } from '../panels.ts'

export const JOURNEY: Row = {
  title: 'What did one of them do?',
  panels: [
    table({
      title: 'Journey of $user',
      description: 'Events of the chosen user and types in the time range, the newest first; 500 at the most.',
      unit: 'none',
      width: 24,
      height: 12,
      queries: [
        rows(`
          SELECT occurred_at, type, path, referrer_host, browser, device, session_id, toJSONString(properties) AS properties
          FROM events
          WHERE ${WORKSPACE} AND ${TYPES} AND ${OCCURRED} AND user_id = ${chosen('user')}
          ORDER BY occurred_at DESC
          LIMIT 500`),
      ],
    }),
  ],
}
