/** Tenants and keys: who sends what. */
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { assemble } from '../assemble.ts'
import { WORKSPACES } from '../clickhouse.ts'
import { instanceVariable, tenantsVariable, typeVariable, workspacesVariable } from '../variables.ts'
import { KEYS } from './keys.ts'
import { STORED } from './stored.ts'
import { VOLUME } from './volume.ts'

export function tenantsDashboard(): Dashboard {
  return assemble({
    uid: 'penstock-tenants',
    title: 'Penstock / Tenants and keys',
    description: 'Which tenant, workspace and key sends how much, from ClickHouse and, for keys, from Prometheus.',
    from: 'now-24h',
    refresh: '1m',
    variables: [tenantsVariable(), workspacesVariable(), typeVariable(WORKSPACES), instanceVariable()],
    rows: [VOLUME, KEYS, STORED],
  })
}
