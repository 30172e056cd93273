/** Every front door and where it is: the list that the HTTP server and the documentation are made of. */
import type { Door } from '../http/edge.ts'
import { EVENTS_DOOR } from './events.ts'

export interface FrontDoor {
  readonly method: 'GET' | 'POST'
  /** As Elysia writes paths: `/users/:userId/journey`. */
  readonly path: string
  readonly door: Door
}

export const FRONT_DOORS: readonly FrontDoor[] = [{ method: 'POST', path: '/v1/events', door: EVENTS_DOOR }]
