/** The HTTP server: which path leads where. */
import { Elysia } from 'elysia'
import { documentationRoutes } from '../openapi/routes.ts'
import { DOCUMENTED_ROUTES, FRONT_DOORS } from '../protocols/front-doors.ts'
import { reject } from '../rejection.ts'
import { refuse } from './answer.ts'
import { preflight } from './cors.ts'
import { type Edge, receive } from './edge.ts'
import { openStream, STREAM_PATH } from '../protocols/stream-handshake.ts'
import { requestId } from './request-id.ts'
import { type Service, serviceRoutes } from './service.ts'
import { socketOptions, type Streams } from './streams.ts'

export interface HttpServer {
  readonly port: number
  /** Takes no new connections and requests; resolves when those in flight are answered, or at the deadline. */
  stop(deadlineMs: number): Promise<void>
}

export interface HttpOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  /** Other processes listen there too. */
  readonly isShared: boolean
}

/** A connection on which nothing moves is closed after this time. */
const IDLE_TIMEOUT_SECONDS = 30

/** Starts to listen. Throws when the address cannot be used. */
export function listen(edge: Edge, service: Service, streams: Streams, options: HttpOptions): HttpServer {
  const app = new Elysia({
    handler: { standardHostname: false }, // paths are found whatever the Host header is, also `api`
    websocket: socketOptions(edge.limits.bodyBytesMax),
    serve: {
      idleTimeout: IDLE_TIMEOUT_SECONDS,
      maxRequestBodySize: Number.MAX_SAFE_INTEGER, // the doors have limits of their own, and words for them
      development: false, // its error pages show source code
    },
  })
    .use(serviceRoutes(service))
    .use(documentationRoutes(DOCUMENTED_ROUTES))
    .use(frontDoors(edge))
    .get(STREAM_PATH, ({ request, server }) => server && openStream(edge, streams, request, server), { parse: 'none' })
    .onError(({ code, error, request, path }) => {
      const id = requestId(request.headers)
      // Not by way of `new URL`: with some Host headers the request's URL is none.
      if (code === 'NOT_FOUND') return refuse(reject('not_found', `there is nothing at ${path}`), id)
      edge.logger.error({ err: error, requestId: id }, 'a request failed: this is a bug')
      return refuse(reject('internal', 'something went wrong here, it is not your request'), id)
    })
    // Not shared unless that is meant: with a second collector on the port by mistake, half of the requests would go to another log.
    .listen({ hostname: options.host, port: options.port, reusePort: options.isShared })
  const { server } = app
  if (server === null || server.port === undefined) throw new Error(`cannot listen on ${options.host}:${options.port}`)
  return {
    port: server.port,
    async stop(deadlineMs) {
      const late = Promise.withResolvers<void>()
      // Cleared again: a timer that is left would keep the process alive until the deadline.
      const deadline = setTimeout(() => late.resolve(server.stop(true)), deadlineMs)
      const stopped = server.stop(false)
      await Promise.race([Promise.all([streams.close(), stopped]), late.promise])
      clearTimeout(deadline)
    },
  }
}

/** All front doors. At their paths and all others that are documented, other methods are told which there are. */
function frontDoors(edge: Edge) {
  const app = new Elysia()
  for (const { method, path, door } of FRONT_DOORS) {
    app.route(
      method,
      path,
      ({ request, server }) => receive(edge, door, request, server?.requestIP(request)?.address),
      { parse: 'none' },
    )
  }
  const methodsByPath = new Map<string, string[]>()
  for (const { method, path } of DOCUMENTED_ROUTES)
    methodsByPath.set(path, [...(methodsByPath.get(path) ?? []), method])
  for (const [path, methods] of methodsByPath) {
    const allow = [...methods, 'OPTIONS'].join(', ')
    app.all(path, ({ request }) => otherMethod(request, allow), { parse: 'none' })
  }
  return app
}

function otherMethod(request: Request, allow: string): Response {
  if (request.method === 'OPTIONS') return preflight(request, allow)
  const message = `${request.method} is not for this path, but ${allow}`
  return refuse(reject('method_not_allowed', message), requestId(request.headers), { allow })
}
