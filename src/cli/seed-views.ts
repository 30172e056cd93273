/** What `seed` says at its end: what was sent, and where to look at it. */
import type { Config } from '../config.ts'
import type { Provisioned } from '../control/control-database.ts'
import type { WorkspaceName } from '../control/workspace-record.ts'
import type { TrafficPlan } from '../seed/traffic.ts'
import { shown } from './progress.ts'
import { clickhouseOf } from './session.ts'

/** What was done. */
export interface Seeded {
  readonly plan: TrafficPlan
  readonly visits: number
  readonly url: string
  readonly config: Config
  /** Undefined when only the collector knows whose the key is. */
  readonly workspace: WorkspaceName | undefined
  /** All of it was seen in ClickHouse. */
  readonly isQueryable: boolean
  readonly sentMs: number
  readonly made: Provisioned | undefined
}

/** Prints it, with lines that work as they are. */
export function printWhatToSee(seeded: Seeded): void {
  const { plan, visits, workspace, sentMs, isQueryable } = seeded
  const name = workspace === undefined ? "the key's workspace" : `${workspace.tenant}/${workspace.workspace}`
  const visitors = Math.min(plan.visitors, visits)
  const sent = `${shown(plan.events)} events, ${shown(visits)} visits of about ${shown(visitors)} visitors in ${plan.days === 1 ? '1 day' : `${plan.days} days`}`
  const lines = [
    `Stored in ${name}: ${sent} (${(sentMs / 1000).toFixed(1)} s)`,
    isQueryable
      ? 'All of them can be queried.'
      : 'They can be queried as soon as ClickHouse has them: /health says how it is.',
    '',
    ...(workspace === undefined ? [] : queries(seeded, workspace)),
    'Dashboards: docs/grafana.md. More queries: docs/sql.md',
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}

function queries({ config, url, made }: Seeded, { tenant, workspace }: WorkspaceName): string[] {
  const { user, password, database } = config.clickhouse
  const login = password !== '' || user !== 'default' ? ` --user ${user}` : '' // asks for the password
  const ask = (sql: string) => [
    `  curl -sS '${clickhouseOf(config).url}/?database=${database}'${login} --data-binary "`,
    ...sql.split('\n').slice(1),
    '    FORMAT PrettyCompact"',
    '',
  ]
  const journey = [
    "One user's events, newest first (take a user id from the table users):",
    `  curl -sS '${url}/users/USER_ID/journey?limit=20' -H 'API-Key: ${made?.secretKey}'`,
    '',
  ]
  return [
    'Pages and orders a day:',
    ...ask(`
    SELECT day, sumIf(events, type = 'pageview') AS pageviews, sumIf(events, type = 'Order Completed') AS orders
    FROM event_counts_per_day
    WHERE tenant_id = '${tenant}' AND workspace_id = '${workspace}'
    GROUP BY day ORDER BY day`),
    'How far sessions came: product, cart, checkout, order:',
    ...ask(`
    SELECT step, count() AS sessions
    FROM
    (
        SELECT windowFunnel(7200)(toDateTime(occurred_at), type = 'pageview' AND path LIKE '/product/%',
            type = 'add_to_cart', type = 'checkout_started', type = 'Order Completed') AS step
        FROM events
        WHERE tenant_id = '${tenant}' AND workspace_id = '${workspace}'
        GROUP BY session_id
    )
    GROUP BY step ORDER BY step`),
    ...(made === undefined ? [] : journey),
  ]
}
