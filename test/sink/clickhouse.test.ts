import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type ClickHouse, type ClickHouseOptions, createClickHouse } from '../../src/sink/clickhouse.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'

let server: TestClickHouse
let database: string
const opened: ClickHouse[] = []

beforeAll(async () => {
  server = await startTestClickHouse()
  database = await server.createDatabase()
})
afterAll(async () => {
  await Promise.all(opened.map((clickhouse) => clickhouse.close()))
  await server.stop()
})

function open(options: Partial<ClickHouseOptions> = {}): ClickHouse {
  const clickhouse = createClickHouse({ url: server.url, user: 'default', password: '', database, ...options })
  opened.push(clickhouse)
  return clickhouse
}

test('a ping tells version and response time', async () => {
  const answer = await open().ping()
  expect(answer).toMatchObject({ version: expect.stringMatching(/^\d+\.\d+/), responseTimeMs: expect.any(Number) })
})

test('names in SQL are relative to the database', async () => {
  const { client } = open()
  await client.command({ query: 'CREATE TABLE here (n UInt8) ENGINE = Memory' })
  expect((await server.query(`EXISTS TABLE ${database}.here`)).trim()).toBe('1')
})

test.each([
  ['nobody listens', { url: 'http://127.0.0.1:1' }],
  ['the database does not exist', { database: 'no_such_database' }],
  ['the user does not exist', { user: 'nobody', password: 'wrong' }],
])('a ping is a problem when %s', async (_, options) => {
  expect(await open(options).ping()).toMatchObject({ problem: 'clickhouse_unavailable' })
})

test('a ping gives up after its timeout', async () => {
  const silent = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  const startedAt = performance.now()
  expect(await open({ url: `http://127.0.0.1:${silent.port}` }).ping(100)).toMatchObject({
    problem: 'clickhouse_unavailable',
  })
  expect(performance.now() - startedAt).toBeLessThan(2_000)
  silent.stop(true)
})
