/** What operators, load balancers and Prometheus ask: `/livez`, `/readyz`, `/health`, `/stats`, `/metrics`; and `/api/track/health`, for scripts. */
import { Elysia } from 'elysia'
import { trackHealth } from '../protocols/track-health.ts'
import { isRejection, type Rejection } from '../rejection.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { answer, refuse } from './answer.ts'
import { allowOrigin } from './cors.ts'
import { requestId } from './request-id.ts'
import { timed } from './timed.ts'

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
  /** In the text format of Prometheus. */
  metrics(): Promise<string>
}

interface Asked {
  readonly request: Request
}

const PROMETHEUS_TEXT = 'text/plain; version=0.0.4; charset=utf-8'

export function serviceRoutes(service: Service, telemetry: Telemetry) {
  const app = new Elysia()
  const serve = (path: string, handle: (asked: Asked) => Response | Promise<Response>) =>
    app.get(path, timed(telemetry.route('GET', path), handle))
  serve('/livez', ({ request }) => answer(200, idOf(request), '{"status":"ok"}'))
  serve('/readyz', ({ request }) => {
    const refused = service.ready()
    return isRejection(refused) ? refuse(refused, idOf(request)) : answer(200, idOf(request), '{"status":"ok"}')
  })
  serve('/health', async ({ request }) => {
    const health = await service.health()
    return answer(health.status === 'down' ? 503 : 200, idOf(request), JSON.stringify(health))
  })
  serve('/api/track/health', async ({ request }) => {
    const health = await service.health()
    const response = answer(health.status === 'down' ? 503 : 200, idOf(request), JSON.stringify(trackHealth(health)))
    const origin = request.headers.get('origin')
    if (origin !== null) allowOrigin(response.headers, origin)
    return response
  })
  serve('/stats', ({ request }) => answer(200, idOf(request), JSON.stringify(service.stats())))
  serve('/metrics', async ({ request }) => {
    const headers = { 'content-type': PROMETHEUS_TEXT, 'x-request-id': idOf(request) }
    return new Response(await service.metrics(), { headers })
  })
  return app
}

function idOf(request: Request): string {
  return requestId(request.headers)
}
