/** Measures how long requests take that do not go through a front door. */
import type { RouteTelemetry } from '../telemetry/telemetry.ts'

/** The handler, measured. They are not traced: whoever looks after a collector asks these all the time. */
export function timed<Context>(route: RouteTelemetry, handle: (context: Context) => Response | Promise<Response>) {
  return async (context: Context): Promise<Response> => {
    const told = route.begin()
    const response = await handle(context)
    told.end(response.status)
    return response
  }
}

/** As https://opentelemetry.io/docs/specs/semconv/http/http-spans/ has it, so that made-up methods do not make new series. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'])

/** A method as an attribute of metrics. */
export function knownMethod(method: string): string {
  return METHODS.has(method) ? method : '_OTHER'
}

/** The route of paths that are none. */
export const UNKNOWN_ROUTE = 'unknown'
