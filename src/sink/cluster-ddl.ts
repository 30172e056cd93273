/**
 * What becomes of the statements of the migrations on a cluster. There are two databases on every node:
 *
 *     <database>_shard   the statements as they are: tables, what fills them (materialized views), and the plain views
 *     <database>         for each of those tables a Distributed one of the same name, and the same plain views over these
 *
 * Names in the statements are never touched: they are resolved in the database they run in. So whoever reads `<database>` reads the
 * whole cluster by the SQL of a single server, and an insert that arrived at a shard is worked on there alone.
 *
 * With replicas (`isReplicated`) the tables become Replicated ones, and every statement runs ON CLUSTER:
 * - Their path in Keeper is written out, not left to the server's default, which has the table's UUID in it: a replica that is added
 *   later gets another UUID by CREATE … IF NOT EXISTS … ON CLUSTER, and would be a replica of nobody, without any error.
 * - A Replicated table remembers tokens by number and by time. By default that is an hour (since ClickHouse 25.10): here it is
 *   REMEMBERED_SECONDS, because a batch may be sent again after a long outage.
 *
 * What a materialized view inserts is remembered under an id that comes from the token and from the names of the views and tables it has
 * come through, not from their UUIDs (seen with 26.7): so it is the same at all replicas. After an ALTER of the view it is another one, until
 * the server is started again, and a batch that is sent again counts twice. So a materialized view is never changed. Their names, and no
 * others, end in `_view`, which is how one is known here.
 *
 * A statement of another form than these is a problem, never a guess: the next migration has to be thought about here, too.
 */
import assert from 'node:assert/strict'
import { isProblem, type Problem, problem } from '../problem.ts'
import { maskInner } from './sql-statements.ts'

/** A ClickHouse cluster, as `remote_servers` of the servers' configuration describes it. */
export interface Cluster {
  readonly name: string
  /** Replicated tables, and statements ON CLUSTER. False: every node is a shard of its own and is migrated by itself. */
  readonly isReplicated: boolean
}

/** Where a statement runs: in the database of the tables, or in the one above them that people ask. */
export type Place = 'shard' | 'above'

/** A statement for one of the two databases. */
export interface PlacedStatement {
  readonly place: Place
  readonly sql: string
}

/** The cluster, and the database that people ask. */
export interface ClusterDatabase {
  readonly cluster: Cluster
  readonly database: string
}

/** A week: longer than any outage that the log is likely to outlast, short enough for Keeper. */
export const REMEMBERED_SECONDS = 604_800

/** The database of the tables that hold the data, on every node. */
export function shardDatabase(database: string): string {
  return `${database}_shard`
}

/** ` ON CLUSTER …` for statements that every node has to run, or nothing. */
export function onCluster({ name, isReplicated }: Cluster): string {
  return isReplicated ? ` ON CLUSTER \`${name}\`` : ''
}

const MATERIALIZED_VIEW_SUFFIX = '_view'
const ENGINES = new Set(['MergeTree', 'AggregatingMergeTree'])
const ENGINE = /\bENGINE\s*=\s*(\w+)/i
const WINDOW = /\bnon_replicated_deduplication_window\s*=\s*(\d+)/i
const COMMENT = /\bCOMMENT\s*('(?:[^'\\]|\\[\s\S]|'')*')\s*$/i

const FORMS = {
  table: /^CREATE\s+TABLE\s+IF\s+NOT\s+EXISTS\s+(\w+)(?=\s*\()/i,
  materializedView: /^CREATE\s+MATERIALIZED\s+VIEW\s+IF\s+NOT\s+EXISTS\s+(\w+)(?=\s+TO\s)/i,
  view: /^CREATE\s+(?:VIEW\s+IF\s+NOT\s+EXISTS|OR\s+REPLACE\s+VIEW)\s+(\w+)(?=\s+AS\s|\s*\()/i,
  alter: /^ALTER\s+TABLE\s+(\w+)(?=\s)/i,
  drop: /^DROP\s+(?:TABLE|VIEW)\s+IF\s+EXISTS\s+(\w+)(?=\s*(?:SYNC\s*)?$)/i,
} as const

/** Commands of ALTER TABLE that change what a table holds inside only, and those that change the columns people see. */
const INNER_COMMAND =
  /^(?:(?:ADD|DROP|CLEAR|MATERIALIZE)\s+(?:INDEX|PROJECTION|STATISTICS)|MODIFY\s+(?:TTL|SETTING|ORDER\s+BY)|RESET\s+SETTING)\b/i
const COLUMN_COMMAND = /^(?:ADD|DROP|MODIFY|RENAME|COMMENT)\s+COLUMN\b/i

/** The statements that one of a migration becomes, in their order. */
export function clusterStatements(
  statement: string,
  where: ClusterDatabase,
): PlacedStatement[] | Problem<'unknown_statement'> {
  for (const [form, pattern] of Object.entries(FORMS)) {
    const [head, name] = pattern.exec(statement) ?? []
    if (head === undefined || name === undefined) continue
    const isMaterializedView = name.endsWith(MATERIALIZED_VIEW_SUFFIX)
    if (form !== 'alter' && form !== 'drop' && isMaterializedView !== (form === 'materializedView'))
      return unknown(statement, `names of materialized views, and no others, end in ${MATERIALIZED_VIEW_SUFFIX}`)
    if ((form === 'alter' || form === 'drop') && isMaterializedView)
      return unknown(
        statement,
        'a batch that is sent again would be counted twice by a materialized view that was changed',
      )
    const placed = `${head}${onCluster(where.cluster)}`
    const rest = statement.slice(head.length)
    switch (form as keyof typeof FORMS) {
      case 'table':
        return table(statement, { name, placed, rest }, where)
      case 'materializedView':
        return [{ place: 'shard', sql: placed + rest }]
      case 'view':
        return both(placed + rest)
      case 'drop':
        return both(placed + rest).reverse()
      case 'alter':
        return alter(statement, { placed, rest }, where.cluster)
    }
  }
  return unknown(statement, 'it begins like none of the statements that are known there')
}

/**
 * A table of the migrations' own in the database of the tables: with replicas the same rows on every node of every shard. The name of a
 * replica has its shard in it, because many clusters name the replicas of each shard alike.
 */
export function everywhereTable(statement: string, { cluster, database }: ClusterDatabase): string {
  const [head, name] = FORMS.table.exec(statement.trim()) ?? []
  assert(head !== undefined && name !== undefined)
  if (!cluster.isReplicated) return statement
  const path = `/clickhouse/tables/${cluster.name}/all/${shardDatabase(database)}/${name}`
  const rest = replicated(statement.trim().slice(head.length), path, '{shard}-{replica}')
  assert(!isProblem(rest), 'a table of our own')
  return `${head}${onCluster(cluster)}${rest}`
}

function table(
  statement: string,
  { name, placed, rest }: { name: string; placed: string; rest: string },
  { cluster, database }: ClusterDatabase,
): PlacedStatement[] | Problem<'unknown_statement'> {
  const shards = shardDatabase(database)
  const made = replicated(rest, `/clickhouse/tables/${cluster.name}/{shard}/${shards}/${name}`, '{replica}')
  if (isProblem(made)) return unknown(statement, made.message)
  const local = cluster.isReplicated ? made : rest
  const comment = COMMENT.exec(rest)?.[1]
  return [
    { place: 'shard', sql: placed + local },
    {
      place: 'above',
      sql: `${placed} AS ${shards}.${name}\nENGINE = Distributed('${cluster.name}', '${shards}', '${name}')${comment === undefined ? '' : `\nCOMMENT ${comment}`}`,
    },
  ]
}

/** What follows the name of a table, with the engine and the settings that it has with replicas. */
function replicated(rest: string, path: string, replica: string): string | Problem<'unknown_table'> {
  const outside = maskInner(rest)
  const [clause, engine] = ENGINE.exec(outside) ?? []
  if (clause === undefined || engine === undefined) return problem('unknown_table', 'it names no engine')
  const start = outside.search(ENGINE)
  const end = start + clause.length
  if (!ENGINES.has(engine) || /^\s*\(/.test(rest.slice(end)))
    return problem('unknown_table', `its engine is not one of ${[...ENGINES].join(', ')}, without arguments`)
  if (!WINDOW.test(outside)) return problem('unknown_table', 'it has no non_replicated_deduplication_window')
  return withWindow(`${rest.slice(0, start)}ENGINE = Replicated${engine}('${path}', '${replica}')${rest.slice(end)}`)
}

function alter(
  statement: string,
  { placed, rest }: { placed: string; rest: string },
  cluster: Cluster,
): PlacedStatement[] | Problem<'unknown_statement'> {
  const commands = splitCommands(rest)
  const columns = commands.filter((command) => COLUMN_COMMAND.test(command))
  if (commands.some((command) => !COLUMN_COMMAND.test(command) && !INNER_COMMAND.test(command)))
    return unknown(statement, 'one of its commands is not known there')
  const local = { place: 'shard', sql: placed + (cluster.isReplicated ? withWindow(rest) : rest) } as const
  return columns.length === 0 ? [local] : [local, { place: 'above', sql: `${placed} ${columns.join(', ')}` }]
}

/** Commands of an ALTER TABLE, which commas separate. A command may have commas of its own outside of parentheses in settings. */
function splitCommands(rest: string): string[] {
  const outside = maskInner(rest)
  const commands: string[] = []
  let start = 0
  for (const { index } of outside.matchAll(
    /,(?=\s*(?:ADD|DROP|CLEAR|MATERIALIZE|MODIFY|RESET|RENAME|COMMENT|ALTER|UPDATE|DELETE)\s)/gi,
  )) {
    commands.push(rest.slice(start, index).trim())
    start = index + 1
  }
  return [...commands, rest.slice(start).trim()]
}

function withWindow(sql: string): string {
  const [found, blocks] = WINDOW.exec(maskInner(sql)) ?? []
  if (found === undefined) return sql
  const start = maskInner(sql).search(WINDOW)
  const settings = `replicated_deduplication_window = ${blocks}, replicated_deduplication_window_seconds = ${REMEMBERED_SECONDS}`
  return sql.slice(0, start) + settings + sql.slice(start + found.length)
}

function both(sql: string): PlacedStatement[] {
  return [
    { place: 'shard', sql },
    { place: 'above', sql },
  ]
}

function unknown(statement: string, why: string): Problem<'unknown_statement'> {
  const beginning = statement.replaceAll(/\s+/g, ' ').slice(0, 60)
  return problem(
    'unknown_statement',
    `a statement of the migrations cannot run on a cluster as src/sink/cluster-ddl.ts knows them (${beginning} …): ${why}`,
  )
}
