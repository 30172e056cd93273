/** Product analytics: what users do, from ClickHouse. */
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { assemble } from '../assemble.ts'
import { WORKSPACE } from '../clickhouse.ts'
import { pageVariable, tenantVariable, typeVariable, userVariable, workspaceVariable } from '../variables.ts'
import { CLICKS } from './clicks.ts'
import { EVENTS } from './events.ts'
import { FUNNEL } from './funnel.ts'
import { JOURNEY } from './journey.ts'
import { PAGES } from './pages.ts'
import { REVENUE } from './revenue.ts'
import { SESSIONS } from './sessions.ts'
import { USERS } from './users.ts'

export function productDashboard(): Dashboard {
  return assemble({
    uid: 'penstock-product',
    title: 'Penstock / Product analytics',
    description:
      'What the users of one workspace do: from the aggregates where they have it, else from events (90 days).',
    from: 'now-7d',
    refresh: '5m',
    variables: [tenantVariable(), workspaceVariable(), typeVariable(WORKSPACE), userVariable(), pageVariable()],
    rows: [USERS, EVENTS, SESSIONS, PAGES, FUNNEL, REVENUE, CLICKS, JOURNEY],
  })
}
