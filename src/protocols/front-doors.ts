/** Every front door and where it is: the list that the HTTP server and the documentation are made of. */
import type { Door } from '../http/edge.ts'
import { SERVICE_ROUTES } from '../http/service-routes.ts'
import type { Route } from '../openapi/document.ts'
import { EVENTS_DOOR, EVENTS_OPERATION } from './events.ts'
import { STREAM_OPERATION, STREAM_PATH } from './stream-handshake.ts'
import { EVENTS_API_DOOR, EVENTS_API_OPERATION } from './events-api.ts'
import { JOURNEY_DOOR, JOURNEY_OPERATION } from './journey.ts'
import { SEGMENT_DOORS } from './segment.ts'
import { TRACK_DOOR } from './track.ts'
import { TRACK_OPERATION } from './track-schema.ts'

/** Where a front door is, what the documentation says of it, and what is behind it. */
export interface FrontDoor extends Route {
  readonly door: Door
}

export const FRONT_DOORS: readonly FrontDoor[] = [
  { method: 'POST', path: '/v1/events', door: EVENTS_DOOR, operation: EVENTS_OPERATION },
  { method: 'POST', path: '/events', door: EVENTS_API_DOOR, operation: EVENTS_API_OPERATION },
  { method: 'POST', path: '/api/track', door: TRACK_DOOR, operation: TRACK_OPERATION },
  { method: 'GET', path: '/users/:userId/journey', door: JOURNEY_DOOR, operation: JOURNEY_OPERATION },
  ...SEGMENT_DOORS.map((door) => ({ method: 'POST' as const, ...door })),
]

/** What the documentation is made of: the front doors, the stream and what the service says of itself. */
export const DOCUMENTED_ROUTES: readonly Route[] = [
  ...FRONT_DOORS,
  { method: 'GET', path: STREAM_PATH, operation: STREAM_OPERATION },
  ...SERVICE_ROUTES,
]
