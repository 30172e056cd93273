/**
 * Events to be queried, made inside of ClickHouse: some thousand visits of the demo shop, read and enriched as a collector does it, are laid
 * over the last thirty days again and again, with other sessions, users and times. So every event is one of a real course, with a page, a
 * campaign and an order that belong together, and every view on `events` has to do its work.
 */
import { statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import type { Authenticated } from '../../src/auth/key-cache.ts'
import { readDraft } from '../../src/draft.ts'
import { enrich } from '../../src/enrich.ts'
import { Findings } from '../../src/event-reading.ts'
import { DAY_MS } from '../../src/seed/calendar.ts'
import { traffic } from '../../src/seed/traffic.ts'
import type { ClickHouse } from '../system/clickhouse.ts'

export const DAYS = 30
/** Nine of ten sessions are this workspace's, the others are of twenty small tenants. */
export const TENANT = 'demo'
export const WORKSPACE = 'shop'

/** Visits that are repeated; of those that bounced only some, for ten events a session. */
const TEMPLATE_EVENTS = 120_000
const BOUNCE_PART = 0.2
const EVENTS_A_USER = 33
const BATCH_EVENTS = 500_000
/** Batches that ClickHouse makes at one time. */
const LANES = 2
/** What an event takes on disk with its aggregates, and once more while parts are merged: twice what was measured. */
const DISK_BYTES_AN_EVENT = 250

const COLUMNS = [
  'type',
  'url',
  'path',
  'referrer',
  'referrer_host',
  'title',
  'locale',
  'user_agent',
  'browser',
  'os',
  'device',
] as const

const CREATE_TEMPLATES = `
CREATE TABLE templates
(
    visit UInt32, offset_ms UInt32, is_known Bool,
    type LowCardinality(String), url String, path String, referrer String, referrer_host LowCardinality(String), title String,
    locale LowCardinality(String), user_agent LowCardinality(String), browser LowCardinality(String), os LowCardinality(String),
    device LowCardinality(String), properties JSON(max_dynamic_paths = 0), context JSON(max_dynamic_paths = 0)
)
ENGINE = Memory`

/** What was loaded. */
export interface Loaded {
  readonly events: number
  readonly sessions: number
  /** Milliseconds since 1970: no event is later. */
  readonly untilMs: number
}

/** Throws when the disk has no room for so many events. */
export function checkRoom(events: number): void {
  const { bavail, bsize } = statfsSync(tmpdir())
  const [free, wanted] = [bavail * bsize, events * DISK_BYTES_AN_EVENT]
  if (free >= wanted) return
  const gib = (bytes: number) => `${(bytes / 1024 ** 3).toFixed(1)} GiB`
  throw new Error(`${events} events want ${gib(wanted)} in ${tmpdir()}, where ${gib(free)} are free (TMPDIR, --events)`)
}

/** Fills `events`, and every table behind it, with about so many events. `say` is told now and then. */
export async function loadEvents(
  clickhouse: ClickHouse,
  events: number,
  say: (message: string) => void,
): Promise<Loaded> {
  const untilMs = Date.now()
  const { visits, lengths } = await makeTemplates(clickhouse, untilMs)
  const eventsAVisit = lengths / visits
  const sessions = Math.ceil(events / eventsAVisit)
  const batchSessions = Math.ceil(BATCH_EVENTS / eventsAVisit)
  const batches = Math.ceil(sessions / batchSessions)
  const begun = performance.now()
  let next = 0
  let done = 0
  const lane = async () => {
    for (let batch = next++; batch < batches; batch = next++) {
      const first = batch * batchSessions
      const count = Math.min(batchSessions, sessions - first)
      await clickhouse.query(insertSql({ batch, first, count, sessions, visits, events, untilMs }))
      done++
      if (done % 10 === 0) say(`${done} of ${batches} batches in ${Math.round((performance.now() - begun) / 1000)} s`)
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  await clickhouse.query('DROP TABLE templates')
  return { events: await clickhouse.number('SELECT count() FROM events'), sessions, untilMs }
}

/** Writes visits of the demo shop into a table of their own. */
async function makeTemplates(clickhouse: ClickHouse, untilMs: number) {
  await clickhouse.query(CREATE_TEMPLATES)
  const lines: string[] = []
  let visits = 0
  let bounces = 0
  const plan = { seed: 'queries', days: 7, events: TEMPLATE_EVENTS, visitors: TEMPLATE_EVENTS / 15, untilMs }
  const facts = {
    key: { tenantId: '', workspaceId: '' } as Authenticated,
    protocol: 'v1/events',
    receivedAt: untilMs,
    ip: new Uint8Array(16),
    anonymizeIp: false,
    userAgent: '',
    schemaVersion: '1',
  }
  for (const drafts of traffic(plan)) {
    if (drafts.length < 4 && bounces++ % Math.round(1 / BOUNCE_PART) !== 0) continue
    const begunMs = Date.parse(drafts[0]?.timestamp ?? '')
    for (const draft of drafts) {
      const event = readDraft(draft, 0, facts, new Findings())
      if (event === undefined) throw new Error(`the event ${JSON.stringify(draft)} was refused`)
      enrich(event)
      const { url, path, referrer, referrerHost, title, locale, userAgent, browser, os, device } = event
      const texts = {
        url,
        path,
        referrer,
        referrer_host: referrerHost,
        title,
        locale,
        user_agent: userAgent,
        browser,
        os,
      }
      const place = { visit: visits, offset_ms: event.occurredAt - begunMs, is_known: event.userId !== '' }
      const { type, properties, context } = event
      lines.push(JSON.stringify({ ...place, type, ...texts, device, properties, context }))
    }
    visits++
  }
  await clickhouse.query(`INSERT INTO templates FORMAT JSONEachRow\n${lines.join('\n')}`)
  return { visits, lengths: lines.length }
}

interface Batch {
  readonly batch: number
  /** Sessions of it, by number. */
  readonly first: number
  readonly count: number
  readonly sessions: number
  readonly visits: number
  readonly events: number
  readonly untilMs: number
}

/** Sessions in the order of their beginnings, so that a batch touches one day or two; by day more often than by night. */
function insertSql({ batch, first, count, sessions, visits, events, untilMs }: Batch): string {
  const users = Math.ceil(events / EVENTS_A_USER)
  const fromMs = untilMs - DAYS * DAY_MS
  const share = `number / ${sessions} * ${DAYS}`
  return `
    INSERT INTO events (tenant_id, workspace_id, event_id, protocol, occurred_at, received_at, session_id, user_id, anonymous_id,
      ip, schema_version, ${COLUMNS.join(', ')}, properties, context)
    SELECT tenant, if(tenant = '${TENANT}', '${WORKSPACE}', 'web'), generateUUIDv7(), 'v1/events',
      fromUnixTimestamp64Milli(least(begun_ms + offset_ms, ${untilMs}), 'UTC') AS happened_at,
      happened_at + toIntervalMillisecond(offset_ms % 1500), session, if(is_known, concat('user-', toString(user)), ''),
      concat('visitor-', toString(user)), toIPv6(concat('2001:db8::', hex(user % 65536))), '1',
      ${COLUMNS.join(', ')}, properties, context
    FROM
    (
      SELECT
        toUInt32(cityHash64('visit', number) % ${visits}) AS visit,
        toInt64(${fromMs} + (${share} - sin(2 * pi() * (${share})) / 10) * ${DAY_MS}) AS begun_ms,
        toString(reinterpretAsUUID(sipHash128(number))) AS session,
        toUInt64(${users} * pow(cityHash64('user', number) / 18446744073709551616, 1.3)) AS user,
        if(user % 10 != 0, '${TENANT}', concat('tenant-', leftPad(toString(user / 10 % 20), 2, '0'))) AS tenant
      FROM numbers(${first}, ${count})
    ) AS sessions
    INNER JOIN templates USING visit
    SETTINGS insert_deduplication_token = 'bench/${batch}', max_insert_threads = 1, max_threads = 2,
      min_insert_block_size_rows = ${BATCH_EVENTS}, min_insert_block_size_bytes = 0, join_use_nulls = 0`
}
