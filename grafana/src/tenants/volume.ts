/** Events and users of tenants and workspaces, from the aggregates. */

import type { Row } from '../assemble.ts'
import { DAYS, rows, series, TYPES, WORKSPACES } from '../clickhouse.ts'
import { table, timeseries } from '../panels.ts'
import { placeholder } from '../text.ts'

/** Opens Product analytics for the tenant and workspace of a row. */
const TO_PRODUCT = {
  title: 'Product analytics',
  url: `/d/penstock-product?var-tenant=${placeholder('__data.fields.tenant')}&var-workspace=${placeholder('__value.raw')}&${placeholder('__url_time_range')}`,
}

export const VOLUME: Row = {
  title: 'Who sends what?',
  panels: [
    timeseries({
      title: 'Events by tenant',
      description: 'Events of the chosen types by the time at which they happened, a minute a bar at the least.',
      unit: 'short',
      width: 12,
      stacked: true,
      bars: true,
      interval: '1m',
      legend: ['sum'],
      queries: [
        series(`
          SELECT $__timeInterval(minute) AS time, tenant_id AS tenant, sum(events) AS events
          FROM events_per_minute
          WHERE ${WORKSPACES} AND ${TYPES} AND $__timeFilter(minute)
          GROUP BY time, tenant
          ORDER BY time, tenant`),
      ],
    }),
    timeseries({
      title: 'Users by tenant and workspace',
      description: 'Distinct users of each hour.',
      unit: 'short',
      width: 12,
      interval: '1h',
      queries: [
        series(`
          SELECT $__timeInterval(hour) AS time, concat(tenant_id, ' / ', workspace_id) AS workspace, uniqMerge(users) AS users
          FROM events_per_hour
          WHERE ${WORKSPACES} AND ${TYPES} AND $__timeFilter(hour)
          GROUP BY time, workspace
          ORDER BY time, workspace`),
      ],
    }),
    table({
      title: 'Workspaces',
      description: 'Events of all types, distinct users and sessions, by whole days (UTC).',
      unit: 'short',
      width: 12,
      gauges: ['events'],
      links: { workspace: TO_PRODUCT },
      queries: [
        rows(`
          SELECT
              tenant_id AS tenant,
              workspace_id AS workspace,
              sum(events) AS events,
              uniqMerge(users) AS users,
              uniqMerge(sessions) AS sessions
          FROM activity_per_day
          WHERE ${WORKSPACES} AND ${DAYS}
          GROUP BY tenant, workspace
          ORDER BY events DESC
          LIMIT 200`),
      ],
    }),
    table({
      title: 'Types',
      description: 'Events by workspace and type, by whole days (UTC).',
      unit: 'short',
      width: 12,
      gauges: ['events'],
      queries: [
        rows(`
          SELECT tenant_id AS tenant, workspace_id AS workspace, type, sum(events) AS events
          FROM events_per_day
          WHERE ${WORKSPACES} AND ${TYPES} AND ${DAYS}
          GROUP BY tenant, workspace, type
          ORDER BY events DESC
          LIMIT 500`),
      ],
    }),
  ],
}
