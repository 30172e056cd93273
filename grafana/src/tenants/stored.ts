/** What is stored of each workspace. ClickHouse knows the bytes of parts only, which tenants share: so rows are counted. */

import type { Row } from '../assemble.ts'
import { rows, TYPES, WORKSPACES } from '../clickhouse.ts'
import { table } from '../panels.ts'

const RECEIVED = '$__timeFilter(received_at)'

export const STORED: Row = {
  title: 'What is stored of them, and how did it come?',
  panels: [
    table({
      title: 'Rows in events',
      description:
        'All rows of events, whatever the time range, and when the first and the last of them were received. They are kept for 90 days.',
      unit: 'short',
      width: 12,
      gauges: ['rows'],
      units: { share: 'percentunit', first: 'dateTimeAsIso', last: 'dateTimeAsIso' },
      queries: [
        rows(`
          SELECT
              tenant_id AS tenant,
              workspace_id AS workspace,
              count() AS rows,
              rows / sum(rows) OVER () AS share,
              min(received_at) AS first,
              max(received_at) AS last
          FROM events
          WHERE ${WORKSPACES}
          GROUP BY tenant, workspace
          ORDER BY rows DESC
          LIMIT 200`),
      ],
    }),
    table({
      title: 'Protocols',
      description:
        'Events by the interface that they came through, by the time of their receipt, and after which time 95 % of them had come: clients may keep events and send them late.',
      unit: 'short',
      units: { delay: 's' },
      width: 12,
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
