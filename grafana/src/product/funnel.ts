/** How far visitors get, and whether they come back. */

import type { Row } from '../assemble.ts'
import { DAYS, FIRST_DAY, LAST_DAY, OCCURRED, PAGEVIEW, rows, USER, WORKSPACE } from '../clickhouse.ts'
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
      windowFunnel(${WITHIN_MS})(
          toUInt64(toUnixTimestamp64Milli(occurred_at)),
          ${STEPS.map(({ event }) => event).join(',\n          ')}
      ) AS level
  FROM events
  WHERE ${WORKSPACE} AND ${OCCURRED} AND session_id != '' AND (${STEPS.map(({ event }) => event).join(' OR ')})
  GROUP BY sipHash64(session_id)`

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

/** From the states of sessions: a tenth of the rows of events. Weeks are bits of a number, the first one of the range the lowest. */
const RETENTION_SQL = `
  SELECT
      toMonday(${FIRST_DAY}) + 7 * first AS cohort,
      count() AS users,
      ${WEEKS.map(
        (week) =>
          `if(cohort + ${week * 7} > ${LAST_DAY}, NULL, countIf(bitTest(weeks, first + ${week})) / users) AS "week ${week}"`,
      ).join(',\n      ')}
  FROM
  (
      SELECT
          groupBitOr(bitShiftLeft(toUInt64(1), least(intDiv(toMonday(day) - toMonday(${FIRST_DAY}), 7), 55))) AS weeks,
          toUInt8(log2(bitAnd(weeks, bitNot(weeks) + 1))) AS first
      FROM session_states
      WHERE ${WORKSPACE} AND ${DAYS} AND (user_id != '' OR anonymous_id != '')
      GROUP BY sipHash64(${USER})
  )
  GROUP BY first
  ORDER BY cohort`

export const FUNNEL: Row = {
  title: 'How far do they get, and do they come back?',
  panels: [
    columns({
      title: 'From product to order',
      description:
        'Sessions that reached each step, after all the steps before it, within a day: a product page, add_to_cart, checkout_started, Order Completed. It reads the events of these types: of 30 days with 50 million events that takes some 2 seconds.',
      unit: 'short',
      width: 10,
      field: 'step',
      queries: [rows(FUNNEL_SQL)],
    }),
    table({
      title: 'Weekly retention',
      description:
        'Users by the week (from Monday, UTC) in which they had their first session within the last 8 weeks, and the share of them that had one in later weeks. Who was there before is counted as new in the first week; events without a session_id do not count.',
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
