/** The committed dashboards, as the tests look at them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Target {
  readonly refId: string
  readonly datasource: { readonly type: string; readonly uid: string }
  /** For Prometheus. */
  readonly expr?: string
  readonly instant?: boolean
  /** For ClickHouse. */
  readonly rawSql?: string
  readonly format?: number | string
}

export interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly interval?: string
  readonly timeFrom?: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly fieldConfig?: {
    readonly defaults: { readonly unit?: string; readonly thresholds?: { readonly steps: readonly Step[] } }
    readonly overrides: readonly {
      readonly matcher: { readonly id: string; readonly options: string }
    }[]
  }
  readonly targets?: readonly Target[]
}

interface Step {
  readonly value: number | null
  readonly color: string
}

export interface Variable {
  readonly name: string
  readonly type: string
  readonly datasource: { readonly uid: string }
  readonly query: string | { readonly query: string }
  readonly multi?: boolean
  readonly includeAll?: boolean
}

export interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly Variable[] }
  readonly annotations: { readonly list: readonly { readonly expr: string }[] }
}

export const DASHBOARD_NAMES = ['pipeline', 'product', 'tenants'] as const
export type DashboardName = (typeof DASHBOARD_NAMES)[number]

export const GRAFANA = join(import.meta.dir, '../../grafana')

export function readDashboard(name: DashboardName): Dashboard {
  return JSON.parse(readFileSync(join(GRAFANA, 'dashboards', `${name}.json`), 'utf8')) as Dashboard
}

/** What a variable asks for its values. */
export function queryOf({ query }: Variable): string {
  return typeof query === 'string' ? query : query.query
}

export interface PanelQuery extends Target {
  readonly panel: Panel
  /** For messages. */
  readonly name: string
}

/** Every query of a dashboard for one data source. */
export function queriesOf(name: DashboardName, source: 'prometheus' | 'clickhouse'): PanelQuery[] {
  return readDashboard(name).panels.flatMap((panel) =>
    (panel.targets ?? [])
      .filter(({ datasource }) => datasource.uid === source)
      .map((target) => ({ ...target, panel, name: `${name}: ${panel.title} ${target.refId}` })),
  )
}
