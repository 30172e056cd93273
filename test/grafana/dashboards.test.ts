/** The committed dashboards, by themselves. */
import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { YAML } from 'bun'
import { renderDashboards } from '../../grafana/src/dashboards.ts'
import { DASHBOARD_NAMES, GRAFANA, type Panel, readDashboard } from '../support/dashboards.ts'

test('they are what `bun run grafana` makes', () => {
  const directory = join(GRAFANA, 'dashboards')
  const committed = readdirSync(directory).map((name) => [name, readFileSync(join(directory, name), 'utf8')])
  expect(Object.fromEntries(committed)).toEqual(renderDashboards())
})

test('their data sources are provisioned', () => {
  const directory = join(GRAFANA, 'provisioning/datasources')
  const files = readdirSync(directory).map((name) => YAML.parse(readFileSync(join(directory, name), 'utf8')))
  const provisioned = (files as { datasources: { uid: string; type: string }[] }[]).flatMap(({ datasources }) =>
    datasources.map(({ uid, type }) => ({ uid, type })),
  )
  const used = DASHBOARD_NAMES.flatMap((name) => readDashboard(name).panels)
    .flatMap(({ targets = [] }) => targets)
    .map(({ datasource }) => datasource)
  for (const datasource of used) expect(provisioned).toContainEqual(datasource)
})

for (const name of DASHBOARD_NAMES) {
  const { panels, templating } = readDashboard(name)
  const charts = panels.filter(({ type }) => type !== 'row')

  describe(name, () => {
    test('every panel says what it shows, in which unit, and from where on it wants attention', () => {
      const silent = charts.filter(
        ({ description = '', fieldConfig, targets = [] }) =>
          description.length < 15 ||
          fieldConfig?.defaults.unit === undefined ||
          fieldConfig.defaults.thresholds?.steps[0]?.value !== null ||
          targets.length === 0,
      )
      expect(silent.map(({ title }) => title)).toEqual([])
    })

    test('panels have ids and titles of their own, and fill the lines', () => {
      expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
      const pairs = panels.flatMap((one, index) => panels.slice(index + 1).map((other) => [one, other] as const))
      const overlapping = pairs.filter(([one, other]) => overlap(one, other))
      expect(overlapping.map(([one, other]) => `${one.title} / ${other.title}`)).toEqual([])
      const widths = Map.groupBy(panels, ({ gridPos }) => gridPos.y)
      const full = [...widths.values()].map((line) => line.reduce((sum, { gridPos }) => sum + gridPos.w, 0))
      expect(new Set(full)).toEqual(new Set([24]))
    })

    test('queries of a panel have letters of their own', () => {
      for (const { targets = [] } of charts)
        expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length)
    })

    test('every variable is used, and every one that is used is there', () => {
      const text = JSON.stringify([panels, templating.list.map(({ query }) => query)])
      const used = [...text.matchAll(/\$\{?([a-z]+)\b/g)].map(([, variable]) => variable as string)
      expect([...new Set(used)].sort()).toEqual(templating.list.map((variable) => variable.name).sort())
    })
  })
}

function overlap({ gridPos: one }: Panel, { gridPos: other }: Panel): boolean {
  const apart =
    one.x + one.w <= other.x || other.x + other.w <= one.x || one.y + one.h <= other.y || other.y + other.h <= one.y
  return !apart
}
