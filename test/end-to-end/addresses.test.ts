/** Which address of a client is stored: the connection's, a proxy's word for it, the event's own; whole or cut. */
import { afterEach, expect, test } from 'bun:test'
import { type Collector, startCollector } from '../support/collector.ts'
import { makeDraft } from '../support/event-drafts.ts'

let collector: Collector

afterEach(async () => {
  await collector.stop()
  collector.home.remove()
})

/** Sends an event of the connection, one through a proxy, and two with addresses of their own; gives what is stored. */
async function storedAddresses(env: Record<string, string>): Promise<Record<string, string>> {
  collector = await startCollector({ env })
  const forwarded = { 'x-forwarded-for': '192.0.2.1, 198.51.100.7' }
  await collector.postEvents([makeDraft({ type: 'direct' })])
  await collector.postEvents([makeDraft({ type: 'forwarded' })], forwarded)
  await collector.postEvents([makeDraft({ type: 'own', context: { ip: '203.0.113.9' } })], forwarded)
  await collector.postEvents([makeDraft({ type: 'own v6', context: { ip: '2001:db8:1:2:3::4' } })])
  await collector.flushed()
  const rows = await collector.rows<{ type: string; ip: string }>('SELECT type, ip FROM events')
  return Object.fromEntries(rows.map(({ type, ip }) => [type, ip]))
}

test('X-Forwarded-For is not believed unless it is said so; an event’s own address is kept', async () => {
  expect(await storedAddresses({})).toEqual({
    direct: '::ffff:127.0.0.1',
    forwarded: '::ffff:127.0.0.1',
    own: '::ffff:203.0.113.9',
    'own v6': '2001:db8:1:2:3::4',
  })
})

test('with TRUST_PROXY the last entry counts, and ANONYMIZE_IP cuts every address, also an event’s own', async () => {
  expect(await storedAddresses({ TRUST_PROXY: 'true', ANONYMIZE_IP: 'true' })).toEqual({
    direct: '::ffff:127.0.0.0',
    forwarded: '::ffff:198.51.100.0',
    own: '::ffff:203.0.113.0',
    'own v6': '2001:db8:1::',
  })
})

test('with a list of proxies the last entry that is none of them counts', async () => {
  const stored = await storedAddresses({ TRUST_PROXY: 'loopback, 198.51.100.0/24' })
  expect(stored).toMatchObject({ direct: '::ffff:127.0.0.1', forwarded: '::ffff:192.0.2.1' })
})
