/** Collectors whose control data is in a Postgres that they share. */
import { afterAll, expect, test } from 'bun:test'
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { runCli } from '../cli/run-cli.ts'
import { type Collector, newHome, startCollector } from '../support/collector.ts'
import { makeDraft } from '../support/event-drafts.ts'
import { startPostgres } from '../support/postgres.ts'

const postgres = await startPostgres()
const collectors: Collector[] = []

afterAll(async () => {
  for (const collector of collectors.toReversed()) {
    await collector.stop()
    collector.home.remove()
  }
  await postgres.stop()
})

test('while Postgres hangs known keys do not wait, and the health says so', async () => {
  const env = { CONTROL_DATABASE_URL: await postgres.newDatabase(), KEY_CACHE_LIFETIME_MS: '100' }
  const collector = await startCollector({ env })
  collectors.push(collector)
  const send = async () => (await collector.postEvents([makeDraft()])).status
  expect(await send()).toBe(201)
  postgres.freeze()
  try {
    await Bun.sleep(200) // beyond the lifetime of the cache
    expect(await send()).toBe(201) // finds out
    const startedAt = performance.now()
    for (let time = 0; time < 10; time++) {
      expect(await send()).toBe(201)
      await Bun.sleep(100)
    }
    expect(performance.now() - startedAt).toBeLessThan(2000) // less than one lookup may take
    const health = await (await fetch(`${collector.url}/health`)).json()
    expect(health).toMatchObject({ status: 'degraded', dependencies: { control_database: { status: 'down' } } })
  } finally {
    postgres.thaw()
  }
})

test('a crash of Postgres does not stop known keys; unknown ones may come again, and do when it is back', async () => {
  const env = { CONTROL_DATABASE_URL: await postgres.newDatabase(), KEY_CACHE_LIFETIME_MS: '100' }
  const collector = await startCollector({ env })
  collectors.push(collector)
  const made = await runCli(['provision', '--tenant', 'acme', '--workspace', 'web', '--json'], collector.home.env)
  const { secret_key: unused } = JSON.parse(made.stdout)
  const send = async (key: string) => (await collector.postEvents([makeDraft()], { 'api-key': key })).status
  const health = async () => {
    const answer = await fetch(`${collector.url}/health`)
    const { status, dependencies } = (await answer.json()) as {
      status: string
      dependencies: { control_database: { status: string } }
    }
    return [answer.status, status, dependencies.control_database.status]
  }

  expect(await send(collector.key)).toBe(201)
  expect(await health()).toEqual([200, 'ok', 'ok'])
  await postgres.crash()
  await Bun.sleep(200) // beyond the lifetime of the cache
  for (let time = 0; time < 5; time++) expect(await send(collector.key)).toBe(201)
  expect(await send(unused)).toBe(503)
  expect(await health()).toEqual([200, 'degraded', 'down'])
  await postgres.restart()
  expect(await send(unused)).toBe(201)
  expect(await send(collector.key)).toBe(201)
  expect(await health()).toEqual([200, 'ok', 'ok'])
})

test('a second collector takes the same keys, and says that it misses the key of the signing secrets', async () => {
  const [first] = collectors
  if (first === undefined) throw new Error('the first collector did not start')
  const { CONTROL_DATABASE_URL = '' } = first.home.env
  const home = newHome({ CONTROL_DATABASE_URL, CLICKHOUSE_URL: first.home.clickhouseUrl })
  const [from = '', to = ''] = [first.home.env.DATA_DIR, home.env.DATA_DIR]
  mkdirSync(to)
  copyFileSync(join(from, 'first-key.json'), join(to, 'first-key.json')) // where the helper looks for a key
  const second = await startCollector({ home })
  collectors.push(second)
  expect(second.lines.filter(({ level }) => level === 'error')).toEqual([
    expect.objectContaining({ problem: 'secrets_key_missing' }),
  ])
  expect((await second.postEvents([makeDraft()])).status).toBe(201)
})
