/**
 * What docker-compose.yml describes, without Docker: two collectors with its environment, from what their image holds, nginx, Prometheus and
 * ClickHouse with the very files that it mounts, Redis with its command line, Postgres. Only addresses are others; and Postgres, which
 * here believes everybody, does not ask for its password.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../src/sink/engine-setup.ts'
import { waitUntil } from '../support/collector.ts'
import { type ComposeFile, makeVariables, readCompose } from '../support/compose.ts'
import { type Container, newVolume, startContainer } from '../support/container.ts'
import { buildImage, type Image } from '../support/dockerfile.ts'
import { makeDraft } from '../support/event-drafts.ts'
import { startDeployedNginx, type TestNginx } from '../support/nginx.ts'
import { run, startPostgres, type TestPostgres } from '../support/postgres.ts'
import { Producer } from '../support/producer.ts'
import { startTestPrometheus, type TestPrometheus } from '../support/prometheus.ts'
import { randomFrom } from '../support/random.ts'
import { startTestRedis, type TestRedis } from '../support/redis.ts'
import { type ConfiguredServer, startConfiguredServer } from '../support/server.ts'

const ROOT = join(import.meta.dir, '../..')
const directory = mkdtempSync(join(tmpdir(), 'penstock-test-topology-'))

/** One of the collectors: a container on its volume, at its address. */
interface Place {
  readonly name: string
  readonly url: string
  readonly volume: string
  readonly environment: Readonly<Record<string, string>>
  container: Container
}

let compose: ComposeFile
let image: Image
let redis: TestRedis
let postgres: TestPostgres
let clickhouse: ConfiguredServer
let nginx: TestNginx
let prometheus: TestPrometheus
let places: readonly [Place, Place]
/** Of a workspace that the operator makes. */
let key: string

beforeAll(async () => {
  const variables = makeVariables(directory)
  compose = readCompose(variables)
  const { services } = compose
  ;[image, redis, postgres, clickhouse] = await Promise.all([
    buildImage(ROOT, join(directory, 'image')),
    startTestRedis(...(services.redis?.command ?? []).slice(1)),
    startPostgres(),
    startConfiguredServer({ env: services.clickhouse?.environment ?? {} }),
  ])
  await run(postgres.url, `create database ${services.postgres?.environment?.POSTGRES_DB}`)
  places = [newPlace('collector-1'), newPlace('collector-2')]
  await Promise.all(places.map(isAccepting)) // both were started at the same time
  nginx = await startDeployedNginx(places.map(({ url }) => Number(new URL(url).port)))
  prometheus = await startTestPrometheus({ configuration: prometheusConfiguration })
})

afterAll(async () => {
  await prometheus?.stop()
  await nginx?.dispose()
  for (const { container } of places ?? []) await container.stop()
  await clickhouse?.stop()
  await postgres?.stop()
  await redis?.dispose()
  rmSync(directory, { recursive: true, force: true })
})

function newPlace(name: string): Place {
  const port = freePort()
  const addresses = {
    'clickhouse:8123': new URL(clickhouse.url).host,
    'redis:6379': new URL(redis.url).host,
    'postgres:5432': new URL(postgres.url).host,
  }
  const environment: Record<string, string> = { PORT: String(port) } // they share the network
  for (const [variable, value] of Object.entries(compose.services[name]?.environment ?? {})) {
    environment[variable] = Object.entries(addresses).reduce((text, [from, to]) => text.replace(from, to), value)
  }
  const volume = newVolume(image, join(directory, name))
  const container = startContainer(image, volume, environment)
  return { name, url: `http://127.0.0.1:${port}`, volume, environment, container }
}

async function isAccepting({ name, url, container }: Place): Promise<void> {
  const ended = container.output.then(({ stdout, stderr }) => Promise.reject(new Error(`${name}: ${stdout}${stderr}`)))
  await Promise.race([ended, waitUntil(`${name} is ready`, async () => (await fetch(`${url}/readyz`)).ok)])
}

/** deploy/prometheus/prometheus.yml with other addresses, and looking more often. */
function prometheusConfiguration(own: string): string {
  const text = readFileSync(join(ROOT, 'deploy/prometheus/prometheus.yml'), 'utf8')
  return places
    .reduce((one, { name, url }) => one.replace(`${name}:3000`, new URL(url).host), text)
    .replace('localhost:9090', own)
    .replaceAll(/(_interval): 15s/g, '$1: 1s')
    .replace('/etc/prometheus/rules/*.yml', join(ROOT, 'grafana/alerts/penstock.rules.yml'))
}

/** A command of the operator: `docker compose exec collector-1 bun src/main.ts …` */
async function operate(...words: string[]) {
  const [{ volume, environment }] = places
  const command = ['bun', 'src/main.ts', ...words, '--json']
  const { exitCode, stdout, stderr } = await startContainer(image, volume, environment, command).output
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  return JSON.parse(stdout)
}

async function send(url: string, apiKey: string, events: readonly object[]): Promise<number> {
  const headers = { 'api-key': apiKey, connection: 'close' }
  const answer = await fetch(`${url}/v1/events`, { method: 'POST', headers, body: JSON.stringify({ events }) })
  await answer.arrayBuffer()
  return answer.status
}

/** Everything that was acknowledged is in ClickHouse. */
function emptyLogs(): Promise<void> {
  const segments = ({ volume }: Place) =>
    readdirSync(join(volume, 'log')).filter((name) => /\.(open|sealed)$/.test(name))
  return waitUntil('the logs are empty', () => places.flatMap(segments).length === 0)
}

/** As the account asks who only reads. */
function ask(sql: string): Promise<string> {
  const password = compose.services.grafana?.environment?.ANALYST_CLICKHOUSE_PASSWORD ?? ''
  return clickhouse.ask({ user: 'analyst', password }, sql)
}

async function sample(promql: string): Promise<number | undefined> {
  return (await prometheus.query(promql))[0]?.value
}

test('of two collectors that start at the same time one makes the first workspace', async () => {
  expect(places.filter(({ volume }) => existsSync(join(volume, 'first-key.json')))).toHaveLength(1)
  expect(await operate('workspaces', 'list')).toHaveLength(1)
})

test('the operator makes a workspace, and both collectors know its keys', async () => {
  const words = ['--tenant', 'acme', '--workspace', 'web', '--tier', 'unlimited']
  key = (await operate('provision', ...words)).secret_key
  for (const { url } of [...places, nginx]) expect(await send(url, key, [makeDraft()])).toBe(201)
  expect((await operate('doctor')).ok).toBe(true)
})

test('a copy of an event is stored once, whichever collector it comes to', async () => {
  const events = Array.from({ length: 20 }, () => makeDraft({ event_id: crypto.randomUUID(), user_id: 'twice' }))
  const statuses = await Promise.all([nginx, ...places, nginx].map(({ url }) => send(url, key, events)))
  expect(statuses).toEqual([201, 201, 201, 201])
  await emptyLogs()
  expect(await ask("SELECT count(), uniq(event_id) FROM penstock.events WHERE user_id = 'twice'")).toBe('20\t20')
})

test('a key may send its limit to both together, and not to each', async () => {
  const words = ['--tenant', 'acme', '--workspace', 'web', '--tier', '60']
  const { key: limited } = await operate('keys', 'create', ...words)
  const startedAt = performance.now()
  let passed = 0
  for (const { url } of [...places, nginx]) {
    while ((await send(url, limited, [makeDraft(), makeDraft()])) === 201) passed += 2
  }
  const seconds = (performance.now() - startedAt) / 1000
  expect(passed).toBeLessThanOrEqual(120 + seconds + 1)
  expect(passed).toBeGreaterThan(100)
})

test('Prometheus sees both, and in them the events that were accepted', async () => {
  await waitUntil('both are up', async () => (await sample('sum(up{job="penstock"})')) === 2)
  const stored = async () => Number(await ask('SELECT count() FROM penstock.events'))
  const counted = () => sample('sum(penstock_events_accepted_total) - sum(penstock_events_duplicates_total)')
  const flushed = () => sample('sum(penstock_flush_events_total)')
  await waitUntil('all that were accepted are stored and counted', async () => {
    const count = await stored()
    return count > 120 && (await counted()) === count && (await flushed()) === count
  })
  expect(await prometheus.query('sum by (penstock_tenant) (penstock_key_events_total)')).toMatchObject([
    { metric: { penstock_tenant: 'acme' } },
  ])
  expect(await prometheus.query('up == 0')).toEqual([])
})

test('the alert rules are loaded', async () => {
  type Rules = { data: { groups: { rules: { lastError?: string }[] }[] } }
  const { groups } = ((await (await fetch(`${prometheus.url}/api/v1/rules`)).json()) as Rules).data
  const rules = groups.flatMap((group) => group.rules)
  expect(rules.length).toBeGreaterThan(0)
  expect(rules.filter(({ lastError }) => lastError)).toEqual([])
})

test('what is of one collector is not shown through nginx', async () => {
  for (const path of ['/metrics', '/stats', '/health', '/metrics/', '/stats/', '/health/']) {
    expect({ path, status: (await fetch(nginx.url + path)).status }).toEqual({ path, status: 404 })
    for (const { url } of places) expect((await fetch(url + path)).status).toBe(200)
  }
  for (const path of ['/livez', '/readyz', '/docs']) expect((await fetch(nginx.url + path)).status).toBe(200)
})

test('one collector is stopped and started again under load: nothing is lost, nothing doubled, and Prometheus noticed', async () => {
  const run = crypto.randomUUID()
  const producers = [0, 1, 2, 3].map((number) => {
    const options = {
      name: `${run}-${number}`,
      random: randomFrom(number),
      eventsMax: 10,
      pauseMs: 5,
      sendsAgain: true,
    }
    return new Producer({ ...options, newConnections: number > 1 })
  })
  const sending = producers.map((producer) => producer.run(nginx.url, key))
  const acknowledged = () => producers.reduce((sum, producer) => sum + producer.acknowledged, 0)
  const more = (events: number) => {
    const before = acknowledged()
    return waitUntil('more events are acknowledged', () => acknowledged() > before + events)
  }
  const [, second] = places
  const up = () => sample(`up{instance="${new URL(second.url).host}"}`)

  await more(500)
  expect(await second.container.stop()).toBe(0)
  await waitUntil('Prometheus misses it', async () => (await up()) === 0)
  await more(500)
  second.container = startContainer(image, second.volume, second.environment)
  await isAccepting(second)
  await waitUntil('Prometheus sees it again', async () => (await up()) === 1)
  await more(500)
  for (const producer of producers) producer.stop()
  await Promise.all(sending)

  await emptyLogs()
  const of = `startsWith(message_id, '${run}')`
  const stored = await ask(`SELECT count(), uniqExact(message_id) FROM penstock.events WHERE ${of}`)
  expect(stored).toBe(`${acknowledged()}\t${acknowledged()}`)
})

test('what `make seed` sends through nginx comes to a workspace of its own, and can be queried', async () => {
  const sent = await operate('seed', '--url', nginx.url, '--events', '500', '--days', '1')
  expect(sent).toMatchObject({ tenant_id: 'demo', workspace_id: 'shop', events: 500, queryable: true })
  expect(await ask("SELECT count() FROM penstock.events WHERE tenant_id = 'demo'")).toBe('500')
})
