/** Request files for `POST /v1/events`. */
import { EventSource, eventJson, type FlatKeys } from './events.ts'
import { type RequestFile, writeRequests } from './requests.ts'

/** The front door that the bench uses. */
export const EVENTS_PATH = '/v1/events'

/** Different bodies of 100 events: 23 MB, far more than the caches of a processor hold. */
export const BATCHES = 512
/** Different requests of one event. */
export const SINGLES = 20_000

export interface EventRequests {
  readonly directory: string
  readonly host: string
  /** One key, or several that take turns. */
  readonly keys: readonly string[]
  readonly eventsPerRequest: number
  readonly requests: number
  readonly flatKeys?: FlatKeys
  /** An id for every event, a new one in every pass; false: none, but at the same cost for the generator. Left out: none. */
  readonly hasIds?: boolean
}

export function writeEventRequests(options: EventRequests): RequestFile {
  const { eventsPerRequest, keys, flatKeys, hasIds } = options
  const source = new EventSource({
    seed: 1,
    ...(flatKeys === undefined ? {} : { flatKeys }),
    ...(hasIds === undefined ? {} : { hasIds }),
  })
  return writeRequests({
    ...options,
    name: `events-${eventsPerRequest}`,
    isNumbered: hasIds !== undefined,
    make: (index) => {
      const events = Array.from({ length: eventsPerRequest }, () => eventJson(source.event()))
      return {
        target: EVENTS_PATH,
        headers: { 'Content-Type': 'application/json', 'API-Key': keys[index % keys.length] as string },
        body: `{"events":[${events.join(',')}]}`,
      }
    },
  })
}
