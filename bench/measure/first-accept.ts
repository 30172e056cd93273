/** How soon a Penstock that is starting takes its first event. */
import { waitFor } from '../system/clickhouse.ts'
import type { Penstock } from '../system/penstock.ts'
import { EventSource, eventJson } from '../workload/events.ts'
import { EVENTS_PATH } from '../workload/penstock-requests.ts'

/** Sends one event until it is accepted; gives the milliseconds since the process was started. The event counts as the others. */
export async function firstAccept(penstock: Penstock, key: () => string | undefined): Promise<number> {
  const body = `{"events":[${eventJson(new EventSource({ seed: 3 }).event())}]}`
  const acceptedAt = await waitFor(
    () => `the first 201; Penstock says: ${penstock.complaints().join(' ')}`,
    30_000,
    async () => {
      penstock.assertRunning()
      const presented = key()
      if (presented === undefined) return undefined
      const headers = { 'content-type': 'application/json', 'api-key': presented }
      const status = await fetch(`${penstock.url}${EVENTS_PATH}`, { method: 'POST', body, headers }).then(
        (response) => response.status,
        () => undefined,
      )
      return status === 201 ? performance.now() : undefined
    },
    2,
  )
  return acceptedAt - penstock.startedAt
}
