/** What can be chosen at the top of the dashboards. */
import { QueryVariableBuilder, VariableRefresh, VariableSort } from '@grafana/grafana-foundation-sdk/dashboard'
import { CLICKHOUSE, chosen, DAYS, WORKSPACE, type WORKSPACES } from './clickhouse.ts'
import { PROMETHEUS } from './prometheus.ts'
import { dedent } from './text.ts'

const ALL = { text: ['All'], value: ['$__all'], selected: true }

/** Collectors that Prometheus knows. */
export function instanceVariable(): QueryVariableBuilder {
  const query = 'label_values(penstock_log_limit_bytes, instance)'
  return new QueryVariableBuilder('instance')
    .label('Collector')
    .datasource(PROMETHEUS)
    .query({ query, refId: 'instance' })
    .definition(query)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue('.*')
    .current(ALL)
}

function clickHouseVariable(name: string, label: string, sql: string): QueryVariableBuilder {
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(CLICKHOUSE)
    .query(dedent(sql))
    .definition(dedent(sql))
    .refresh(VariableRefresh.OnTimeRangeChanged)
}

const TENANTS = 'SELECT DISTINCT tenant_id FROM events_per_day ORDER BY tenant_id'

export function tenantVariable(): QueryVariableBuilder {
  return clickHouseVariable('tenant', 'Tenant', TENANTS)
}

export function workspaceVariable(): QueryVariableBuilder {
  const sql = `
    SELECT DISTINCT workspace_id FROM events_per_day WHERE tenant_id = ${chosen('tenant')} ORDER BY workspace_id`
  return clickHouseVariable('workspace', 'Workspace', sql)
}

export function tenantsVariable(): QueryVariableBuilder {
  return tenantVariable().multi(true).includeAll(true).current(ALL)
}

export function workspacesVariable(): QueryVariableBuilder {
  const sql = `
    SELECT DISTINCT workspace_id FROM events_per_day
    WHERE tenant_id IN (${chosen('tenant')})
    ORDER BY workspace_id`
  return clickHouseVariable('workspace', 'Workspace', sql).multi(true).includeAll(true).current(ALL)
}

/** Of one workspace, or of all that are chosen. */
export function typeVariable(where: typeof WORKSPACE | typeof WORKSPACES): QueryVariableBuilder {
  const sql = `SELECT DISTINCT type FROM events_per_day WHERE ${where} ORDER BY type`
  return clickHouseVariable('type', 'Event type', sql).multi(true).includeAll(true).current(ALL)
}

/** Known users with the last sessions; any other can be typed. The last days are read first, and no more than is wanted. */
export function userVariable(): QueryVariableBuilder {
  const sql = `
    SELECT user_id
    FROM
    (
        SELECT user_id, ended_at
        FROM session_states
        WHERE ${WORKSPACE} AND ${DAYS} AND user_id != ''
        ORDER BY day DESC
        LIMIT 10000
    )
    GROUP BY user_id
    ORDER BY max(ended_at) DESC
    LIMIT 100`
  return clickHouseVariable('user', 'User', sql).allowCustomValue(true)
}

/** Pages that were seen most; any other can be typed. */
export function pageVariable(): QueryVariableBuilder {
  const sql = `
    SELECT path
    FROM pages_per_day
    WHERE ${WORKSPACE} AND ${DAYS} AND path != ''
    GROUP BY path
    ORDER BY sum(pageviews) DESC
    LIMIT 100`
  return clickHouseVariable('page', 'Page of the click map', sql).allowCustomValue(true)
}
