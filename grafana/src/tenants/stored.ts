/** What is stored of each workspace. ClickHouse knows the bytes of parts only, which tenants share: so events are counted. */

import type { Row } from '../assemble.ts'
import { rows, TYPES, WORKSPACES } from '../clickhouse.ts'
import { table } from '../panels.ts'

const RECEIVED = '$__timeFilter(received_at)'

export const STORED: Row = {
  title: 'What is stored of them, and how did it come?',
  panels: [
    table({
      title: 'Events of 90 days',
      description:
        'Events that happened within the last 90 days, whatever the time range: about what is stored of each workspace, as events are kept for 90 days after their receipt.',
      unit: 'short',
      width: 12,
      gauges: ['events'],
      units: { share: 'percentunit', first: 'time:YYYY-MM-DD', last: 'time:YYYY-MM-DD' },
      queries: [
        rows(`
          SELECT
              tenant_id AS tenant,
              workspace_id AS workspace,
              sum(activity_per_day.events) AS events,
              events / sum(events) OVER () AS share,
              min(day) AS first,
              max(day) AS last
          FROM activity_per_day
          WHERE ${WORKSPACES} AND day > toDate(now(), 'UTC') - 90
          GROUP BY tenant, workspace
          ORDER BY events DESC
          LIMIT 200`),
      ],
    }),
    table({
      title: 'Protocols',
      description:
        'Events of the last 24 hours by the interface that they came through, by the time of their receipt, and after which time 95 % of them had come: clients may keep events and send them late. It reads all events, so it has a range of its own.',
      unit: 'short',
      units: { delay: 's' },
      width: 12,
      timeFrom: '24h',
      gauges: ['events'],
      queries: [
        rows(`
          SELECT
              tenant_id AS tenant,
              workspace_id AS workspace,
              protocol,
              count() AS events,
              quantile(0.95)(dateDiff('millisecond', occurred_at, received_at) / 1000) AS delay
          FROM events
          WHERE ${WORKSPACES} AND ${TYPES} AND ${RECEIVED}
          GROUP BY tenant, workspace, protocol
          ORDER BY events DESC
          LIMIT 200`),
      ],
    }),
  ],
}
