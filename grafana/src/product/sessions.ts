/** Sessions: how many, how long, and what they are seen with. Events without a session_id make none. */

import type { Row } from '../assemble.ts'
import { rows, SESSIONS_STARTED, series } from '../clickhouse.ts'
import { bars, stat, timeseries } from '../panels.ts'

const BOUNCED = 'countIf(pageviews <= 1)'

const STATS = (value: string) => `
  SELECT ${value}
  FROM ${SESSIONS_STARTED}`

const BY = (column: string) => `
  SELECT if(${column} = '', 'unknown', ${column}) AS name, count() AS sessions
  FROM ${SESSIONS_STARTED}
  GROUP BY name
  ORDER BY sessions DESC
  LIMIT 10`

export const SESSIONS: Row = {
  title: 'How do they visit?',
  panels: [
    stat({
      title: 'Sessions',
      description: 'Sessions that started in the time range.',
      unit: 'short',
      queries: [rows(STATS('count() AS sessions'))],
    }),
    stat({
      title: 'Median duration',
      description: 'Half of the sessions are longer, from their first to their last event.',
      unit: 's',
      queries: [rows(STATS('median(duration_seconds) AS duration'))],
    }),
    stat({
      title: 'Bounce rate',
      description: 'Share of the sessions with one page view, or none.',
      unit: 'percentunit',
      queries: [rows(STATS(`${BOUNCED} / count() AS bounced`))],
    }),
    stat({
      title: 'Pages a session',
      description: 'Page views of an average session.',
      unit: 'short',
      decimals: 1,
      queries: [rows(STATS('avg(pageviews) AS pages'))],
    }),
    stat({
      title: 'Events a session',
      description: 'Events of an average session, of all types.',
      unit: 'short',
      decimals: 1,
      queries: [rows(STATS('avg(events) AS events'))],
    }),
    stat({
      title: 'Mean duration',
      description: 'A few long sessions make it longer than the median.',
      unit: 's',
      queries: [rows(STATS('avg(duration_seconds) AS duration'))],
    }),
    timeseries({
      title: 'Sessions',
      description: 'Sessions by the time at which they started; those that bounced have one page view or none.',
      unit: 'short',
      width: 12,
      bars: true,
      interval: '1h',
      legend: ['sum'],
      queries: [
        series(`
          SELECT $__timeInterval(started_at) AS time, count() AS sessions, ${BOUNCED} AS bounced
          FROM ${SESSIONS_STARTED}
          GROUP BY time
          ORDER BY time`),
      ],
    }),
    timeseries({
      title: 'Duration of sessions',
      description: 'From the first to the last event, by the time at which they started.',
      unit: 's',
      width: 12,
      interval: '1h',
      queries: [
        series(`
          SELECT
              $__timeInterval(started_at) AS time,
              quantile(0.5)(duration_seconds) AS p50,
              quantile(0.9)(duration_seconds) AS p90
          FROM ${SESSIONS_STARTED}
          GROUP BY time
          ORDER BY time`),
      ],
    }),
    bars({
      title: 'Browsers',
      description: 'Sessions by browser, from the User-Agent.',
      unit: 'short',
      field: 'sessions',
      queries: [rows(BY('browser'))],
    }),
    bars({
      title: 'Systems',
      description: 'Sessions by operating system, from the User-Agent.',
      unit: 'short',
      field: 'sessions',
      queries: [rows(BY('os'))],
    }),
    bars({
      title: 'Devices',
      description: 'Sessions by kind of device. `bot` and `library` are programs, not people.',
      unit: 'short',
      field: 'sessions',
      queries: [rows(BY('device'))],
    }),
  ],
}
