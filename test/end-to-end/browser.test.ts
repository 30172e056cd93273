/** `POST /api/track` from a real browser: a page of another site sends by fetch and by beacon, also while it goes away. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { runJson } from '../cli/run-cli.ts'
import { startBrowser, type TestBrowser } from '../support/chromium.ts'
import { type Collector, startCollector, waitUntil } from '../support/collector.ts'

/** What a site's script does, in short: the ways a page has to send. */
const PAGE = `<!doctype html><title>A page</title><script>
  const json = (item) => JSON.stringify(item)
  const blob = (item, type) => new Blob([json(item)], { type })
  const post = async (url, body, options) => {
    const response = await fetch(url, { method: 'POST', body, ...options })
    return [response.status, await response.json(), response.headers.get('x-request-id') !== null]
  }
  const ways = {
    'fetch as JSON': (url, item) => post(url, json(item), { headers: { 'content-type': 'application/json' } }),
    'fetch as text': (url, item) => post(url, json(item)),
    'fetch with credentials': (url, item) =>
      post(url, json(item), { headers: { 'content-type': 'application/json' }, credentials: 'include' }),
    'fetch that outlives the page': (url, item) =>
      post(url, json(item), { headers: { 'content-type': 'application/json' }, keepalive: true }),
    'a beacon of text': (url, item) => navigator.sendBeacon(url, json(item)),
    'a beacon of a text Blob': (url, item) => navigator.sendBeacon(url, blob(item, 'text/plain')),
    'a beacon of a JSON Blob': (url, item) => navigator.sendBeacon(url, blob(item, 'application/json')),
    'a beacon of a form': (url, item) => navigator.sendBeacon(url, blob(item, 'application/x-www-form-urlencoded')),
  }
  const send = (way, url, item) => ways[way](url, item)
  /** Sends when the page goes away; the item says by which event it noticed. */
  function sendAtTheEnd(way, url, item) {
    for (const type of ['pagehide', 'beforeunload'])
      addEventListener(type, () => {
        item.event.data.end = type
        item.event.timestamp = Date.now()
        send(way, url, item)
      }, { once: true })
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState !== 'hidden') return
      item.event.data.end = 'hidden'
      send(way, url, item)
    }, { once: true })
  }
</script>`

const FETCHES = ['fetch as JSON', 'fetch as text', 'fetch with credentials', 'fetch that outlives the page']
const BEACONS = ['a beacon of text', 'a beacon of a text Blob', 'a beacon of a JSON Blob', 'a beacon of a form']

let collector: Collector
let browser: TestBrowser
let site: Bun.Server<undefined>
/** Another site than the collector's, not only another origin: that is at 127.0.0.1. */
let origin: string
let keys: Record<'open' | 'ours' | 'others', string>

beforeAll(async () => {
  collector = await startCollector()
  browser = await startBrowser()
  site = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: ({ url }) =>
      new Response(url.endsWith('/framed') ? `<iframe sandbox="allow-scripts" src="/"></iframe>` : PAGE, {
        headers: { 'content-type': 'text/html' },
      }),
  })
  origin = `http://localhost:${site.port}`
  const first = JSON.parse(readFileSync(join(collector.home.env.DATA_DIR ?? '', 'first-key.json'), 'utf8'))
  keys = { open: first.public_key, ours: await makeKey(origin), others: await makeKey('https://shop.example') }
})

afterAll(async () => {
  await browser.close()
  await site.stop(true)
  expect(collector.lines.filter(({ level }) => /error|fatal/.test(level))).toEqual([])
  await collector.stop()
  collector.home.remove()
})

async function makeKey(origins: string): Promise<string> {
  const names = ['--tenant', 'default', '--workspace', 'default', '--kind', 'public', '--origins', origins]
  return (await runJson(collector.home.env, 'keys', 'create', ...names)).key
}

async function open(path = '/'): Promise<Page> {
  const page = await browser.context.newPage()
  await page.goto(`${origin}${path}`)
  return page
}

const makeItem = (siteId: string) => ({
  siteId,
  sessionId: `session ${crypto.randomUUID()}`,
  event: { type: 'pageview', timestamp: Date.now(), data: { url: `${origin}/`, title: 'A page' } },
})

const call = (name: 'send' | 'sendAtTheEnd', way: string, item: object) =>
  `${name}(${[way, `${collector.url}/api/track`, item].map((argument) => JSON.stringify(argument)).join()})`

async function rowsOf(sessionId: string): Promise<Record<string, unknown>[]> {
  await collector.flushed()
  return collector.rows(`SELECT * FROM events WHERE session_id = '${sessionId}'`)
}

async function expectOneRow({ sessionId }: { sessionId: string }): Promise<Record<string, unknown> | undefined> {
  await waitUntil('the event is stored', async () => (await rowsOf(sessionId)).length > 0, 10_000)
  const rows = await rowsOf(sessionId)
  const { userAgent } = browser
  expect(rows).toMatchObject([{ type: 'pageview', url: `${origin}/`, title: 'A page', user_agent: userAgent }])
  return rows[0]
}

test.each(FETCHES)('%s is answered so that the page can read it, and stored once', async (way) => {
  const page = await open()
  for (const key of [keys.open, keys.ours]) {
    const item = makeItem(key)
    expect(await page.evaluate<unknown>(call('send', way, item))).toEqual([200, { success: true }, true])
    await expectOneRow(item)
  }
  await page.close()
})

test.each(BEACONS)('%s is stored once', async (way) => {
  const page = await open()
  for (const key of [keys.open, keys.ours]) {
    const item = makeItem(key)
    expect(await page.evaluate<unknown>(call('send', way, item))).toBe(true)
    await expectOneRow(item)
  }
  await page.close()
})

test.each([...BEACONS, 'fetch that outlives the page'])(
  '%s that is sent while the page goes away arrives: at the next page, and at the end of the tab',
  async (way) => {
    const [leaving, closing] = [makeItem(keys.ours), makeItem(keys.open)]
    const page = await open()
    await page.evaluate(call('sendAtTheEnd', way, leaving))
    await page.goto('about:blank')
    await page.goto(`${origin}/`)
    await page.evaluate(call('sendAtTheEnd', way, closing))
    await page.close({ runBeforeUnload: true })
    for (const { sessionId } of [leaving, closing]) {
      const ends = async () => (await rowsOf(sessionId)).map((row) => (row.properties as { end: string }).end)
      await waitUntil('what was sent at the end is stored', async () => (await ends()).includes('pagehide'), 10_000)
    }
  },
)

test('a page that the key is not for is refused, and can read why', async () => {
  const page = await open()
  const items = [...FETCHES, ...BEACONS].map((way) => [way, makeItem(keys.others)] as const)
  for (const [way, item] of items) {
    const answer = await page.evaluate<unknown>(call('send', way, item))
    const refused = [403, { success: false, error: `the key is not for pages of ${origin}` }, true]
    expect(answer).toEqual(BEACONS.includes(way) ? true : refused)
  }
  const last = makeItem(keys.ours)
  await page.evaluate(call('send', 'fetch as JSON', last))
  await expectOneRow(last)
  for (const [, item] of items) expect(await rowsOf(item.sessionId)).toEqual([])
  await page.close()
})

test('a frame without an origin may send with a key that is for all pages, and with no other', async () => {
  const page = await open('/framed')
  const frame = page.frames()[1]
  expect(await frame?.evaluate('origin')).toBe('null')
  for (const way of [...FETCHES, ...BEACONS]) {
    const item = makeItem(keys.open)
    const answer = await frame?.evaluate<unknown>(call('send', way, item))
    expect(answer).toEqual(BEACONS.includes(way) ? true : [200, { success: true }, true])
    await expectOneRow(item)
    const foreign = await frame?.evaluate<unknown>(call('send', way, makeItem(keys.ours)))
    if (!BEACONS.includes(way)) expect(foreign).toMatchObject([403, { success: false }, true])
  }
  await page.close()
})

test('a page can read the collector’s health', async () => {
  const page = await open()
  const read = `fetch(${JSON.stringify(`${collector.url}/api/track/health`)}).then((answer) => answer.json())`
  expect(await page.evaluate<unknown>(read)).toMatchObject({ status: 'ok', database: { status: 'ok' } })
  await page.close()
})
