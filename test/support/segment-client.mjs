/**
 * A program that uses a library of Segment's or RudderStack's as it is: `node segment-client.mjs <library> <url> <key> <what>`.
 *
 * - `calls`: one call of each type, flushed.
 * - `stream`: a track call every few milliseconds, told apart by `properties.n`, until standard input ends; then everything is flushed.
 *
 * Prints `{"sent", "delivered", "failed"}` at the end: calls made, those that the library called delivered, and its reasons for others.
 */
import RudderStack from '@rudderstack/rudder-sdk-node'
import { Analytics as Segment } from '@segment/analytics-node'

const [library, url, key, what] = process.argv.slice(2)

const PAUSE_MS = 5

const outcome = { sent: 0, delivered: 0, failed: [] }

function settle(error) {
  if (error) outcome.failed.push(String(error.reason ?? error))
  else outcome.delivered++
}

function openSegment() {
  const analytics = new Segment({ writeKey: key, host: url, flushInterval: 100 })
  analytics.on('error', (error) => settle(error))
  return {
    call: (type, message) => analytics[type](message, (error) => error || settle()),
    flush: () => analytics.closeAndFlush(),
  }
}

function openRudderStack() {
  const analytics = new RudderStack(key, {
    dataPlaneUrl: url,
    flushInterval: 100,
    retryCount: 20,
    errorHandler: () => undefined,
    logLevel: 'none',
  })
  return {
    call: (type, message) => analytics[type](message, (error) => settle(error)),
    // One flush takes no more than a batch, and tells of it a little later.
    async flush() {
      while (outcome.delivered + outcome.failed.length < outcome.sent) {
        await analytics.flush()
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
      }
    },
  }
}

const client = library === 'segment' ? openSegment() : openRudderStack()

function call(type, message) {
  outcome.sent++
  client.call(type, message)
}

const USER = { userId: 'user-17', anonymousId: 'anonymous-5' }

function everyType() {
  const context = {
    ip: '203.0.113.9',
    locale: 'de-AT',
    userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0',
    page: { url: 'https://shop.test/cart?x=1', title: 'Cart', referrer: 'https://search.test/' },
    campaign: { name: 'spring' },
  }
  const timestamp = new Date('2026-01-02T03:04:05.678Z')
  call('track', { ...USER, event: 'Order Completed', properties: { revenue: 49.9, ok: true }, context })
  call('track', { ...USER, event: 'Imported', timestamp, integrations: { All: false } })
  call('identify', { ...USER, traits: { email: 'ada@shop.test', age: 36 } })
  call('page', { ...USER, name: 'Cart', category: 'Shop', properties: { url: 'https://shop.test/own' } })
  call('screen', { ...USER, name: 'Cart', properties: { n: 1 } })
  call('group', { ...USER, groupId: 'company-3', traits: { name: 'Initech' } })
  call('alias', { ...USER, previousId: 'anonymous-5' })
}

async function stream() {
  let isOver = false
  process.stdin.on('end', () => {
    isOver = true
  })
  process.stdin.resume()
  for (let n = 0; !isOver; n++) {
    call('track', { ...USER, event: 'Streamed', properties: { n, text: 'x'.repeat(200) } })
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
}

if (what === 'calls') everyType()
else await stream()
await client.flush()
console.log(JSON.stringify(outcome))
process.exit(0)
