/** What is derived of events on their way: columns of an event, and the users behind `identify`. */
import { afterEach, expect, test } from 'bun:test'
import { type Collector, startCollector } from '../support/collector.ts'
import { makeDraft } from '../support/event-drafts.ts'

let collector: Collector

afterEach(async () => {
  await collector.stop()
  collector.home.remove()
})

const PHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1'

test('events get path, host of the referrer, browser, system and device; identifies of any door make users', async () => {
  collector = await startCollector()
  const page = { page_url: 'https://shop.example/shoes?size=42', referrer: 'https://www.google.com/search?q=shoes' }
  await collector.postEvents([makeDraft({ type: 'by agent', context: page })], { 'user-agent': PHONE })
  await collector.postEvents([makeDraft({ type: 'own agent', context: { user_agent: PHONE } })])
  await collector.postEvents([makeDraft({ type: 'library' })], { 'user-agent': 'analytics-node/3.1.0' })
  const traits = { email: 'ada@example.com', address: { city: 'Graz' } }
  await collector.postEvents([makeDraft({ type: 'identify', user_id: 'ada', properties: traits })])
  const timestamp = new Date(Date.now() + 100).toISOString()
  const identify = { type: 'identify', userId: 'ada', traits: { plan: 'pro' }, timestamp }
  const answer = await collector.post(JSON.stringify({ batch: [identify] }), {}, '/v1/batch')
  expect(answer.status).toBe(200)
  await collector.flushed()

  const columns = 'type, path, referrer_host, browser, os, device'
  expect(await collector.rows(`SELECT ${columns} FROM events WHERE type != 'identify' ORDER BY type`)).toEqual([
    { type: 'by agent', path: '/shoes', referrer_host: 'google.com', browser: 'Safari', os: 'iOS', device: 'mobile' },
    { type: 'library', path: '', referrer_host: '', browser: '', os: '', device: 'library' },
    { type: 'own agent', path: '', referrer_host: '', browser: 'Safari', os: 'iOS', device: 'mobile' },
  ])
  expect(await collector.rows('SELECT user_id, traits FROM users')).toEqual([
    { user_id: 'ada', traits: { ...traits, plan: 'pro' } },
  ])
})
