/**
 * Every query of the dashboards and every alert that read Prometheus, on what a real one scraped of a real collector: while events came by
 * every protocol, while ClickHouse was away until the log was full, and when the collector was gone.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { runJson } from '../cli/run-cli.ts'
import { type Collector, startCollector, waitUntil } from '../support/collector.ts'
import { type PanelQuery, queriesOf, queryOf, readDashboard } from '../support/dashboards.ts'
import { newHomeWithoutEngine } from '../support/engine.ts'
import { makeDraft, makeDrafts } from '../support/event-drafts.ts'
import { expandPromQl } from '../support/grafana.ts'
import { startTestPrometheus, type TestPrometheus } from '../support/prometheus.ts'
import { PROTOCOLS } from '../support/protocols.ts'
import { RULES_FILE, readRules } from '../support/rules.ts'
import { StreamClient } from '../support/stream-client.ts'

const SCRAPE_INTERVAL_MS = 500

const { home, startEngine } = newHomeWithoutEngine({
  METRICS_PER_KEY: 'true',
  SEGMENT_BYTES: '64KiB',
  RING_BYTES: '128KiB',
  WAL_MAX_BYTES: '1MiB',
  IN_FLIGHT_BYTES_MAX: '4MiB',
})
const engine = startEngine()
const startedAt = new Date()
let prometheus: TestPrometheus
let collector: Collector
let stream: StreamClient

beforeAll(async () => {
  const ready = engine.ready()
  // What is waited for is shorter; what is compared is the same.
  const rules = readFileSync(RULES_FILE, 'utf8').replace(/for: \d+m/g, 'for: 1s')
  prometheus = await startTestPrometheus({
    jobs: { penstock: [`127.0.0.1:${home.port}`] },
    rules,
    scrapeIntervalMs: SCRAPE_INTERVAL_MS,
  })
  await ready
  collector = await startCollector({ home })
})

afterAll(async () => {
  await collector.kill9()
  await prometheus.stop()
  await engine.stop()
  home.remove()
})

/** Two scrapes that began after now: a rate has a value only then. */
async function scraped(): Promise<void> {
  const now = Date.now() / 1_000
  await waitUntil('Prometheus has looked twice', async () => {
    const [sample] = await prometheus.query(
      `count_over_time(up{job="penstock"}[1h]) and timestamp(up{job="penstock"}) > ${now + SCRAPE_INTERVAL_MS / 1_000}`,
    )
    return sample !== undefined
  })
}

async function namesOfFiring(): Promise<string[]> {
  const alerts = (await prometheus.alerts()).filter(({ state }) => state === 'firing')
  return alerts.map(({ labels }) => labels.alertname ?? '')
}

/** Waits until all of them have fired, and does something meanwhile. */
async function firing(names: readonly string[], meanwhile: () => Promise<unknown> = async () => undefined) {
  const missing = new Set(names)
  await waitUntil(`${names} fire`, async () => {
    await meanwhile()
    for (const name of await namesOfFiring()) missing.delete(name)
    if (missing.size > 0) throw new Error(`not firing: ${[...missing]}`)
    return true
  })
}

interface Keys {
  readonly public_key: string
  readonly secret_key: string
}

/** Good events by every protocol, a copy of one, and what is refused. The keys are of another tenant and take 40 events a minute. */
async function sendSome(limited: Keys): Promise<void> {
  for (const protocol of PROTOCOLS) {
    const key = protocol.column === 'api/track' ? limited.public_key : collector.key
    const { body, headers } = protocol.request(key, [protocol.event(crypto.randomUUID())])
    const response = await fetch(`${collector.url}${protocol.path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { ...headers, 'content-type': 'application/json' },
    })
    expect(response.status).toBe(protocol.status)
  }
  const known = makeDraft({ event_id: crypto.randomUUID() })
  const mixed = await collector.postEvents([known, known, { type: 'no time' }])
  expect(mixed.status).toBe(201)
  await collector.post('{', { 'content-type': 'application/json' })
  await fetch(`${collector.url}/v1/events`, { method: 'POST', body: '{}' })
  await fetch(`${collector.url}/nowhere`)
  for (const drafts of [[makeDraft(), { type: 'no time' }], makeDrafts(90)])
    await collector.postEvents(drafts, { 'api-key': limited.secret_key })
  stream.send([makeDraft()])
  expect((await stream.next()).type).toBe('ack')
}

test('a collector that works is up, and nothing fires', async () => {
  const limited = await runJson(home.env, 'provision', '--tenant', 'acme', '--workspace', 'web', '--tier', '40')
  stream = await StreamClient.open(`ws://127.0.0.1:${home.port}/v1/stream`, { headers: { 'api-key': collector.key } })
  await sendSome(limited)
  await collector.flushed()
  await scraped()
  await sendSome(limited)
  await collector.flushed()
  await scraped()
  expect(await prometheus.query('sum(penstock_dependency_up)')).toMatchObject([{ value: 3 }])
  await waitUntil('nothing fires', async () => (await namesOfFiring()).length === 0)
})

test('without ClickHouse the log fills until events are refused, and alerts tell of it', async () => {
  await engine.stop()
  const isRefused = async () => (await collector.postEvents(makeDrafts(100))).status === 503
  await waitUntil('the log is full', isRefused)
  const alerts = [
    'PenstockDependencyDown',
    'PenstockLogFilling',
    'PenstockLogNearlyFull',
    'PenstockRefusesEvents',
    'PenstockCommitsRefused',
    'PenstockInsertsRetried',
    'PenstockErrorBudgetFast',
    'PenstockErrorBudgetSlow',
  ]
  await firing(alerts, isRefused)
})

test('a collector that is gone is told of', async () => {
  stream.terminate()
  await collector.kill9()
  await firing(['PenstockDown'])
})

/** Metrics that cannot be had here: a request answered with 500 is a fault of the program. */
const UNSEEN = [/http_response_status_code!="503"/]

test('every query of the dashboards finds what it asks for', async () => {
  const faults: string[] = []
  for (const query of [...queriesOf('pipeline', 'prometheus'), ...queriesOf('tenants', 'prometheus')])
    faults.push(...(await faultsOfPanel(query)))
  expect(faults).toEqual([])
})

test('variables have values, and alerts that fire are marked', async () => {
  for (const name of ['pipeline', 'tenants'] as const) {
    const { templating, annotations } = readDashboard(name)
    const variables = templating.list.filter(({ datasource }) => datasource.uid === 'prometheus')
    for (const variable of variables) {
      const [, metric = '', label = ''] = /^label_values\((\w+), (\w+)\)$/.exec(queryOf(variable)) ?? []
      const values = await prometheus.query(`count by (${label}) (last_over_time(${metric}[1h]))`)
      expect(values.map((sample) => sample.metric)).toEqual([{ [label]: `127.0.0.1:${home.port}` }])
    }
    for (const { expr } of annotations.list) expect(await faultsOfRange(name, expr)).toEqual([])
  }
})

test('every alert finds what it asks for', async () => {
  const faults: string[] = []
  for (const { alert, record, expr } of readRules()) {
    const name = alert ?? record ?? ''
    faults.push(...(await faultsOfSelectors(name, expr)))
    // Without what it is compared with; an alert on absence has nothing to be found.
    const subject = expr.replace(/ (==|>) (([\d.]+ \* )?[\d.]+|\w+_limit_bytes)/g, '').trim()
    if (!subject.startsWith('absent(')) faults.push(...(await faultsOfRange(name, subject)))
  }
  expect(faults).toEqual([])
})

async function faultsOfPanel(query: PanelQuery): Promise<string[]> {
  const expression = expandPromQl(query.expr ?? '', {
    from: startedAt,
    to: new Date(),
    intervalMs: SCRAPE_INTERVAL_MS,
    scrapeIntervalMs: SCRAPE_INTERVAL_MS,
    variables: {
      instance: { all: [`127.0.0.1:${home.port}`], allValue: '.*' },
      tenant: { all: ['acme', 'default'] },
      workspace: { all: ['default', 'web'] },
    },
  })
  return [...(await faultsOfSelectors(query.name, expression)), ...(await faultsOfRange(query.name, expression))]
}

/** Each metric with its labels has to be there by itself: `a or b` and `a / b` hide one that is not. */
async function faultsOfSelectors(name: string, expression: string): Promise<string[]> {
  const selectors =
    expression.match(/\b(?:penstock|http_server|process|nodejs|up|target)\w*(?::\w+)*(?:\{[^}]*\})?/g) ?? []
  const metrics = selectors.filter(
    (selector) => /[_{]|^up$/.test(selector) && !/^penstock_(tenant|workspace|key|protocol|dependency)$/.test(selector),
  )
  const faults: string[] = []
  for (const selector of new Set(metrics)) {
    if (UNSEEN.some((pattern) => pattern.test(selector))) continue
    if ((await prometheus.query(`last_over_time(${selector}[1h])`)).length === 0)
      faults.push(`${name}: nothing is ${selector}`)
  }
  return metrics.length === 0 ? [`${name}: no metric in ${expression}`] : faults
}

async function faultsOfRange(name: string, expression: string): Promise<string[]> {
  try {
    const { result } = (await prometheus.api('query_range', {
      query: expression,
      start: String(startedAt.getTime() / 1_000),
      end: String(Date.now() / 1_000),
      step: '1',
    })) as { result: { values: [number, string][] }[] }
    const hasValue = result.some(({ values }) => values.some(([, value]) => value !== 'NaN'))
    return hasValue || UNSEEN.some((pattern) => pattern.test(expression)) ? [] : [`${name}: no values: ${expression}`]
  } catch (error) {
    return [`${name}: ${error}: ${expression}`]
  }
}
