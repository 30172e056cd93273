/** docs/sql.md tells the truth: every query is run on a small shop, and every result in it is what comes out. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { preparedTarget } from '../sink/sink-fixture.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { events, NOW } from './shop.ts'

setDefaultTimeout(60_000)

const text = readFileSync(join(import.meta.dir, '../../docs/sql.md'), 'utf8')

interface Recipe {
  readonly name: string
  readonly heading: string
  readonly sql: string
  /** The table below the query, as ClickHouse would write it. */
  readonly result: string | undefined
}

const recipes: readonly Recipe[] = text.split(/^(?=###? )/m).flatMap((section) => {
  const heading = /^#+ (.*)/.exec(section)?.[1] ?? ''
  const blocks = [...section.matchAll(/^```sql\n([\s\S]*?)^```\n(?:\n((?:\|.*\n)+))?/gm)]
  return blocks.map(([, sql = '', result], index) => ({ name: `${heading} ${index + 1}`, heading, sql, result }))
})

let server: TestClickHouse
let database: string

beforeAll(async () => {
  server = await startTestClickHouse()
  ;({ database } = await preparedTarget(server))
  await server.query(`ALTER TABLE ${database}.events REMOVE TTL`) // the shop has a date
  const rows = events.map((event) => JSON.stringify(event)).join('\n')
  const settings = 'input_format_try_infer_dates = 0, input_format_try_infer_datetimes = 0'
  await server.query(`INSERT INTO ${database}.events SETTINGS ${settings} FORMAT JSONEachRow ${rows}`)
})

afterAll(() => server.stop())

/** Runs a recipe at the shop's time. */
function run({ sql }: Recipe, format = 'Markdown'): Promise<string> {
  const query = sql.replaceAll(/now\((?:'UTC')?\)/g, `toDateTime('${NOW}', 'UTC')`)
  const hasFormat = /^FORMAT /m.test(query)
  return server.query(hasFormat ? query : `${query}\nFORMAT ${format}`, { database, param_user: 'ann' })
}

/** Without the alignment, which is for the eye. */
const cells = (table: string) =>
  table
    .trim()
    .split('\n')
    .filter((line) => !/^\|[-:|]+\|$/.test(line))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )

describe('every query', () => {
  test.each(recipes.map((recipe) => [recipe.name, recipe] as const))('%s', async (_, recipe) => {
    const answer = await run(recipe)
    if (process.env.SHOW) console.log(`${recipe.name}\n${answer}`)
    expect(answer.trim().split('\n').length).toBeGreaterThan(recipe.sql.includes('FORMAT') ? 0 : 2)
    if (recipe.result) expect(cells(answer)).toEqual(cells(recipe.result))
  })
})
