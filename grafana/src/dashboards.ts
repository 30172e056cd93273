/** All dashboards, as the files in grafana/dashboards have them. */
import { pipelineDashboard } from './pipeline/dashboard.ts'
import { productDashboard } from './product/dashboard.ts'
import { tenantsDashboard } from './tenants/dashboard.ts'

const DASHBOARDS = { pipeline: pipelineDashboard, product: productDashboard, tenants: tenantsDashboard }

/** The name of each file and what it has to contain. */
export function renderDashboards(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(DASHBOARDS).map(([name, build]) => [`${name}.json`, `${JSON.stringify(build(), null, 2)}\n`]),
  )
}
