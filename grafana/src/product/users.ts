/** Active users, from the states of `activity_per_day` and `events_per_hour`: distinct over any span, not sums of days. */

import type { Row } from '../assemble.ts'
import { FIRST_DAY, LAST_DAY, rows, series, WORKSPACE } from '../clickhouse.ts'
import { stat, timeseries } from '../panels.ts'

/** The hours of the time range, the first one as a whole. */
const HOURS = 'hour >= toStartOfHour($__fromTime) AND hour <= $__toTime'

/** The days up to the last one, each for itself and for the 29 after it; a user of two days is one of the span that has both. */
const DAYS_AND_AFTER = `
  FROM activity_per_day
  ARRAY JOIN range(30) AS shift
  WHERE ${WORKSPACE} AND day >= ${FIRST_DAY} - 29 AND day <= ${LAST_DAY}
      AND day + shift >= ${FIRST_DAY} AND day + shift <= ${LAST_DAY}`

const ACTIVE = `
  SELECT
      toDateTime(day + shift, 'UTC') AS time,
      uniqMergeIf(users, shift = 0) AS daily,
      uniqMergeIf(users, shift < 7) AS weekly,
      uniqMerge(users) AS monthly${DAYS_AND_AFTER}
  GROUP BY time
  ORDER BY time`

/** Days between two that the average takes, of a long range: each is 30 states to merge. Never whole weeks, which would be one day of the week. */
const STEP = `intDiv(${LAST_DAY} - ${FIRST_DAY}, 10) + if(intDiv(${LAST_DAY} - ${FIRST_DAY}, 10) % 7 = 0, 1, 0)`

const STICKINESS = `
  SELECT avg(daily / monthly) AS stickiness
  FROM
  (
      SELECT uniqMergeIf(users, shift = 0) AS daily, uniqMerge(users) AS monthly${DAYS_AND_AFTER.replaceAll('\n', '\n    ')}
          AND (${LAST_DAY} - (day + shift)) % (${STEP}) = 0
      GROUP BY day + shift
  )`

const IN_RANGE = (value: string) => `
  SELECT ${value}
  FROM events_per_hour
  WHERE ${WORKSPACE} AND ${HOURS}`

export const USERS: Row = {
  title: 'How many use it?',
  panels: [
    stat({
      title: 'Users',
      description: 'Distinct users in the time range, by whole hours.',
      unit: 'short',
      width: 6,
      queries: [rows(IN_RANGE('uniqMerge(users) AS users'))],
    }),
    stat({
      title: 'Events',
      description: 'Events in the time range, of all types, by whole hours.',
      unit: 'short',
      width: 6,
      queries: [rows(IN_RANGE('sum(events) AS events'))],
    }),
    stat({
      title: 'Stickiness',
      description:
        'Users of an average day as a share of the users of the 30 days up to it; of a range beyond three weeks, days at equal distances stand for all.',
      unit: 'percentunit',
      width: 6,
      queries: [rows(STICKINESS)],
    }),
    stat({
      title: 'Events a user',
      description: 'Events with or without a user, divided by distinct users.',
      unit: 'short',
      width: 6,
      decimals: 1,
      queries: [rows(IN_RANGE('sum(events) / uniqMerge(users) AS events'))],
    }),
    timeseries({
      title: 'Active users',
      description:
        'Distinct users of each day (UTC), of the 7 and of the 30 days up to it. A user is user_id, or else anonymous_id.',
      unit: 'short',
      width: 24,
      interval: '1d',
      legend: ['lastNotNull', 'max'],
      queries: [series(ACTIVE)],
    }),
  ],
}
