/** The queries that people wait for: those of the dashboards, as Grafana sends them, and those of the cookbook. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DAY_MS } from '../../src/seed/calendar.ts'
import { queriesOf, readDashboard, type Variable } from '../../test/support/dashboards.ts'
import { type Chosen, expandSql, type QueryContext } from '../../test/support/grafana.ts'
import type { ClickHouse } from '../system/clickhouse.ts'
import { DAYS, TENANT, WORKSPACE } from './query-events.ts'

export interface Query {
  readonly name: string
  readonly sql: string
}

/** Those that read ClickHouse, and the days that they show when they are opened. */
const DASHBOARDS = [
  { name: 'product', days: 7 },
  { name: 'tenants', days: 1 },
] as const
/** Points of a series, as a panel of a usual screen asks for them. */
const POINTS = 1_000
const COOKBOOK = join(import.meta.dir, '../../docs/sql.md')

/** Panels and variables of the dashboards, over the days that they open with and over all that there are. */
export async function dashboardQueries(clickhouse: ClickHouse, untilMs: number): Promise<Query[]> {
  const queries: Query[] = []
  for (const { name, days } of DASHBOARDS) {
    for (const shown of [days, DAYS]) {
      const chosen: Record<string, Chosen> = {}
      const expand = (sql: string) => expandSql(sql, contextOf(chosen, untilMs, shown))
      for (const variable of readDashboard(name).templating.list) {
        if (variable.datasource.uid !== 'clickhouse') continue
        const sql = expand(sqlOf(variable))
        queries.push({ name: `${name}: variable ${variable.name}, ${shown} d`, sql })
        chosen[variable.name] = await choose(clickhouse, variable, sql)
      }
      for (const { name: title, rawSql = '', panel } of queriesOf(name, 'clickhouse')) {
        const own = panel.timeFrom === undefined ? undefined : daysOf(panel.timeFrom)
        if (own !== undefined && shown === DAYS) continue // the same again
        const sql = own === undefined ? expand(rawSql) : expandSql(rawSql, contextOf(chosen, untilMs, own))
        queries.push({ name: `${title}, ${own ?? shown} d`, sql })
      }
    }
  }
  return queries
}

/** What the cookbook shows, by the headings above, asked of one user where it asks of one; what is no query is left out. */
export function cookbookQueries(userId: string): Query[] {
  if (!existsSync(COOKBOOK)) return []
  const queries: Query[] = []
  let heading = ''
  for (const [, title, sql] of readFileSync(COOKBOOK, 'utf8').matchAll(/^#+ (.+)$|^```sql\n([\s\S]*?)^```/gm)) {
    if (title !== undefined) heading = title
    const text = (sql ?? '').trim().replace(/;$/, '').replaceAll('{user:String}', `'${userId}'`)
    if (!/^(?:--.*\n)*(?:SELECT|WITH|FROM)\b/i.test(text)) continue
    const number = queries.filter(({ name }) => name.startsWith(`cookbook: ${heading}`)).length
    queries.push({ name: `cookbook: ${heading}${number === 0 ? '' : ` ${number + 1}`}`, sql: text })
  }
  return queries
}

function contextOf(variables: Readonly<Record<string, Chosen>>, untilMs: number, days: number): QueryContext {
  const intervalMs = Math.ceil((days * DAY_MS) / POINTS / 60_000) * 60_000
  return { from: new Date(untilMs - days * DAY_MS), to: new Date(untilMs), intervalMs, variables }
}

/** Of a panel's own time range, such as `24h` or `8w`. */
function daysOf(timeFrom: string): number {
  const [, count, unit] = /^(\d+)([hdw])$/.exec(timeFrom) ?? []
  if (count === undefined) throw new Error(`not a time range: ${timeFrom}`)
  return Number(count) * (unit === 'w' ? 7 : unit === 'd' ? 1 : 1 / 24)
}

/** The large workspace; of other variables all values, or the first one. */
async function choose(clickhouse: ClickHouse, { name, includeAll }: Variable, sql: string): Promise<Chosen> {
  const values = (await clickhouse.query(`${sql}\nFORMAT TSVRaw`)).split('\n').map((row) => row.split('\t')[0] ?? '')
  if (includeAll === true) return { all: values }
  const wanted = { tenant: TENANT, workspace: WORKSPACE }[name]
  return wanted ?? values[0] ?? ''
}

function sqlOf({ query }: Variable): string {
  return typeof query === 'string' ? query : query.query
}
