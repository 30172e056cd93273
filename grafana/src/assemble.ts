/** Puts rows of panels into a dashboard. */

import type { Builder } from '@grafana/grafana-foundation-sdk/cog'
import {
  type AnnotationQuery,
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  RowBuilder,
  type VariableModel,
} from '@grafana/grafana-foundation-sdk/dashboard'
import type { Panel } from './panels.ts'

export interface Row {
  /** The question that its panels answer. */
  readonly title: string
  readonly panels: readonly Panel[]
}

export interface DashboardOptions {
  readonly uid: string
  readonly title: string
  readonly description: string
  /** The time range that it opens with, up to now. */
  readonly from: string
  readonly refresh: string
  readonly variables: readonly Builder<VariableModel>[]
  readonly rows: readonly Row[]
  /** Times that are marked on every panel. */
  readonly marks?: readonly Builder<AnnotationQuery>[]
}

const TAG = 'penstock'

/** Panels have ids in their order, so that links to a panel outlive a new generation as long as none comes before it. */
export function assemble(options: DashboardOptions): Dashboard {
  const builder = new DashboardBuilder(options.title)
    .uid(options.uid)
    .description(options.description)
    .tags([TAG])
    .timezone('browser')
    .time({ from: options.from, to: 'now' })
    .refresh(options.refresh)
    .tooltip(DashboardCursorSync.Crosshair)
    .editable()
    .variables([...options.variables])
    .annotations([...(options.marks ?? [])])
    .link(
      new DashboardLinkBuilder('Penstock')
        .type(DashboardLinkType.Dashboards)
        .tags([TAG])
        .asDropdown(true)
        .keepTime(true)
        .includeVars(true),
    )
  for (const { title, panels } of options.rows) {
    builder.withRow(new RowBuilder(title))
    for (const panel of panels) builder.withPanel(panel)
  }
  const dashboard = builder.build()
  for (const [index, panel] of (dashboard.panels ?? []).entries()) panel.id = index + 1
  return dashboard
}
