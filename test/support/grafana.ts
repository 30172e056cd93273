/**
 * What Grafana and its plugins make of a query before a server sees it. No Grafana runs in the tests; this follows
 * - Grafana's variables: https://grafana.com/docs/grafana/latest/dashboards/variables/variable-syntax/
 * - grafana-clickhouse-datasource 4.20, its page on macros: https://grafana.com/docs/plugins/grafana-clickhouse-datasource/latest/query-editor/
 * - the Prometheus data source: https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/
 * A name that is none of theirs is an error here, where Grafana would send it on as it is.
 */

/** A chosen value: one, several, or All. */
export type Chosen = string | readonly string[] | { readonly all: readonly string[]; readonly allValue?: string }

export interface QueryContext {
  readonly from: Date
  readonly to: Date
  /** Between two values of a series: `$__interval`. */
  readonly intervalMs: number
  /** Of the data source of Prometheus. */
  readonly scrapeIntervalMs?: number
  readonly variables: Readonly<Record<string, Chosen>>
}

/** The SQL that the plugin sends to ClickHouse. */
export function expandSql(sql: string, context: QueryContext): string {
  const replaced = replaceVariables(replaceConditionalAll(sql, context), context, (value) => value.join(','))
  return expandMacros(replaced, context)
}

/** The expression that is sent to Prometheus. */
export function expandPromQl(expression: string, context: QueryContext): string {
  const { from, to, intervalMs, scrapeIntervalMs = 15_000 } = context
  const seconds = (ms: number) => `${Math.max(1, Math.round(ms / 1_000))}s`
  const builtIn: Record<string, string> = {
    __rate_interval: seconds(Math.max(intervalMs + scrapeIntervalMs, 4 * scrapeIntervalMs)),
    __interval: seconds(intervalMs),
    __range: seconds(to.getTime() - from.getTime()),
  }
  const variables = { ...context.variables, ...builtIn }
  return replaceVariables(expression, { ...context, variables }, asRegularExpression, Object.keys(builtIn))
}

/** The plugin does this first, in the browser: All is no condition. */
function replaceConditionalAll(sql: string, { variables }: QueryContext): string {
  const start = '$__conditionalAll('
  const at = sql.lastIndexOf(start)
  if (at < 0) return sql
  const { end, texts } = argumentsAt(sql, at + start.length - 1)
  const [condition, variable = ''] = texts
  const chosen = variables[variable.trim().replace(/^\$\{?|\}$/g, '')]
  if (texts.length !== 2 || chosen === undefined) throw new Error(`not a condition and a variable: ${texts}`)
  const isAll = typeof chosen === 'object' && 'all' in chosen
  return replaceConditionalAll(`${sql.slice(0, at)}${isAll ? '1=1' : condition}${sql.slice(end)}`, {
    variables,
  } as QueryContext)
}

function replaceVariables(
  text: string,
  { variables }: QueryContext,
  plain: (values: readonly string[]) => string,
  unquoted: readonly string[] = [],
): string {
  return text.replace(/\$\{(\w+)(?::(\w+))?\}|\$(\w+)/g, (whole, braced, format, bare) => {
    const name: string = braced ?? bare
    const chosen = variables[name]
    if (chosen === undefined) {
      if (name.startsWith('__')) return whole
      throw new Error(`there is no variable ${whole}`)
    }
    if (typeof chosen === 'object' && 'all' in chosen && chosen.allValue !== undefined) return chosen.allValue
    const values = typeof chosen === 'string' ? [chosen] : 'all' in chosen ? chosen.all : chosen
    if (format === 'singlequote') return values.map((value) => `'${value.replaceAll("'", "\\'")}'`).join(',')
    if (format !== undefined) throw new Error(`not a format of a variable: ${whole}`)
    return unquoted.includes(name) ? values.join(',') : plain(values)
  })
}

/** Of values in a matcher such as `=~"$instance"`. */
function asRegularExpression(values: readonly string[]): string {
  const escaped = values.map((value) => value.replace(/[$^*{}[\]'+?.()|\\]/g, '\\\\$&'))
  return escaped.length === 1 ? escaped.join() : `(${escaped.join('|')})`
}

const seconds = (date: Date) => Math.floor(date.getTime() / 1_000)
const dateTime = (date: Date) => `toDateTime(${seconds(date)})`
const dateTime64 = (date: Date) => `fromUnixTimestamp64Milli(${date.getTime()})`
const dateOf = (date: Date) => `toDate('${date.toISOString().slice(0, 10)}')`
const between = (column: string, from: string, to: string) => `${column} >= ${from} AND ${column} <= ${to}`

/** The plugin does these in its backend: macros without arguments, … */
const CONSTANTS: Readonly<Record<string, (context: QueryContext) => string>> = {
  fromTime: ({ from }) => dateTime(from),
  toTime: ({ to }) => dateTime(to),
  fromTime_ms: ({ from }) => dateTime64(from),
  toTime_ms: ({ to }) => dateTime64(to),
  interval_s: ({ intervalMs }) => `${Math.floor(Math.max(intervalMs / 1_000, 1))}`,
}

/** … and macros of a column. */
const OF_COLUMN: Readonly<Record<string, (context: QueryContext, column: string) => string>> = {
  timeFilter: ({ from, to }, column) => between(column, dateTime(from), dateTime(to)),
  timeFilter_ms: ({ from, to }, column) => between(column, dateTime64(from), dateTime64(to)),
  dateFilter: ({ from, to }, column) => between(column, dateOf(from), dateOf(to)),
  timeInterval: ({ intervalMs }, column) =>
    `toStartOfInterval(toDateTime(${column}), INTERVAL ${Math.floor(Math.max(intervalMs / 1_000, 1))} second)`,
  timeInterval_ms: ({ intervalMs }, column) =>
    `toStartOfInterval(toDateTime64(${column}, 3), INTERVAL ${Math.max(intervalMs, 1)} millisecond)`,
}

function expandMacros(sql: string, context: QueryContext): string {
  const at = sql.lastIndexOf('$__')
  if (at < 0) return sql
  const name = /^\w+/.exec(sql.slice(at + 3))?.[0] ?? ''
  const after = at + 3 + name.length
  const write = (text: string | undefined, end: number) =>
    expandMacros(`${sql.slice(0, at)}${text}${sql.slice(end)}`, context)
  if (name in CONSTANTS) return write(CONSTANTS[name]?.(context), after)
  const macro = OF_COLUMN[name]
  if (macro === undefined) throw new Error(`there is no macro $__${name}`)
  const { end, texts } = argumentsAt(sql, after)
  const [column = ''] = texts
  if (texts.length !== 1 || column === '') throw new Error(`$__${name} takes one column: ${texts}`)
  return write(macro(context, column), end)
}

/** What is between the parenthesis at a position and its partner, split at the commas that are in no other. */
function argumentsAt(sql: string, open: number): { readonly end: number; readonly texts: readonly string[] } {
  if (sql[open] !== '(') throw new Error(`arguments are missing: ${sql.slice(open - 20, open)}`)
  const texts: string[] = []
  let depth = 0
  let from = open + 1
  for (let at = open; at < sql.length; at++) {
    const char = sql[at]
    if (char === '(') depth++
    if (char === ')') depth--
    if ((char === ',' && depth === 1) || depth === 0) {
      texts.push(sql.slice(from, at))
      from = at + 1
    }
    if (depth === 0) return { end: at + 1, texts }
  }
  throw new Error(`a parenthesis is open: ${sql}`)
}
