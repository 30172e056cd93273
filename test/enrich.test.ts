import { expect, test } from 'bun:test'
import { enrich } from '../src/enrich.ts'
import type { Event } from '../src/event.ts'
import { makeEvent } from './support/events.ts'

const PHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1'

/** What is derived of an event. */
function derived(changes: Partial<Event>): Pick<Event, 'path' | 'referrerHost' | 'browser' | 'os' | 'device'> {
  const event = makeEvent(changes)
  enrich(event)
  const { path, referrerHost, browser, os, device } = event
  return { path, referrerHost, browser, os, device }
}

const NOTHING = { path: '', referrerHost: '', browser: '', os: '', device: '' }

test('path, host of the referrer, browser, system and device follow from address, referrer and agent', () => {
  const event = { url: 'https://shop.example/a?b', referrer: 'https://www.google.com/search', userAgent: PHONE }
  const expected = { path: '/a', referrerHost: 'google.com', browser: 'Safari', os: 'iOS', device: 'mobile' }
  expect(derived(event)).toEqual(expected)
  expect(derived({})).toEqual(NOTHING)
  expect(derived({ url: event.url })).toEqual({ ...NOTHING, path: '/a' })
  expect(derived(event)).toEqual(expected)
  expect(derived({ ...event, url: 'https://shop.example/c' })).toEqual({ ...expected, path: '/c' })
  expect(derived({ ...event, referrer: '' })).toEqual({ ...expected, referrerHost: '' })
})

test('what is known already stays', () => {
  const known = { path: '/app', referrerHost: 'partner', browser: 'App', os: 'iPadOS', device: 'tablet' }
  expect(
    derived({ ...known, url: 'https://shop.example/a', referrer: 'https://x.example/', userAgent: PHONE }),
  ).toEqual(known)
  expect(derived({ userAgent: PHONE, os: 'iPadOS' })).toEqual({
    ...NOTHING,
    browser: 'Safari',
    os: 'iPadOS',
    device: 'mobile',
  })
})
