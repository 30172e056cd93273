/**
 * Queries of the product's data. `$__…` are macros of the plugin grafana-clickhouse-datasource, `${name:singlequote}` is Grafana's.
 * Every query names the tenant and the workspace: the tables are sorted by them.
 */
import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog'
import { dedent, placeholder } from './text.ts'

/** The data source, as grafana/provisioning/datasources has it. */
export const CLICKHOUSE = { type: 'grafana-clickhouse-datasource', uid: 'clickhouse' }

/** What the plugin makes of the rows: series by time, or a table. */
const FORMATS = { series: 0, table: 1 } as const

export interface ClickHouseQuery extends Dataquery {
  readonly datasource: typeof CLICKHOUSE
  readonly editorType: 'sql'
  readonly queryType: 'timeseries' | 'table'
  readonly format: number
  readonly rawSql: string
  readonly pluginVersion: string
  readonly refId: string
}

/** Makes the query that the plugin stores. */
export class ClickHouseQueryBuilder implements Builder<Dataquery> {
  private readonly sql: string
  private readonly format: keyof typeof FORMATS
  private id = 'A'

  constructor(sql: string, format: keyof typeof FORMATS) {
    this.sql = dedent(sql)
    this.format = format
  }

  refId(id: string): this {
    this.id = id
    return this
  }

  build(): ClickHouseQuery {
    const query: Omit<ClickHouseQuery, '_implementsDataqueryVariant'> = {
      refId: this.id,
      datasource: CLICKHOUSE,
      editorType: 'sql',
      queryType: this.format === 'series' ? 'timeseries' : 'table',
      format: FORMATS[this.format],
      pluginVersion: '4.20.0',
      rawSql: this.sql,
    }
    return query as ClickHouseQuery
  }
}

/** Values by time: a column `time`, numbers, and texts that tell series apart. */
export function series(sql: string): ClickHouseQueryBuilder {
  return new ClickHouseQueryBuilder(sql, 'series')
}

/** Rows as they are. */
export function rows(sql: string): ClickHouseQueryBuilder {
  return new ClickHouseQueryBuilder(sql, 'table')
}

/** A variable's value as a text of SQL; of several values, texts with commas between. */
export function chosen(variable: string): string {
  return placeholder(`${variable}:singlequote`)
}

/** The one tenant and workspace that are chosen. */
export const WORKSPACE = `tenant_id = ${chosen('tenant')} AND workspace_id = ${chosen('workspace')}`

/** The tenants and workspaces that are chosen; All is the list of all. */
export const WORKSPACES = `tenant_id IN (${chosen('tenant')}) AND workspace_id IN (${chosen('workspace')})`

/** The event types that are chosen. */
export const TYPES = `$__conditionalAll(type IN (${chosen('type')}), $type)`

export const FIRST_DAY = "toDate($__fromTime, 'UTC')"
export const LAST_DAY = "toDate($__toTime, 'UTC')"

/** Whole days of UTC, as the aggregates have them. */
export const DAYS = `day >= ${FIRST_DAY} AND day <= ${LAST_DAY}`

/** Events that happened in the time range. Days of `received_at` before it need not be read: no event is received a second before it happens. */
export const OCCURRED = '$__timeFilter(occurred_at) AND received_at >= $__fromTime - INTERVAL 1 SECOND'

/**
 * The sessions that began in the time range: reads its days alone. Texts, in UTC: ClickHouse would write a DateTime in the zone of the server and
 * read it in UTC. The end is a time to be left out, so it is the next second.
 */
export const SESSIONS_STARTED = `sessions_between(
      tenant = ${chosen('tenant')},
      workspace = ${chosen('workspace')},
      from = toString($__fromTime, 'UTC'),
      to = toString($__toTime + 1, 'UTC'))`

/** As in the aggregates: who is known by name, else the device. */
export const USER = "if(user_id != '', user_id, anonymous_id)"

export const PAGEVIEW = "type IN ('pageview', 'page_view')"

/** A property as a number: null when there is none, or something else. Clients send what they like, and a cast would fail the query. */
export function numberAt(path: string): string {
  return `toFloat64OrNull(toString(${path}))`
}

/** A property as text: empty when there is none. */
export function textAt(path: string): string {
  return `ifNull(toString(${path}), '')`
}
