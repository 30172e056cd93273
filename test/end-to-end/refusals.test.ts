/** What all protocols promise alike: keys, limits and their edges, in each one's own words. A protocol is a row in `protocols.ts`. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHmac } from 'node:crypto'
import zlib from 'node:zlib'
import { freePort } from '../../src/sink/engine-setup.ts'
import { runJson } from '../cli/run-cli.ts'
import { type Collector, newHome, startCollector, waitUntil } from '../support/collector.ts'
import { makeDraft } from '../support/event-drafts.ts'
import { LIMITS, PROTOCOLS, type Protocol } from '../support/protocols.ts'

const WORKSPACE = ['--tenant', 'acme', '--workspace', 'web']
const UNKNOWN = `pk_${'A'.repeat(43)}`

let collector: Collector
let key: string
let signingSecret: string

beforeAll(async () => {
  collector = await startCollector({ env: { ...LIMITS, KEY_CACHE_LIFETIME_MS: '0' } })
  signingSecret = (await cli('provision', ...WORKSPACE)).signing_secret
  key = (await makeKey()).key
})

afterAll(async () => {
  expect(collector.lines.filter(({ level }) => /error|fatal/.test(level))).toEqual([])
  expect((await collector.stats()).bodies_in_flight_bytes).toBe(0)
  await collector.stop()
  collector.home.remove()
})

/** The command line, on the running collector's data. */
const cli = (...args: string[]) => runJson(collector.home.env, ...args)

/** A key for web pages, without a rate limit, and what a test changes in it. */
function makeKey(...more: string[]): Promise<{ key: string; id: string }> {
  return cli('keys', 'create', ...WORKSPACE, '--kind', 'public', '--tier', 'unlimited', ...more)
}

type Body = string | Uint8Array<ArrayBuffer>

function post(protocol: Protocol, body: Body, headers: Record<string, string>, url = collector.url): Promise<Response> {
  return fetch(`${url}${protocol.path}`, { method: 'POST', body, headers })
}

/** Sends events with a key. */
function send(
  protocol: Protocol,
  presented: string | undefined,
  events: readonly object[] = [protocol.event(crypto.randomUUID())],
  more: Record<string, string> = {},
): Promise<Response> {
  const { body, headers } = protocol.request(presented, events)
  return post(protocol, JSON.stringify(body), { ...headers, ...more })
}

async function expectTaken(protocol: Protocol, response: Response): Promise<void> {
  expect([response.status, await response.text()]).toEqual([protocol.status, expect.any(String)])
}

/** The refusal in the protocol's words. */
async function expectRefused(
  protocol: Protocol,
  response: Response,
  status: number,
  code: string,
  words: string | RegExp = '',
): Promise<void> {
  const body = await response.json()
  expect([response.status, body]).toMatchObject([status, {}])
  expect(response.headers.get('content-type')).toStartWith('application/json')
  expect(response.headers.get('x-request-id')).not.toBeNull()
  const refusal = protocol.readRefusal(body)
  expect([code, undefined]).toContain(refusal.code)
  expect(refusal.message).toMatch(words)
}

async function rowsOf(protocol: Protocol, marker: string): Promise<Record<string, unknown>[]> {
  await collector.flushed()
  return collector.rows(`SELECT * FROM events WHERE ${protocol.markerColumn} = '${marker}'`)
}

const many = (protocol: Protocol, count: number, marker = crypto.randomUUID()) =>
  Array.from({ length: count }, (_, n) => protocol.event(marker, { n }))

/** A body of exactly so many bytes. */
function bodyOf(
  protocol: Protocol,
  presented: string,
  bytes: number,
): { text: string; headers: Record<string, string> } {
  const { body, headers } = protocol.request(presented, [protocol.event(crypto.randomUUID(), { text: 'ä' })])
  const text = JSON.stringify(body)
  return { text: text + ' '.repeat(bytes - Buffer.byteLength(text)), headers: { ...headers } }
}

describe.each(PROTOCOLS.map((protocol) => [protocol.name, protocol] as const))('%s', (_name, protocol) => {
  test('takes a good event, and says in its columns whose it is and by which way it came', async () => {
    const marker = crypto.randomUUID()
    await expectTaken(protocol, await send(protocol, key, [protocol.event(marker, { n: 1 })]))
    const [row, ...others] = await rowsOf(protocol, marker)
    expect(others).toEqual([])
    expect(row).toMatchObject({
      tenant_id: 'acme',
      workspace_id: 'web',
      protocol: protocol.column,
      schema_version: '1',
    })
    expect(row).toMatchObject({ properties: { n: '1' } })
  })

  test('keeps the version of the events’ schema, of up to 64 characters', async () => {
    const marker = crypto.randomUUID()
    const version = 'x'.repeat(64)
    const events = [protocol.event(marker)]
    await expectTaken(protocol, await send(protocol, key, events, { 'x-event-schema-version': version }))
    expect(await rowsOf(protocol, marker)).toMatchObject([{ schema_version: version }])
    const unnamed = crypto.randomUUID()
    await expectTaken(protocol, await send(protocol, key, [protocol.event(unnamed)], { 'x-event-schema-version': '' }))
    expect(await rowsOf(protocol, unnamed)).toMatchObject([{ schema_version: '1' }])
    const refused = await send(protocol, key, events, { 'x-event-schema-version': `${version}x` })
    await expectRefused(protocol, refused, 400, 'invalid_event', /64 characters/)
  })

  test('refuses a request without a key, and keys that are not known', async () => {
    for (const presented of [undefined, 'nonsense', UNKNOWN, `${key}x`, key.toLowerCase(), 'x'.repeat(5_000)])
      await expectRefused(protocol, await send(protocol, presented), 401, 'unauthorized')
  })

  test('refuses keys that have expired, were revoked, or whose time after a rotation is over', async () => {
    const [expiring, revoked, rotated, graced] = await Promise.all([
      makeKey('--expires-in', '2s'),
      makeKey(),
      makeKey(),
      makeKey(),
    ])
    for (const made of [expiring, revoked, rotated, graced]) await expectTaken(protocol, await send(protocol, made.key))
    const [, after, fresh] = await Promise.all([
      cli('keys', 'revoke', revoked.id),
      cli('keys', 'rotate', rotated.id, '--grace', '0s'),
      cli('keys', 'rotate', graced.id, '--grace', '1h'),
    ])
    await expectRefused(protocol, await send(protocol, revoked.key), 401, 'unauthorized', /revoked/)
    await expectRefused(protocol, await send(protocol, rotated.key), 401, 'unauthorized', /expired/)
    for (const good of [after.key, fresh.key, graced.key]) await expectTaken(protocol, await send(protocol, good))
    await waitUntil('the key expires', async () => (await send(protocol, expiring.key)).status === 401)
    await expectRefused(protocol, await send(protocol, expiring.key), 401, 'unauthorized', /expired/)
  })

  test('refuses a key without the scope', async () => {
    const { key: reader } = await cli('keys', 'create', ...WORKSPACE, '--scopes', 'read')
    await expectRefused(protocol, await send(protocol, reader), 403, 'forbidden', /scope ingest/)
  })

  test('refuses pages that the key is not for, so that they can read it', async () => {
    const { key: ours } = await makeKey('--origins', 'https://shop.example')
    for (const origin of ['https://evil.example', 'null']) {
      const refused = await send(protocol, ours, undefined, { origin })
      expect(refused.headers.get('access-control-allow-origin')).toBe(origin)
      await expectRefused(protocol, refused, 403, 'forbidden', /not for pages/)
    }
    const taken = await send(protocol, ours, undefined, { origin: 'https://shop.example' })
    expect(taken.headers.get('access-control-allow-origin')).toBe('https://shop.example')
    await expectTaken(protocol, taken)
    await expectTaken(protocol, await send(protocol, ours))
  })

  test('refuses what is not signed when the key wants it, is signed for another body, or comes again', async () => {
    const { key: signing } = await makeKey('--signing', 'required')
    const { body, headers } = protocol.request(signing, [protocol.event(crypto.randomUUID())])
    const text = JSON.stringify(body)
    await expectRefused(protocol, await post(protocol, text, { ...headers }), 401, 'unauthorized', /signed/)
    const timestamp = String(Math.floor(Date.now() / 1000))
    const signature = createHmac('sha256', signingSecret).update(`${timestamp}.${text}`).digest('hex')
    const signed = { ...headers, 'x-timestamp': timestamp, 'x-signature': signature }
    await expectRefused(protocol, await post(protocol, `${text} `, signed), 401, 'unauthorized', /does not fit/)
    await expectTaken(protocol, await post(protocol, text, signed))
    await expectRefused(protocol, await post(protocol, text, signed), 401, 'unauthorized', /used before/)
  })

  test('answers a preflight, and other methods with 405', async () => {
    const url = `${collector.url}${protocol.path}`
    const headers = { origin: 'https://shop.example', 'access-control-request-method': 'POST' }
    expect((await fetch(url, { method: 'OPTIONS', headers })).status).toBe(204)
    for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
      const response = await fetch(url, { method })
      expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST, OPTIONS'])
    }
  })

  const { batchEventsMax, bodyBytesMax } = protocol
  for (const eventsMax of batchEventsMax === undefined ? [] : [batchEventsMax]) {
    test('takes a batch of the limit, and not one event more', async () => {
      const marker = crypto.randomUUID()
      await expectTaken(protocol, await send(protocol, key, many(protocol, eventsMax, marker)))
      const refused = await send(protocol, key, many(protocol, eventsMax + 1, marker))
      const words = `a batch may have ${eventsMax} events, this one has ${eventsMax + 1}`
      await expectRefused(protocol, refused, 413, 'batch_too_large', words)
      expect(await rowsOf(protocol, marker)).toHaveLength(eventsMax)
    })

    test('takes batches of the key’s own limit before that', async () => {
      for (const ownMax of [2, 2 * eventsMax]) {
        const { key: own } = await makeKey('--batch-events-max', String(ownMax))
        await expectTaken(protocol, await send(protocol, own, many(protocol, ownMax)))
        const refused = await send(protocol, own, many(protocol, ownMax + 1))
        await expectRefused(protocol, refused, 413, 'batch_too_large', `may have ${ownMax} events`)
      }
    })
  }

  test('takes a body of the limit, and not one byte more, however it is encoded', async () => {
    for (const [encoding, encode] of [
      [undefined, (text: string) => text],
      ['gzip', zlib.gzipSync],
    ] as const) {
      const encoded: Record<string, string> = encoding === undefined ? {} : { 'content-encoding': encoding }
      const fits = bodyOf(protocol, key, bodyBytesMax)
      await expectTaken(protocol, await post(protocol, encode(fits.text), { ...fits.headers, ...encoded }))
      const over = bodyOf(protocol, key, bodyBytesMax + 1)
      const refused = await post(protocol, encode(over.text), { ...over.headers, ...encoded })
      await expectRefused(protocol, refused, 413, 'payload_too_large', `${bodyBytesMax} bytes`)
    }
  })

  test('takes bodies of the key’s own limit before that', async () => {
    const { key: own } = await makeKey('--body-bytes-max', '2KiB')
    const fits = bodyOf(protocol, own, 2048)
    await expectTaken(protocol, await post(protocol, fits.text, fits.headers))
    const over = bodyOf(protocol, own, 2049)
    const refused = await post(protocol, over.text, over.headers)
    await expectRefused(protocol, refused, 413, 'payload_too_large', '2048 bytes')
  })

  test('takes values up to the limits on depth, number and keys, and cuts long strings', async () => {
    const deep = (levels: number): object => (levels === 1 ? {} : { a: deep(levels - 1) })
    const wide = (values: number) => Object.fromEntries(Array.from({ length: values }, (_, n) => [`k${n}`, 0]))
    const marker = crypto.randomUUID()
    for (const good of [deep(32), wide(2000), { ['k'.repeat(256)]: 1 }])
      await expectTaken(protocol, await send(protocol, key, [protocol.event(marker, good)]))
    for (const [bad, words] of [
      [deep(33), 'more than 32 levels'],
      [wide(2001), 'more than 2000 values'],
      [{ ['k'.repeat(257)]: 1 }, 'a key of 257 characters'],
    ] as const)
      await expectRefused(
        protocol,
        await send(protocol, key, [protocol.event(marker, bad)]),
        400,
        'invalid_event',
        words,
      )
    expect(await rowsOf(protocol, marker)).toHaveLength(3)
    const texts = { exact: 'x'.repeat(10_240), long: 'x'.repeat(10_241) }
    const cut = crypto.randomUUID()
    await expectTaken(protocol, await send(protocol, key, [protocol.event(cut, texts)]))
    expect(await rowsOf(protocol, cut)).toMatchObject([{ properties: { exact: texts.exact, long: texts.exact } }])
  })

  test('refuses what is not JSON, and an encoding that it does not know', async () => {
    const { headers } = protocol.request(key, [])
    for (const body of ['', '{"', '[1,]', new Uint8Array([0x22, 0xff, 0x22])])
      await expectRefused(protocol, await post(protocol, body, headers), 400, 'malformed_json')
    const unknown = await send(protocol, key, undefined, { 'content-encoding': 'snappy' })
    await expectRefused(protocol, unknown, 415, 'unsupported_encoding')
    const broken = await send(protocol, key, undefined, { 'content-encoding': 'gzip' })
    await expectRefused(protocol, broken, 400, 'malformed_json')
  })

  test('refuses what is JSON, but none of the protocol', async () => {
    for (const wrong of [{ n: 1 }, 7, null, 'text', []]) {
      const { body, headers } = protocol.request(key, [wrong as object])
      await expectRefused(protocol, await post(protocol, JSON.stringify(body), headers), 400, 'invalid_event')
    }
  })

  test('tells where the key stands in its rate limit, and when to come again', async () => {
    const { key: limited } = await makeKey('--tier', '3')
    const taken = await send(protocol, limited)
    const headersOf = ({ headers }: Response) =>
      ['limit', 'remaining', 'reset'].map((name) => Number(headers.get(`x-ratelimit-${name}`) ?? Number.NaN))
    expect(headersOf(taken)).toEqual([3, 5, 20])
    await expectTaken(protocol, taken)
    const bad = protocol.request(limited, [{}])
    expect(headersOf(await post(protocol, JSON.stringify(bad.body), bad.headers))).toEqual([3, 4, 40])
    for (let n = 0; n < 4; n++) await expectTaken(protocol, await send(protocol, limited))
    const refused = await send(protocol, limited)
    expect(headersOf(refused)).toEqual([3, 0, 120])
    expect(Number(refused.headers.get('retry-after'))).toBeWithin(1, 21)
    await expectRefused(protocol, refused, 429, 'rate_limited', '3 events a minute')
    expect(headersOf(await send(protocol, key))).toEqual([Number.NaN, Number.NaN, Number.NaN])
  })
})

test('while the log is full every protocol is 503 in its own words, and so is the script’s health', async () => {
  const env = { SEGMENT_BYTES: '64KiB', RING_BYTES: '128KiB', WAL_MAX_BYTES: '128KiB' }
  const home = newHome({ CLICKHOUSE_URL: `http://127.0.0.1:${freePort()}`, ...env })
  const full = await startCollector({ home, untilFlowing: false })
  const workspace = ['--tenant', 'default', '--workspace', 'default', '--kind', 'public']
  const { key: ours } = await runJson(home.env, 'keys', 'create', ...workspace)
  await waitUntil('the log is full', async () => {
    const properties = { text: crypto.getRandomValues(Buffer.alloc(5_000)).toString('hex') }
    return (await full.postEvents([1, 2, 3, 4, 5].map(() => makeDraft({ properties })))).status === 503
  })
  for (const protocol of PROTOCOLS) {
    const { body, headers } = protocol.request(ours, [protocol.event(crypto.randomUUID())])
    // A small event may still find room.
    await waitUntil('small events are refused too', async () => {
      const response = await post(protocol, JSON.stringify(body), { ...headers }, full.url)
      return response.status === 503
    })
    const refused = await post(protocol, JSON.stringify(body), { ...headers }, full.url)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    await expectRefused(protocol, refused, 503, 'overloaded', /log is full/)
  }
  const health = await fetch(`${full.url}/api/track/health`)
  expect([health.status, await health.json()]).toMatchObject([503, { status: 'down', database: { status: 'down' } }])
  await full.stop()
  home.remove()
})
