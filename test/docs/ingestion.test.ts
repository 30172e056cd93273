/** `docs/api/ingestion.md` tells the truth: its examples are run as they stand, and its tables name every error of every door. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DOCUMENTED_ROUTES } from '../../src/protocols/front-doors.ts'
import { REJECTIONS, type RejectionCode } from '../../src/rejection.ts'
import { runJson } from '../cli/run-cli.ts'
import { type Collector, startCollector } from '../support/collector.ts'

const text = readFileSync(join(import.meta.dir, '../../docs/api/ingestion.md'), 'utf8')

/** Sections by their headings of the second level. */
const sections = new Map(
  text
    .split(/^## /m)
    .slice(1)
    .map((section) => [section.slice(0, section.indexOf('\n')), section] as const),
)

describe('the examples', () => {
  let collector: Collector
  let env: Record<string, string>

  beforeAll(async () => {
    collector = await startCollector()
    const workspace = ['--tenant', 'docs', '--workspace', 'docs']
    const made = await cli('provision', ...workspace, '--tier', 'unlimited')
    const signed = await cli('keys', 'create', ...workspace, '--signing', 'required', '--tier', 'unlimited')
    env = {
      PATH: process.env.PATH ?? '',
      PENSTOCK: collector.url,
      API_KEY: made.secret_key,
      SITE_KEY: made.public_key,
      SIGNED_KEY: signed.key,
      SIGNING_SECRET: made.signing_secret,
    }
  })

  afterAll(async () => {
    await collector.stop()
    collector.home.remove()
  })

  const cli = (...args: string[]) => runJson(collector.home.env, ...args)

  const examples = [...text.matchAll(/^```(sh|js)\n([\s\S]*?)^```\n\n```json\n([\s\S]*?)^```/gm)].map(
    ([, language, code, answer]) => ({ language, code: code ?? '', answer: answer ?? '' }),
  )

  test('are many', () => {
    expect(examples.length).toBeGreaterThan(12)
    const fences = [...text.matchAll(/^```(sh|js)$/gm)]
    expect(fences.length).toBe(examples.length)
  })

  test.each(examples.map((example, number) => [`${number + 1}: ${example.code.split('\n')[0]}`, example] as const))(
    '%s',
    async (_, { language, code, answer }) => {
      const command = language === 'sh' ? ['bash', '-euo', 'pipefail', '-c', code] : [process.execPath, '-e', code]
      const child = Bun.spawn(command, { env, stdout: 'pipe', stderr: 'pipe' })
      const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
      expect(stderr).toBe('')
      expect(JSON.parse(stdout)).toEqual(patternOf(JSON.parse(answer)))
    },
  )

  test('leave their events in ClickHouse', async () => {
    await collector.flushed()
    const types = await collector.query(`SELECT DISTINCT protocol FROM events WHERE tenant_id = 'docs' ORDER BY 1`)
    expect(types).toBe('api/track\nevents\nsegment\nv1/events\nv1/stream\n')
  })
})

/** `"…"` stands for any value; arrays and objects must be complete otherwise, but for `details` of which the first counts. */
function patternOf(value: unknown): unknown {
  if (value === '…') return expect.anything()
  if (Array.isArray(value)) return value.map(patternOf)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, inner]) => [
    key,
    key === 'details' ? expect.arrayContaining(patternOf(inner) as unknown[]) : patternOf(inner),
  ])
  return entries.length === 1 && entries[0]?.[0] === 'status'
    ? expect.objectContaining(Object.fromEntries(entries))
    : Object.fromEntries(entries)
}

describe('troubleshooting', () => {
  const headings: Readonly<Record<string, string>> = {
    'POST /v1/events': '`POST /v1/events`',
    'GET /v1/stream': '`WS /v1/stream`',
    'POST /api/track': '`POST /api/track`',
    'POST /events': '`POST /events`',
    'GET /users/:userId/journey': '`GET /users/:userId/journey`',
  }
  const routes = DOCUMENTED_ROUTES.filter(({ operation }) => operation.key !== 'none').map(
    ({ method, path, operation }) => [`${method} ${path}`, operation.refusals] as const,
  )

  test.each(routes)('has a row for every error of %s', (route, refusals) => {
    const section = sections.get(headings[route] ?? 'Segment’s API') ?? ''
    const rows = [...section.matchAll(/^\| `(\w+)` \|/gm)].map(([, code]) => code)
    for (const code of refusals) expect(rows).toContain(code)
  })

  test('has every code with its status', () => {
    const general = sections.get('What holds for every door') ?? ''
    for (const [code, { status }] of Object.entries(REJECTIONS) as [RejectionCode, { status: number }][])
      expect(general).toContain(`| \`${code}\` | ${status} |`)
  })
})
