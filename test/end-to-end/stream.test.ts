/** `WS /v1/stream`: acknowledged when durable, slowed down when too much comes, checked like every other door. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runJson } from '../cli/run-cli.ts'
import { type Collector, startCollector, waitUntil } from '../support/collector.ts'
import { makeDraft, makeDrafts } from '../support/event-drafts.ts'
import { StreamClient } from '../support/stream-client.ts'

let collector: Collector

beforeAll(async () => {
  collector = await startCollector({ env: { KEY_CACHE_LIFETIME_MS: '100', BODY_BYTES_MAX: '64KiB' } })
})

afterAll(async () => {
  await collector.stop()
  collector.home.remove()
})

const url = (query = `?api_key=${collector.key}`) => `ws://127.0.0.1:${collector.port}/v1/stream${query}`

describe('the handshake', () => {
  test('takes the key in the query, in a header, and as a subprotocol', async () => {
    const { key } = collector
    for (const open of [
      () => StreamClient.open(url()),
      () => StreamClient.open(url(''), { headers: { 'api-key': key } }),
      () => StreamClient.open(url(''), { headers: { authorization: `Bearer ${key}` } }),
      () => StreamClient.open(url(''), { protocols: ['penstock', key] }),
      () => StreamClient.open(url(''), { protocols: [key] }),
    ]) {
      const client = await open()
      client.send({ events: [makeDraft()], seq: 1 })
      expect(await client.next()).toEqual({ type: 'ack', seq: 1, accepted: 1, rejected: 0 })
      client.close()
    }
  })

  test('names the subprotocol, not the key, when both are offered', async () => {
    const client = await StreamClient.open(url(''), { protocols: ['penstock', collector.key] })
    expect(client.protocol).toBe('penstock')
    client.close()
  })

  test.each([
    ['no key', '', 401],
    ['an unknown key', `?api_key=sk_${'A'.repeat(43)}`, 401],
  ])('with %s is refused in the shape of every error', async (_, query, status) => {
    const response = await fetch(url(query).replace('ws:', 'http:'), { headers: HANDSHAKE })
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ error: { code: 'unauthorized', request_id: expect.any(String) } })
  })

  test('from a page that the key is not for is forbidden', async () => {
    const { key } = await cli('keys', 'create', ...WORKSPACE, '--kind', 'public', '--origins', 'https://shop.example')
    const handshake = (origin: string) =>
      fetch(url(`?api_key=${key}`).replace('ws:', 'http:'), { headers: { ...HANDSHAKE, origin } })
    expect((await handshake('https://evil.example')).status).toBe(403)
    expect((await handshake('https://shop.example')).status).toBe(101)
  })

  test('that is signed opens one socket for each signature', async () => {
    const made = await cli('provision', '--tenant', 'signing', '--workspace', 'signing')
    const names = ['--tenant', 'signing', '--workspace', 'signing', '--signing', 'required']
    const { key } = await cli('keys', 'create', ...names)
    const timestamp = String(Math.floor(Date.now() / 1000))
    const signature = createHmac('sha256', made.signing_secret).update(`${timestamp}.`).digest('hex')
    const headers = { 'api-key': key, 'x-timestamp': timestamp, 'x-signature': signature }
    const handshake = () =>
      fetch(url('').replace('ws:', 'http:'), { headers: { ...HANDSHAKE, ...headers } }).then(({ status }) => status)
    const client = await StreamClient.open(url(''), { headers })
    client.send([makeDraft()])
    expect(await client.next()).toMatchObject({ type: 'ack', accepted: 1 })
    client.close()
    expect(await handshake()).toBe(401)
  })

  test('that is none is told so', async () => {
    const response = await fetch(url().replace('ws:', 'http:'))
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { message: expect.stringContaining('WebSocket') } })
  })
})

describe('a message', () => {
  let client: StreamClient
  beforeAll(async () => {
    client = await StreamClient.open(url())
  })
  afterAll(() => client.close())

  test('is an array of events or an object with them, as text or as bytes', async () => {
    client.send([makeDraft()])
    expect(await client.next()).toEqual({ type: 'ack', accepted: 1, rejected: 0 })
    client.sendText(new TextEncoder().encode(JSON.stringify({ seq: 'a', events: makeDrafts(2) })))
    expect(await client.next()).toEqual({ type: 'ack', seq: 'a', accepted: 2, rejected: 0 })
  })

  test('keeps its good events; errors and warnings are told', async () => {
    const future = new Date(Date.now() + 3_600_000).toISOString()
    client.send({ seq: 2, events: [makeDraft(), { type: 'x' }, makeDraft({ timestamp: future })] })
    expect(await client.next()).toMatchObject({
      type: 'ack',
      seq: 2,
      accepted: 2,
      rejected: 1,
      errors: [{ index: 1, code: 'invalid_event' }],
      warnings: [{ index: 2, code: 'timestamp_in_future' }],
    })
  })

  test.each([
    ['{', undefined, 'malformed_json'],
    ['{"seq":3}', 3, 'invalid_event'],
    ['{"seq":4,"events":[]}', 4, 'invalid_event'],
    ['{"seq":5,"events":[{}]}', 5, 'invalid_event'],
    ['null', undefined, 'invalid_event'],
    [new Uint8Array([0xff, 0xfe]), undefined, 'malformed_json'],
    [JSON.stringify({ seq: 6, events: Array(101).fill({}) }), 6, 'batch_too_large'],
  ])('%p is answered by an error, and the socket goes on', async (text, seq, code) => {
    client.sendText(text)
    const answer = await client.next()
    expect(answer).toMatchObject({ type: 'error', error: { code, request_id: expect.any(String) } })
    expect(answer.seq).toBe(seq as never)
    client.send([makeDraft()])
    expect(await client.next()).toMatchObject({ type: 'ack' })
  })

  test.each(['7', '-7', '123456789012345', '9007199254740991', '"a"', '""', `"${'ä'.repeat(256)}"`])(
    'is answered with its own seq: %s',
    async (seq) => {
      for (const events of [[makeDraft()], [{}]]) {
        client.sendText(`{"seq":${seq},"events":${JSON.stringify(events)}}`)
        expect((await client.next()).seq).toBe(JSON.parse(seq))
      }
    },
  )

  test.each(['9007199254740993', '12345678901234567890', '1e400', '1.5', 'true', '{}', '[]', `"${'x'.repeat(257)}"`])(
    'with a seq that could not be answered as it is, %s, is refused',
    async (seq) => {
      client.sendText(`{"seq":${seq},"events":[${JSON.stringify(makeDraft())}]}`)
      const answer = await client.next()
      expect(answer).toMatchObject({ type: 'error', error: { code: 'invalid_event' } })
      expect((answer.error as { message: string }).message).toStartWith('seq: expected a whole number')
      expect(answer.seq).toBeUndefined()
    },
  )

  test('may be as large as the limit; a larger one closes the socket with 1009', async () => {
    const ofSize = (bytes: number) => {
      const message = { seq: 'size', events: [makeDraft({ properties: { fill: '' } })] }
      const fill = bytes - JSON.stringify(message).length
      message.events = [makeDraft({ ...message.events[0], properties: { fill: 'x'.repeat(fill) } })]
      return JSON.stringify(message)
    }
    const other = await StreamClient.open(url())
    other.sendText(ofSize(64 * 1024))
    expect(await other.next()).toMatchObject({ type: 'ack', seq: 'size', accepted: 1 })
    other.sendText(ofSize(64 * 1024 + 1))
    expect((await other.closed).code).toBe(1009)
  })

  test('that is sent again after a lost connection is stored once', async () => {
    const events = Array.from({ length: 50 }, () => makeDraft({ type: 'resent', event_id: crypto.randomUUID() }))
    for (let round = 0; round < 3; round++) {
      const once = await StreamClient.open(url())
      once.send({ seq: round, events })
      expect(await once.next()).toMatchObject({ type: 'ack', seq: round, accepted: 50 })
      once.terminate()
    }
    await collector.flushed()
    expect(await collector.query(`SELECT count() FROM events WHERE type = 'resent'`)).toBe('50\n')
  })
})

test('a key that is revoked while its socket is open closes it with 1008', async () => {
  const { key, id } = await cli('keys', 'create', ...WORKSPACE, '--tier', 'unlimited')
  const client = await StreamClient.open(url(`?api_key=${key}`))
  client.send([makeDraft()])
  expect(await client.next()).toMatchObject({ type: 'ack' })
  await cli('keys', 'revoke', id)
  await waitUntil('the socket is closed', () => {
    if (client.isOpen) client.send([makeDraft()])
    return !client.isOpen
  })
  expect((await client.closed).code).toBe(1008)
})

test('a client that sends faster than its events become durable is slowed down, and every event is acknowledged', async () => {
  const client = await StreamClient.open(url())
  // Many small ones, made before they are sent: what one read of the socket brings is more than may wait.
  const messages = Array.from({ length: 20_000 }, (_, seq) => ({ seq, events: makeDrafts(2) }))
  for (const message of messages) client.send(message)
  const seen = new Set<unknown>()
  let slowedDown = 0
  while (seen.size < messages.length) {
    const answer = await client.next()
    if (answer.type === 'slow_down') slowedDown++
    else {
      expect(answer).toMatchObject({ type: 'ack', accepted: 2 })
      seen.add(answer.seq)
    }
  }
  expect(slowedDown).toBeGreaterThan(0)
  client.close()
})

test('the ws package on Node works unchanged, is slowed down, and all its events are stored', async () => {
  const client = join(import.meta.dir, '../support/ws-client.mjs')
  const child = Bun.spawn(['node', client, url(), '20000', '2'], { stderr: 'inherit' })
  const counts = JSON.parse(await new Response(child.stdout).text())
  expect(counts).toMatchObject({ acknowledged: 20_000, accepted: 40_000, others: 0 })
  expect(counts.slowDowns).toBeGreaterThan(0)
  await collector.flushed()
  expect(await collector.query(`SELECT count() FROM events WHERE type = 'streamed'`)).toBe('40000\n')
})

test('beyond STREAMS_MAX a handshake is 503, a signed one may come again as it is, and goes on when another socket closes', async () => {
  const small = await startCollector({ env: { STREAMS_MAX: '4' }, untilFlowing: false })
  const { key } = await runJson(small.home.env, 'keys', 'create', ...WORKSPACE, '--signing', 'required')
  const secret = JSON.parse(readFileSync(join(small.home.env.DATA_DIR ?? '', 'first-key.json'), 'utf8')).signing_secret
  const timestamp = String(Math.floor(Date.now() / 1000))
  const signature = createHmac('sha256', secret).update(`${timestamp}.`).digest('hex')
  const headers = { 'api-key': key, 'x-timestamp': timestamp, 'x-signature': signature }
  const address = `${small.url}/v1/stream`
  const tries = Array.from({ length: 8 }, () =>
    StreamClient.open(`${address.replace('http', 'ws')}?api_key=${small.key}`).catch(() => undefined),
  )
  const clients = (await Promise.all(tries)).filter((client) => client !== undefined)
  expect(clients).toHaveLength(2)
  for (let time = 0; time < 2; time++) {
    const refused = await fetch(address, { headers: { ...HANDSHAKE, ...headers } })
    expect([refused.status, Number(refused.headers.get('retry-after')) > 0]).toEqual([503, true])
    expect(await refused.json()).toMatchObject({
      error: { code: 'overloaded', message: expect.stringContaining('2 streams of this tenant') },
    })
  }
  clients[0]?.close()
  await waitUntil('there is room', async () => {
    const stats = (await (await fetch(`${small.url}/stats`)).json()) as { streams: { connections: number } }
    return stats.streams.connections === 1
  })
  const last = await StreamClient.open(address.replace('http', 'ws'), { headers })
  last.send([makeDraft()])
  expect(await last.next()).toMatchObject({ type: 'ack', accepted: 1 })
  for (const client of [last, ...clients]) client.close()
  await small.stop()
  small.home.remove()
})

test('a stop acknowledges what was taken, and closes the socket with 1001', async () => {
  const own = await startCollector()
  const client = await StreamClient.open(`ws://127.0.0.1:${own.port}/v1/stream?api_key=${own.key}`)
  for (let seq = 0; seq < 20; seq++) client.send({ seq, events: makeDrafts(10) })
  await client.next()
  expect(await own.stop()).toBe(0)
  expect((await client.closed).code).toBe(1001)
  own.home.remove()
})

const WORKSPACE = ['--tenant', 'default', '--workspace', 'default']

const HANDSHAKE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
}

const cli = (...args: string[]) => runJson(collector.home.env, ...args)
