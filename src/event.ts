/** The canonical event: what every protocol's events become before they are encoded, one field a column of table `events`. */
import type { JsonObject } from './native/json-column.ts'

export interface Event {
  tenantId: string
  workspaceId: string
  /** The client's id as a UUID; undefined when it gave none, a UUIDv7 is made when the event is encoded. */
  eventId: string | undefined
  /** The client's id when it was not a UUID, else empty. */
  messageId: string
  type: string
  protocol: string
  /** Milliseconds since the epoch, by the client's clock. */
  occurredAt: number
  /** Milliseconds since the epoch, by our clock. */
  receivedAt: number
  sessionId: string
  userId: string
  anonymousId: string
  url: string
  path: string
  referrer: string
  referrerHost: string
  title: string
  locale: string
  userAgent: string
  browser: string
  os: string
  device: string
  /** The client's address: 16 bytes in network order, an IPv4 address mapped into IPv6. */
  ip: Uint8Array
  schemaVersion: string
  properties: JsonObject
  context: JsonObject
}
