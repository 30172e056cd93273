/** Who may send: keys as they are presented, and as the command line changes them beside the running collector. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { runJson } from '../cli/run-cli.ts'
import { type Collector, startCollector, waitUntil } from '../support/collector.ts'
import { makeDraft } from '../support/event-drafts.ts'

let collector: Collector

beforeAll(async () => {
  collector = await startCollector({ env: { KEY_CACHE_LIFETIME_MS: '100' } })
})

afterAll(async () => {
  await collector.stop()
  collector.home.remove()
})

const BODY = JSON.stringify({ events: [makeDraft()] })

/** The command line, on the running collector's data. */
const cli = (...args: string[]) => runJson(collector.home.env, ...args)

/** Sends an event with these headers alone; gives status and error code. */
async function send(headers: Record<string, string>): Promise<[number, string?]> {
  const response = await fetch(`${collector.url}/v1/events`, { method: 'POST', headers, body: BODY })
  const answer = (await response.json()) as { error?: { code: string } }
  return answer.error === undefined ? [response.status] : [response.status, answer.error.code]
}

const basic = (text: string) => ({ authorization: `Basic ${btoa(text)}` })

test('a key is taken in every header that the contract names', async () => {
  const { key } = collector
  for (const headers of [
    { 'api-key': key },
    { 'x-api-key': key },
    { authorization: `Bearer ${key}` },
    { authorization: `bearer  ${key}` },
    basic(`${key}:`),
    basic(key),
    basic(`${key}:password`),
  ])
    expect(await send(headers)).toEqual([201])
})

test('without a key, or with one that is not known, the answer is 401 and nothing is stored', async () => {
  const { accepted } = (await collector.stats()).events
  for (const headers of [
    {},
    { 'api-key': '' },
    { 'api-key': 'nonsense' },
    { 'api-key': `sk_${'A'.repeat(43)}` },
    { 'api-key': `${collector.key}x` },
    { 'api-key': collector.key.toLowerCase() },
    { 'api-key': 'x'.repeat(10_000) },
    { authorization: collector.key },
    { authorization: 'Bearer' },
    { authorization: `Digest ${collector.key}` },
    { authorization: 'Basic ???' },
    basic(`:${collector.key}`),
    // The first header that is there decides.
    { 'api-key': 'nonsense', 'x-api-key': collector.key },
  ])
    expect(await send(headers as Record<string, string>)).toEqual([401, 'unauthorized'])
  expect((await collector.stats()).events.accepted).toBe(accepted)
})

test('a refused request is told before its body is looked at', async () => {
  const response = await fetch(`${collector.url}/v1/events`, { method: 'POST', body: '{' })
  expect(response.status).toBe(401)
})

test('keys made, rotated and revoked by the command line are followed by the running collector', async () => {
  const workspace = ['--tenant', 'acme', '--workspace', 'web']
  const made = await cli('provision', ...workspace)
  expect(await send({ 'api-key': made.public_key })).toEqual([201])
  expect(await send({ 'api-key': made.secret_key })).toEqual([201])
  await collector.flushed()
  const where = "tenant_id = 'acme' AND workspace_id = 'web'"
  expect(await collector.query(`SELECT count() FROM events WHERE ${where}`)).toBe('2\n')

  const reader = await cli('keys', 'create', ...workspace, '--scopes', 'read')
  expect(await send({ 'api-key': reader.key })).toEqual([403, 'forbidden'])

  const writer = await cli('keys', 'create', ...workspace)
  expect(await send({ 'api-key': writer.key })).toEqual([201])
  const rotated = await cli('keys', 'rotate', writer.id, '--grace', '1h')
  expect(await send({ 'api-key': rotated.key })).toEqual([201])
  expect(await send({ 'api-key': writer.key })).toEqual([201])
  await cli('keys', 'revoke', rotated.id)
  await waitUntil('the revoked key is refused', async () => (await send({ 'api-key': rotated.key }))[0] === 401)
  expect(await send({ 'api-key': rotated.key })).toEqual([401, 'unauthorized'])
  expect(await send({ 'api-key': writer.key })).toEqual([201])
})
