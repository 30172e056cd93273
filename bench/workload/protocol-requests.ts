/** Request files for the other front doors: the same shop's events, as their clients send them. */
import { gzipSync } from 'node:zlib'
import { type BenchEvent, EventSource } from './events.ts'
import { Random } from './random.ts'
import { PASS_NUMBER, type RequestFile, writeRequests } from './requests.ts'

interface ProtocolRequests {
  readonly directory: string
  readonly host: string
  readonly key: string
  readonly requests: number
}

/** `POST /v1/batch` as Segment's library for Node sends it: gzip, Basic authentication, an id in every call. The same in every pass. */
export function writeSegmentRequests(options: ProtocolRequests & { readonly eventsPerRequest: number }): RequestFile {
  const source = new EventSource({ seed: 1 })
  const random = new Random(2)
  return writeRequests({
    ...options,
    name: 'segment',
    make: () => {
      const batch = Array.from({ length: options.eventsPerRequest }, () => segmentCall(source.event(), random.uuid()))
      return {
        target: '/v1/batch',
        headers: {
          Authorization: `Basic ${btoa(`${options.key}:`)}`,
          'Content-Type': 'application/json',
          'Content-Encoding': 'gzip',
          'User-Agent': 'analytics-node-next/3.1.0',
        },
        body: gzipSync(JSON.stringify({ batch, sentAt: new Date().toISOString() })),
      }
    },
  })
}

function segmentCall(event: BenchEvent, uuid: string): object {
  const { ip, user_agent, locale, page_url, referrer, screen } = event.context
  return {
    type: 'track',
    event: event.type,
    ...(event.user_id === undefined ? {} : { userId: event.user_id }),
    ...(event.anonymous_id === undefined ? {} : { anonymousId: event.anonymous_id }),
    properties: event.properties,
    context: {
      library: { name: '@segment/analytics-node', version: '3.1.0' },
      ip,
      userAgent: user_agent,
      locale,
      page: { url: page_url, ...(referrer === undefined ? {} : { referrer }) },
      screen,
      sessionId: event.session_id,
    },
    timestamp: event.timestamp,
    messageId: `node-next-${Date.parse(event.timestamp)}-${uuid}`,
    integrations: {},
    _metadata: { nodeVersion: '24.11.1', jsRuntime: 'node' },
  }
}

/** `POST /api/track` as browsers send it, one event each, without an id; a property is new in every pass, and so the event is. */
export function writeTrackRequests(options: ProtocolRequests): RequestFile {
  const source = new EventSource({ seed: 1 })
  const random = new Random(2)
  return writeRequests({
    ...options,
    name: 'track',
    eventsPerRequest: 1,
    isNumbered: true,
    make: () => {
      const event = source.event()
      const { context, session_id } = event
      const view = PASS_NUMBER + random.uuid().slice(PASS_NUMBER.length)
      return {
        target: '/api/track',
        headers: {
          'Content-Type': 'text/plain;charset=UTF-8',
          Origin: 'https://shop.example.com',
          Referer: 'https://shop.example.com/',
          'User-Agent': context.user_agent,
          'Accept-Language': context.locale,
        },
        body: JSON.stringify({ siteId: options.key, sessionId: session_id, event: trackEvent(event, view) }),
      }
    },
  })
}

function trackEvent({ type, timestamp, properties, context }: BenchEvent, view: string): object {
  const { page_url: url, referrer = null, locale, screen } = context
  const page = { url, referrer, title: 'Shop – everything for everybody', view, locale, screen, ...properties }
  const kept = type === 'pageview' || type === 'click'
  return {
    type: kept ? type : 'scroll',
    timestamp: Date.parse(timestamp),
    data: kept ? page : { ...page, scrollDepth: 75, timeAtDepth: 1200 },
  }
}
