/** What can be chosen at the top of the dashboards. */
import { QueryVariableBuilder, VariableRefresh, VariableSort } from '@grafana/grafana-foundation-sdk/dashboard'
import { CLICKHOUSE, chosen, OCCURRED, WORKSPACE, type WORKSPACES } from './clickhouse.ts'
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

/** Known users that did something last; any other can be typed. */
export function userVariable(): QueryVariableBuilder {
  const sql = `
    SELECT user_id
    FROM events
    WHERE ${WORKSPACE} AND ${OCCURRED} AND user_id != ''
    GROUP BY user_id
    ORDER BY max(occurred_at) DESC
    LIMIT 100`
  return clickHouseVariable('user', 'User', sql).allowCustomValue(true)
}

/** Pages with most clicks. */
export function pageVariable(): QueryVariableBuilder {
  const sql = `
    SELECT path
    FROM events
    WHERE ${WORKSPACE} AND ${OCCURRED} AND type = 'click'
    GROUP BY path
    ORDER BY count() DESC
    LIMIT 100`
  return clickHouseVariable('page', 'Page of the click map', sql).allowCustomValue(true)
}
