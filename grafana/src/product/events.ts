/** What happens: events by type. */

import type { Row } from '../assemble.ts'
import { DAYS, rows, series, TYPES, WORKSPACE } from '../clickhouse.ts'
import { table, timeseries } from '../panels.ts'

export const EVENTS: Row = {
  title: 'What do they do?',
  panels: [
    timeseries({
      title: 'Events by type',
      description: 'Events of the chosen types, as often as the time range has room for bars; a minute at the least.',
      unit: 'short',
      width: 14,
      stacked: true,
      bars: true,
      interval: '1m',
      legend: ['sum'],
      queries: [
        series(`
          SELECT $__timeInterval(minute) AS time, type, sum(events) AS events
          FROM events_per_minute
          WHERE ${WORKSPACE} AND ${TYPES} AND $__timeFilter(minute)
          GROUP BY time, type
          ORDER BY time, type`),
      ],
    }),
    table({
      title: 'Types',
      description: 'Events, distinct users and distinct sessions of each type, by whole days (UTC).',
      unit: 'short',
      width: 10,
      gauges: ['events'],
      queries: [
        rows(`
          SELECT type, sum(events) AS events, uniqMerge(users) AS users, uniqMerge(sessions) AS sessions
          FROM events_per_day
          WHERE ${WORKSPACE} AND ${TYPES} AND ${DAYS}
          GROUP BY type
          ORDER BY events DESC
          LIMIT 100`),
      ],
    }),
  ],
}
