/** What operators and load balancers ask: `/livez`, `/readyz`, `/health`, `/stats`; and `/api/track/health`, for scripts. */
import { Elysia } from 'elysia'
import { trackHealth } from '../protocols/track-health.ts'
import { answer, refuse } from './answer.ts'
import { allowOrigin } from './cors.ts'
import { type Rejection, isRejection } from '../rejection.ts'
import { requestId } from './request-id.ts'

/** Of a dependency: `down` when it does not answer. */
export interface DependencyHealth {
  readonly status: 'ok' | 'down'
  readonly response_time_ms?: number
  readonly version?: string
  readonly message?: string
}

/** `down`: events cannot be accepted. `degraded`: they can, but something is missing. */
export interface Health {
  readonly status: 'ok' | 'degraded' | 'down'
  readonly version: string
  /** Of several on one port, the number of the one that answers. */
  readonly worker?: number
  readonly uptime_seconds: number
  readonly memory: { readonly rss_bytes: number; readonly heap_used_bytes: number }
  readonly buffer: Readonly<Record<string, number>>
  readonly dependencies: Readonly<Record<string, DependencyHealth>>
}

export interface Service {
  /** Why events cannot be accepted now, if they cannot. */
  ready(): Rejection | undefined
  health(): Promise<Health>
  stats(): object
}

export function serviceRoutes(service: Service) {
  return new Elysia()
    .get('/livez', ({ request }) => answer(200, idOf(request), '{"status":"ok"}'))
    .get('/readyz', ({ request }) => {
      const refused = service.ready()
      return isRejection(refused) ? refuse(refused, idOf(request)) : answer(200, idOf(request), '{"status":"ok"}')
    })
    .get('/health', async ({ request }) => {
      const health = await service.health()
      return answer(health.status === 'down' ? 503 : 200, idOf(request), JSON.stringify(health))
    })
    .get('/api/track/health', async ({ request }) => {
      const health = await service.health()
      const response = answer(health.status === 'down' ? 503 : 200, idOf(request), JSON.stringify(trackHealth(health)))
      const origin = request.headers.get('origin')
      if (origin !== null) allowOrigin(response.headers, origin)
      return response
    })
    .get('/stats', ({ request }) => answer(200, idOf(request), JSON.stringify(service.stats())))
}

function idOf(request: Request): string {
  return requestId(request.headers)
}
