/** Where visitors come from, and which pages they see. */

import type { Row } from '../assemble.ts'
import { DAYS, rows, SESSIONS_STARTED, WORKSPACE } from '../clickhouse.ts'
import { table } from '../panels.ts'

export const PAGES: Row = {
  title: 'Where do they come from, and where do they go?',
  panels: [
    table({
      title: 'Top pages',
      description: 'Page views and distinct users of each path, by whole days (UTC).',
      unit: 'short',
      width: 12,
      gauges: ['pageviews'],
      queries: [
        rows(`
          SELECT path, sum(pageviews) AS pageviews, uniqMerge(users) AS users
          FROM pages_per_day
          WHERE ${WORKSPACE} AND ${DAYS} AND path IN
          (
              SELECT path
              FROM pages_per_day
              WHERE ${WORKSPACE} AND ${DAYS}
              GROUP BY path
              ORDER BY sum(pageviews) DESC
              LIMIT 50
          )
          GROUP BY path
          ORDER BY pageviews DESC
          LIMIT 50`),
      ],
    }),
    table({
      title: 'Entry pages',
      description: 'Where sessions start, and how many of them end there: with one page view or none.',
      unit: 'short',
      width: 12,
      gauges: ['sessions'],
      units: { bounced: 'percentunit', duration: 's' },
      queries: [
        rows(`
          SELECT
              entry_path AS path,
              count() AS sessions,
              countIf(pageviews <= 1) / count() AS bounced,
              median(duration_seconds) AS duration
          FROM ${SESSIONS_STARTED}
          GROUP BY path
          ORDER BY sessions DESC
          LIMIT 50`),
      ],
    }),
    table({
      title: 'Referrers',
      description: 'Hosts of the pages before, by whole days (UTC). Page views from one’s own pages are in it too.',
      unit: 'short',
      width: 10,
      gauges: ['pageviews'],
      queries: [
        rows(`
          SELECT
              referrer_host AS referrer,
              sum(pageviews) AS pageviews,
              uniqMerge(users) AS users,
              uniqMerge(sessions) AS sessions
          FROM referrers_per_day
          WHERE ${WORKSPACE} AND ${DAYS} AND referrer_host != ''
          GROUP BY referrer
          ORDER BY pageviews DESC
          LIMIT 50`),
      ],
    }),
    table({
      title: 'Sources and campaigns',
      description:
        'Sessions by utm_source, utm_medium and utm_campaign of their entry page; without them by the host they came from.',
      unit: 'short',
      width: 14,
      gauges: ['sessions'],
      units: { bounced: 'percentunit' },
      queries: [
        rows(`
          SELECT
              source,
              medium,
              campaign,
              count() AS sessions,
              avg(pageviews) AS pages,
              countIf(pageviews <= 1) / count() AS bounced
          FROM ${SESSIONS_STARTED}
          GROUP BY source, medium, campaign
          ORDER BY sessions DESC
          LIMIT 50`),
      ],
    }),
  ],
}
