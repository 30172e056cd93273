/** Canonical events for tests. */
import { NO_ADDRESS } from '../../src/address.ts'
import { type Batch, EventBatch } from '../../src/batch.ts'
import type { Event } from '../../src/event.ts'
import { inspectJson } from '../../src/native/json-shape.ts'

/** An event with every field set, and what a test changes in it. */
export function makeEvent(changes: Partial<Event> = {}): Event {
  return {
    tenantId: 'tenant',
    workspaceId: 'workspace',
    eventId: undefined,
    messageId: '',
    type: 'pageview',
    protocol: 'v1/events',
    occurredAt: 1_790_000_000_000,
    receivedAt: 1_790_000_000_123,
    sessionId: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b',
    userId: '',
    anonymousId: '',
    url: '',
    path: '',
    referrer: '',
    referrerHost: '',
    title: '',
    locale: '',
    userAgent: '',
    browser: '',
    os: '',
    device: '',
    ip: NO_ADDRESS,
    schemaVersion: '1',
    properties: {},
    context: {},
    ...changes,
  }
}

/** Events on their way to the log. */
export function batchOf(...events: readonly Event[]): EventBatch {
  let jsonBytesMax = 0
  for (const { properties, context } of events)
    jsonBytesMax += inspectJson(properties, '').bytesMax + inspectJson(context, '').bytesMax
  return new EventBatch(events, jsonBytesMax)
}

/** The events of such a batch. */
export function eventsIn(batch: Batch): readonly Event[] {
  if (batch instanceof EventBatch) return batch.events
  throw new Error('a batch of another form')
}
