import { afterAll, expect, test } from 'bun:test'
import { banner, httpAddress } from '../../src/cli/banner.ts'
import { startTestClickHouse } from '../support/clickhouse.ts'

const clickhouse = await startTestClickHouse()
afterAll(() => clickhouse.stop())

const OPTIONS = {
  host: '127.0.0.1',
  port: 3000,
  dataDir: './data',
  publicKey: 'pk_example',
  clickhouse: { url: clickhouse.url, user: 'default', hasPassword: false, database: 'penstock' },
}

function curlLines(text: string): string[] {
  return text.split('\n').filter((line) => line.trim().startsWith('curl'))
}

async function shell(line: string): Promise<string> {
  const child = Bun.spawn(['sh', '-c', line], { stdout: 'pipe', stderr: 'ignore' })
  return new Response(child.stdout).text()
}

test('the line that sends an event works as printed', async () => {
  const received: { path: string; key: string | null; type: string | null; body: unknown }[] = []
  using server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const { headers } = request
      const path = `${request.method} ${new URL(request.url).pathname}`
      received.push({
        path,
        key: headers.get('api-key'),
        type: headers.get('content-type'),
        body: await request.json(),
      })
      return new Response('{}', { status: 201 })
    },
  })
  const [send] = curlLines(banner({ ...OPTIONS, port: server.port ?? 0 }))
  await shell(send ?? '')
  expect(received).toEqual([
    {
      path: 'POST /v1/events',
      key: 'pk_example',
      type: 'application/json',
      body: {
        events: [
          {
            type: 'pageview',
            timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
            session_id: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
            properties: { plan: 'trial' },
          },
        ],
      },
    },
  ])
})

test('the line that shows the events works as printed, with the configured database', async () => {
  const database = await clickhouse.createDatabase()
  await clickhouse.query(
    `CREATE TABLE ${database}.events (type String, received_at DateTime64(3, 'UTC'), properties JSON) ORDER BY received_at`,
  )
  await clickhouse.query(`INSERT INTO ${database}.events VALUES ('pageview', now64(3), '{"plan":"trial"}')`)
  const lines = curlLines(banner({ ...OPTIONS, clickhouse: { ...OPTIONS.clickhouse, database } }))
  const answer = await shell(lines[1] ?? '')
  expect(answer).toContain('pageview')
  expect(answer).toContain('{"plan":"trial"}')
})

test('a ClickHouse with a login is asked with the user, never with the password', () => {
  const login = { url: 'https://db.example:8443/', user: "o'neil", hasPassword: true, database: 'penstock' }
  expect(curlLines(banner({ ...OPTIONS, clickhouse: login }))[1]).toContain(
    `curl --user 'o'\\''neil' 'https://db.example:8443/?query=SELECT`,
  )
})

test('without a key it says how to get one', () => {
  const text = banner({ ...OPTIONS, publicKey: undefined })
  expect(text).toContain('provision --tenant')
  expect(curlLines(text)).toHaveLength(1)
})

test.each([
  ['0.0.0.0', 'http://127.0.0.1:80'],
  ['::', 'http://[::1]:80'],
  ['10.0.0.1', 'http://10.0.0.1:80'],
  ['localhost', 'http://localhost:80'],
])('a server on %s is reached at %s', (host, address) => {
  expect(httpAddress(host, 80)).toBe(address)
})
