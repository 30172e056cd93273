/** No tenant sees, changes, hides or slows down what is another's, whatever it writes into its requests. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import assert from 'node:assert/strict'
import { join } from 'node:path'
import fc from 'fast-check'
import type { ControlDatabase } from '../../src/control/control-database.ts'
import { openControl } from '../../src/control/open-control.ts'
import { isProblem, type Problem } from '../../src/problem.ts'
import { type Collector, startCollector } from '../support/collector.ts'
import { makeDraft, makeDrafts } from '../support/event-drafts.ts'
import { PROTOCOLS, type Protocol } from '../support/protocols.ts'
import { StreamClient } from '../support/stream-client.ts'

const RUNS = 8
const SEED = Math.floor(Math.random() * 2 ** 31)

/** Names that would be one, were they put together carelessly. */
const NAMES = [
  ['a', 'b-c'],
  ['a-b', 'c'],
  ['a', 'b'],
  ['a.b', 'c'],
  ['a', 'b.c'],
  ['A', 'b'],
  ['ab', 'c'],
  ['a', 'bc'],
] as const

interface Workspace {
  /** `tenant/workspace` */
  readonly name: string
  readonly tenant: string
  readonly workspace: string
  readonly publicKey: string
  readonly secretKey: string
}

let collector: Collector
let control: ControlDatabase

beforeAll(async () => {
  collector = await startCollector()
  control = good(await openControl({ dataDir: join(collector.home.directory, 'data') }))
})

afterAll(async () => {
  expect(collector.lines.filter(({ level }) => /error|fatal/.test(level))).toEqual([])
  await control.close()
  await collector.stop()
  collector.home.remove()
})

function good<Value>(value: Value | Problem): Value {
  assert(!isProblem(value), isProblem(value) ? value.message : '')
  return value as Value
}

/** Workspaces of tenants that no other run has. */
function makeWorkspaces(run: string, tier = 'unlimited'): Promise<readonly Workspace[]> {
  return Promise.all(
    NAMES.map(async ([name, workspace]) => {
      const tenant = `${run}.${name}`
      const { publicKey, secretKey } = good(await control.provision({ tenant, workspace, tier }))
      return { name: `${tenant}/${workspace}`, tenant, workspace, publicKey, secretKey }
    }),
  )
}

const newRun = () => `r${crypto.randomUUID().slice(0, 8)}`

/** Says by which way, for whom and with which ids, and which lies go with it. */
const request = fc.record({
  door: fc.constantFrom<Protocol | 'ndjson' | 'stream'>(...PROTOCOLS, 'ndjson', 'stream'),
  whose: fc.nat({ max: NAMES.length - 1 }),
  /** Whom the lies name. */
  other: fc.nat({ max: NAMES.length - 1 }),
  /** The same few in all workspaces; undefined: none. */
  ids: fc.array(fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }), { minLength: 1, maxLength: 4 }),
  lies: fc.subarray(['event', 'properties', 'body', 'headers', 'query', 'context'] as const),
})
type Request = typeof request extends fc.Arbitrary<infer Value> ? Value : never

function idOf(number: number): string {
  return number % 2 === 0 ? `order-${number}` : `018f2f5e-5c1a-7c3e-9d2b-00000000000${number}`
}

/** Every name under which a client could think to say whose an event is. */
function liesAbout({ tenant, workspace, publicKey, secretKey }: Workspace): Record<string, string> {
  return {
    ...{ tenant_id: tenant, tenantId: tenant, tenant, workspace_id: workspace, workspaceId: workspace, workspace },
    ...{ api_key: secretKey, apiKey: secretKey, key: publicKey, projectId: workspace },
  }
}

function eventOf(door: Request['door'], marker: string, id: string | undefined): Record<string, unknown> {
  const properties = { marker }
  const userId = 'user-1' // of all
  if (typeof door === 'string') return makeDraft({ properties, user_id: userId, ...(id && { event_id: id }) })
  const event = door.event(crypto.randomUUID(), properties) as Record<string, unknown>
  if (door.column === 'v1/events') return { ...event, user_id: userId, ...(id && { event_id: id }) }
  if (door.column === 'events') return { ...event, userId, ...(id && { eventId: id }) }
  if (door.column === 'segment') return { ...event, userId, ...(id && { messageId: id }) }
  return { ...event, event: { ...(event.event as object), ...(id && { eventId: id }) } }
}

/** Sends it and gives the ids that were taken. */
async function send({ door, whose, other, ids, lies }: Request, workspaces: readonly Workspace[]): Promise<void> {
  const own = workspaces[whose] as Workspace
  const named = workspaces[other] as Workspace
  const told = (place: Request['lies'][number]) => (lies.includes(place) ? liesAbout(named) : {})
  const isOne = typeof door !== 'string' && door.batchEventsMax === undefined
  const events = (isOne ? ids.slice(0, 1) : ids).map((id) => {
    const event = eventOf(door, own.name, id === undefined ? undefined : idOf(id))
    const place = ['properties', 'payload', 'data'].find((name) => name in event)
    if (place !== undefined) event[place] = { ...(event[place] as object), ...told('properties') }
    if (lies.includes('context') && place === 'properties') event.context = told('context')
    return { ...event, ...told('event'), ...(lies.includes('event') ? { writeKey: named.publicKey } : {}) }
  })
  const query = lies.includes('query')
    ? `?${new URLSearchParams({ ...liesAbout(named), siteId: named.publicKey })}`
    : ''
  const headers: Record<string, string> = lies.includes('headers')
    ? { 'x-tenant-id': named.tenant, 'x-workspace-id': named.workspace, cookie: `api_key=${named.secretKey}` }
    : {}
  if (door === 'stream') {
    const client = await StreamClient.open(`${collector.url.replace('http', 'ws')}/v1/stream${query}`, {
      headers: { 'api-key': own.secretKey, ...headers },
    })
    client.send({ events, ...told('body'), seq: 1 })
    expect(await client.next()).toEqual({ type: 'ack', seq: 1, accepted: events.length, rejected: 0 })
    client.close()
    return
  }
  if (door === 'ndjson') {
    const lines = events.map((event) => JSON.stringify(event)).join('\n')
    const type = { 'content-type': 'application/x-ndjson', 'api-key': own.secretKey }
    const response = await collector.post(lines, { ...headers, ...type }, `/v1/events${query}`)
    expect([response.status, await response.json()]).toMatchObject([201, { accepted: events.length }])
    return
  }
  const made = door.request(own.publicKey, events)
  // One object can have further fields beside its events; those that mean something there are left as they are.
  const body = Array.isArray(made.body) ? made.body : { ...told('body'), ...(made.body as object) }
  // Headers that come later in the order of the documentation, or not at all, where the key is in the body.
  const decoys: Record<string, string> =
    lies.includes('headers') && door.column !== 'segment'
      ? { 'x-api-key': named.secretKey, authorization: `Bearer ${named.secretKey}` }
      : {}
  const response = await fetch(`${collector.url}${door.path}${query}`, {
    method: 'POST',
    headers: { ...headers, ...decoys, ...made.headers },
    body: JSON.stringify(body),
  })
  expect([response.status, await response.text()]).toEqual([door.status, expect.any(String)])
}

interface Journey {
  readonly count: number
  readonly events: readonly { readonly properties: { readonly marker: string } }[]
  readonly next_cursor?: string
}

/** The events of a user whom all workspaces have, as the key shows them to one who asks for another workspace's. */
async function journeyOf({ secretKey }: Workspace, other: Workspace, query: Record<string, string>): Promise<Journey> {
  const lies = { ...liesAbout(other), ...query }
  const headers = { 'api-key': secretKey, 'x-api-key': other.secretKey, 'x-tenant-id': other.tenant }
  const response = await fetch(`${collector.url}/users/user-1/journey?${new URLSearchParams(lies)}`, { headers })
  expect(response.status).toBe(200)
  return (await response.json()) as Journey
}

/** What everyone can read is exactly what is theirs, also with a cursor that another one was given. */
async function expectOwnJourneys(workspaces: readonly Workspace[], rows: ReadonlyMap<string, number>): Promise<void> {
  for (const [index, own] of workspaces.entries()) {
    const other = workspaces[(index + 1) % workspaces.length] as Workspace
    const { events, count } = await journeyOf(own, other, { limit: '1000' })
    expect(events.map(({ properties }) => properties.marker)).toEqual(Array.from({ length: count }, () => own.name))
    expect(count).toBe(rows.get(own.name) ?? 0)
    const { next_cursor: cursor } = await journeyOf(other, own, { limit: '1' })
    if (cursor === undefined) continue
    const url = `${collector.url}/users/user-1/journey?${new URLSearchParams({ cursor, limit: '1' })}`
    const response = await fetch(url, { headers: { 'api-key': own.secretKey } })
    if (response.status === 200)
      for (const { properties } of ((await response.json()) as Journey).events) expect(properties.marker).toBe(own.name)
    else expect(response.status).toBe(400)
  }
}

/** Rows that the requests must leave: an id is stored once in each workspace. */
function expectedRows(requests: readonly Request[], workspaces: readonly Workspace[]): Record<string, number> {
  const rows: Record<string, number> = {}
  const seen = new Set<string>()
  for (const { door, whose, ids } of requests) {
    const { name } = workspaces[whose] as Workspace
    const isOne = typeof door !== 'string' && door.batchEventsMax === undefined
    for (const id of isOne ? ids.slice(0, 1) : ids) {
      if (id !== undefined && seen.has(`${name} ${id}`)) continue
      seen.add(`${name} ${id}`)
      rows[name] = (rows[name] ?? 0) + 1
    }
  }
  return rows
}

test(`every event is stored for the workspace of its key, and read by it and no other, also when all send at once with the same ids and name one another (seed ${SEED})`, async () => {
  const property = fc.asyncProperty(fc.array(request, { minLength: 20, maxLength: 60 }), async (requests) => {
    const run = newRun()
    const workspaces = await makeWorkspaces(run)
    await Promise.all(requests.map((one) => send(one, workspaces)))
    await collector.flushed()
    const expected = expectedRows(requests, workspaces)
    const rows = await collector.rows<{ workspace: string; marker: string; rows: string }>(
      `SELECT concat(tenant_id, '/', workspace_id) AS workspace, toString(properties.marker) AS marker, count() AS rows
       FROM events WHERE startsWith(tenant_id, '${run}') GROUP BY ALL`,
    )
    for (const { workspace, marker } of rows) expect(marker).toBe(workspace)
    expect(Object.fromEntries(rows.map(({ workspace, rows }) => [workspace, Number(rows)]))).toEqual(expected)
    for (const table of ['events_per_minute', 'events_per_hour', 'events_per_day', 'activity_per_day']) {
      const counted = await collector.rows<{ workspace: string; events: string }>(
        `SELECT concat(tenant_id, '/', workspace_id) AS workspace, sum(events) AS events
         FROM ${table} WHERE startsWith(tenant_id, '${run}') GROUP BY workspace`,
      )
      expect(Object.fromEntries(counted.map(({ workspace, events }) => [workspace, Number(events)]))).toEqual(expected)
    }
    const ofUser = await collector.rows<{ workspace: string; rows: string }>(
      `SELECT concat(tenant_id, '/', workspace_id) AS workspace, count() AS rows
       FROM events WHERE startsWith(tenant_id, '${run}') AND user_id = 'user-1' GROUP BY workspace`,
    )
    await expectOwnJourneys(workspaces, new Map(ofUser.map(({ workspace, rows }) => [workspace, Number(rows)])))
  })
  await fc.assert(property, { numRuns: RUNS, seed: SEED, endOnFailure: true })
})

test('a request that names two sites is refused and nothing of it is stored, whichever comes first', async () => {
  const run = newRun()
  const [one, other] = (await makeWorkspaces(run)) as [Workspace, Workspace]
  const item = ({ publicKey }: Workspace) => ({
    siteId: publicKey,
    sessionId: 's',
    event: { type: 'time', timestamp: Date.now() },
  })
  for (const body of [
    [item(one), item(other)],
    [item(other), item(one)],
    { siteId: one.publicKey, events: [item(other)] },
    { siteId: one.publicKey, events: [item(one), item(other)] },
    { events: [item(one), { ...item(other), siteId: one.publicKey }, item(other)] },
  ]) {
    const response = await collector.post(JSON.stringify(body), { 'api-key': one.secretKey }, '/api/track')
    expect([response.status, await response.json()]).toMatchObject([400, { success: false }])
  }
  await collector.flushed()
  expect(await collector.query(`SELECT count() FROM events WHERE startsWith(tenant_id, '${run}')`)).toBe('0\n')
})

test('a key that has used up its limit takes nothing from another key, of its workspace, its tenant or another tenant', async () => {
  const workspaces = await makeWorkspaces(newRun(), '10')
  const ask = async (key: string) => {
    const response = await collector.postEvents([makeDraft()], { 'api-key': key })
    return [response.status, response.headers.get('x-ratelimit-remaining')]
  }
  const [first = '', ...others] = workspaces.flatMap(({ publicKey, secretKey }) => [publicKey, secretKey])
  for (let left = 19; left >= 0; left--) expect(await ask(first)).toEqual([201, `${left}`])
  for (const other of others) {
    expect(await ask(first)).toEqual([429, '0'])
    expect(await ask(other)).toEqual([201, '19'])
  }
})

test('while one tenant floods beyond its limit, and another as fast as it can, a third is never refused', async () => {
  const [limited, unlimited, quiet] = (await Promise.all([
    makeWorkspaces(newRun(), '1000').then(([one]) => one),
    makeWorkspaces(newRun()).then(([one]) => one),
    makeWorkspaces(newRun(), '100').then(([one]) => one),
  ])) as [Workspace, Workspace, Workspace]
  const body = JSON.stringify({ events: makeDrafts(100) })
  const answers: Record<string, Record<number, number>> = {}
  let isOver = false
  const flood = async ({ name, secretKey }: Workspace) => {
    answers[name] ??= {}
    const counts = answers[name]
    while (!isOver) {
      const { status } = await collector.post(body, { 'api-key': secretKey })
      counts[status] = (counts[status] ?? 0) + 1
    }
  }
  const floods = [limited, unlimited].flatMap((workspace) => Array.from({ length: 8 }, () => flood(workspace)))
  const stream = await StreamClient.open(`${collector.url.replace('http', 'ws')}/v1/stream?api_key=${quiet.secretKey}`)
  for (let n = 0; n < 60; n++) {
    expect((await collector.postEvents([makeDraft()], { 'api-key': quiet.secretKey })).status).toBe(201)
    stream.send([makeDraft()])
    expect(await stream.next()).toEqual({ type: 'ack', accepted: 1, rejected: 0 })
    await Bun.sleep(10)
  }
  stream.close()
  isOver = true
  await Promise.all(floods)
  expect(Object.keys(answers[limited.name] ?? {}).sort()).toEqual(['201', '429'])
  expect(answers[limited.name]?.[201]).toBeWithin(20, 26) // twice the limit, 100 in each; more when this takes long
  await collector.flushed()
  const sql = `SELECT count() FROM events WHERE tenant_id = '${quiet.tenant}' AND workspace_id = '${quiet.workspace}'`
  expect(await collector.query(sql)).toBe('120\n')
})
