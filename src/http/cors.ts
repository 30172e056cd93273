/**
 * Cross-origin requests of browsers (CORS). Every front door answers scripts of all pages: who may send is for the key to say, and it may
 * stand in the body, which a preflight does not have. A key that is only for some origins is refused in the answer to the request itself.
 *
 * `navigator.sendBeacon` sends with credentials: the origin has to be named, `*` will not do. No cookie means anything here.
 */
import { requestId } from './request-id.ts'

/** What a script may read of an answer, beside its body. */
const EXPOSED = 'X-Request-Id, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset'

/** How long a browser may keep the answer to a preflight: Chromium's limit. */
const PREFLIGHT_LIFETIME_SECONDS = 7200

/** Lets the page that sent the request read the answer. */
export function allowOrigin(headers: Headers, origin: string): void {
  headers.set('access-control-allow-origin', origin)
  headers.set('access-control-allow-credentials', 'true')
  headers.set('access-control-expose-headers', EXPOSED)
  headers.append('vary', 'Origin')
}

/** The answer to `OPTIONS`. */
export function preflight(request: Request, methods: string): Response {
  const { headers } = request
  const id = requestId(headers)
  const response = new Response(null, { status: 204, headers: { allow: methods, 'x-request-id': id } })
  const origin = headers.get('origin')
  if (origin === null) return response
  allowOrigin(response.headers, origin)
  response.headers.set('access-control-allow-methods', methods)
  const asked = headers.get('access-control-request-headers')
  if (asked !== null) response.headers.set('access-control-allow-headers', asked)
  response.headers.set('access-control-max-age', String(PREFLIGHT_LIFETIME_SECONDS))
  return response
}
