/** How most scenarios begin. */
import type { Bench } from '../scenario.ts'
import { writeEventRequests } from '../workload/penstock-requests.ts'
import type { RequestFile } from '../workload/requests.ts'
import { type Penstock, provision, startPenstock } from './penstock.ts'

/** A Penstock with its embedded ClickHouse, and so many requests of so many events for it. */
export async function startWithRequests(
  { resources }: Bench,
  eventsPerRequest: number,
  requestCount: number,
): Promise<{ penstock: Penstock; requests: RequestFile }> {
  const dataDir = resources.directory('data')
  const key = await provision(resources, dataDir, 'bench')
  const penstock = await startPenstock({ resources, dataDir })
  const requests = writeEventRequests({
    directory: resources.directory('requests'),
    host: penstock.host,
    keys: [key],
    eventsPerRequest,
    requests: requestCount,
  })
  return { penstock, requests }
}
