/** How far visitors get, and whether they come back. */

import type { Row } from '../assemble.ts'
import { OCCURRED, PAGEVIEW, rows, USER, WORKSPACE } from '../clickhouse.ts'
import { columns, table } from '../panels.ts'

/** The steps of a shop, in their order: what they are called, and which events are meant. */
const STEPS = [
  { name: 'Product page', event: `${PAGEVIEW} AND path LIKE '/product/%'` },
  { name: 'In the cart', event: "type = 'add_to_cart'" },
  { name: 'Checkout', event: "type = 'checkout_started'" },
  { name: 'Order', event: "type = 'Order Completed'" },
] as const

/** Of one session, from the first step on. */
const WITHIN_MS = 24 * 60 * 60 * 1_000

const LEVELS = `
  SELECT
      session_id,
      windowFunnel(${WITHIN_MS})(
          toUInt64(toUnixTimestamp64Milli(occurred_at)),
          ${STEPS.map(({ event }) => event).join(',\n          ')}
      ) AS level
  FROM events
  WHERE ${WORKSPACE} AND ${OCCURRED} AND session_id != ''
      AND type IN ('pageview', 'page_view', 'add_to_cart', 'checkout_started', 'Order Completed')
  GROUP BY session_id`

const FUNNEL_SQL = `
  SELECT name AS step, countIf(level >= number) AS sessions
  FROM
  (${LEVELS}
  )
  ARRAY JOIN [${STEPS.map(({ name }) => `'${name}'`).join(', ')}] AS name, range(1, ${STEPS.length + 1}) AS number
  GROUP BY name, number
  ORDER BY number`

/** Weeks after the first one that a row shows. */
const WEEKS = [1, 2, 3, 4, 5, 6, 7] as const

const RETENTION_SQL = `
  SELECT
      arrayMin(weeks) AS cohort,
      count() AS users,
      ${WEEKS.map(
        (week) =>
          `if(cohort + ${week * 7} > toDate($__toTime, 'UTC'), NULL, countIf(has(weeks, cohort + ${week * 7})) / users) AS "week ${week}"`,
      ).join(',\n      ')}
  FROM
  (
      SELECT ${USER} AS user, groupUniqArray(toMonday(occurred_at)) AS weeks
      FROM events
      WHERE ${WORKSPACE} AND ${OCCURRED} AND (user_id != '' OR anonymous_id != '')
      GROUP BY user
  )
  GROUP BY cohort
  ORDER BY cohort`

export const FUNNEL: Row = {
  title: 'How far do they get, and do they come back?',
  panels: [
    columns({
      title: 'From product to order',
      description:
        'Sessions that reached each step, after all the steps before it, within a day: a product page, add_to_cart, checkout_started, Order Completed.',
      unit: 'short',
      width: 10,
      field: 'step',
      queries: [rows(FUNNEL_SQL)],
    }),
    table({
      title: 'Weekly retention',
      description:
        'Users by the week (from Monday, UTC) in which they were seen first within the last 8 weeks, and the share of them that came back in later weeks. Who was there before is counted as new in the first week.',
      unit: 'percentunit',
      width: 14,
      timeFrom: '8w',
      decimals: 0,
      units: { users: 'short', cohort: 'time:YYYY-MM-DD' },
      coloured: '/^week/',
      min: 0,
      max: 1,
      queries: [rows(RETENTION_SQL)],
    }),
  ],
}
