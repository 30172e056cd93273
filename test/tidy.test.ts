/** What the project agreed on, and what a linter does not know. */
import { expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { renderVariables } from '../src/config.ts'

const ROOT = join(import.meta.dir, '..')
const LINES_MAX = 330

function filesBelow(directory: string, ending: string): string[] {
  return readdirSync(join(ROOT, directory), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(directory, name))
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}

const sources = filesBelow('src', '.ts')

test('only config.ts reads the environment', () => {
  const readers = sources.filter((path) => /process\.env|Bun\.env|import\.meta\.env/.test(read(path)))
  expect(readers).toEqual(['src/config.ts'])
})

test('files stay small', () => {
  const long = [...sources, ...filesBelow('bench', '.ts')].filter((path) => read(path).split('\n').length > LINES_MAX)
  expect(long).toEqual([])
})

test('every source file is used by another one, or is an entry', () => {
  const entries = ['src/main.ts', 'src/sink/clickhouse-process.ts']
  const everything = sources.map(read).join('\n')
  const unused = sources.filter(
    (path) => !entries.includes(path) && !everything.includes(`/${path.split('/').at(-1)}'`),
  )
  expect(unused).toEqual([])
})

test('every source file says what it is for before it exports anything', () => {
  const silent = sources.filter((path) => !/\/\*\*/.test(read(path).split(/^export /m)[0] ?? ''))
  expect(silent).toEqual([])
})

test('migrations are numbered without a gap', () => {
  const numbers = filesBelow('clickhouse', '.sql')
    .sort()
    .map((path) => Number(path.match(/(\d{4})_/)?.[1]))
  expect(numbers).toEqual(numbers.map((_, index) => index + 1))
})

test('no test is skipped or alone', () => {
  const marked = filesBelow('test', '.test.ts').filter(
    (path) => /\b(test|describe|it)\.(only|skip|todo)\b/.test(read(path)) && !path.endsWith('tidy.test.ts'),
  )
  expect(marked).toEqual([])
})

test('the documentation lists the variables as they are', () => {
  expect(read('docs/configuration.md')).toContain(renderVariables('markdown'))
})

test('links between documents lead somewhere', () => {
  const documents = ['README.md', 'CONTRIBUTING.md', 'bench/README.md', ...filesBelow('docs', '.md')]
  const broken = documents.flatMap((path) =>
    [...read(path).matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
      .map(([, target]) => join(path, '..', target ?? ''))
      .filter((target) => !existsSync(join(ROOT, target)))
      .map((target) => `${path} → ${target}`),
  )
  expect(broken).toEqual([])
})
