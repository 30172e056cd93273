/** The HTTP server: which path leads where. */
import { Elysia } from 'elysia'
import { DOCUMENTATION_PATHS, documentationRoutes } from '../openapi/routes.ts'
import { DOCUMENTED_ROUTES, FRONT_DOORS } from '../protocols/front-doors.ts'
import { STREAM_PROTOCOL } from '../protocols/stream.ts'
import { openStream, STREAM_PATH } from '../protocols/stream-handshake.ts'
import { type Rejection, reject } from '../rejection.ts'
import { NO_PROTOCOL } from '../telemetry/event-counts.ts'
import { refuse } from './answer.ts'
import { preflight } from './cors.ts'
import { type Edge, receive } from './edge.ts'
import { requestId } from './request-id.ts'
import { type Service, serviceRoutes } from './service.ts'
import { type Streams, socketOptions } from './streams.ts'
import { knownMethod, UNKNOWN_ROUTE } from './timed.ts'

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

/**
 * A connection is closed, without an answer, after this time in which nothing was sent on it and less than 16 KiB a second came: Bun begins
 * to count again when as much has come as that rate makes of the whole time.
 */
const IDLE_TIMEOUT_SECONDS = 30

/** Starts to listen. Throws when the address cannot be used. */
export function listen(edge: Edge, service: Service, streams: Streams, options: HttpOptions): HttpServer {
  const { telemetry } = edge
  const streamRoute = telemetry.route('GET', STREAM_PATH)
  for (const protocol of [STREAM_PROTOCOL, NO_PROTOCOL]) edge.pipeline.counts.of(protocol)
  let listening: Bun.Server<unknown> | null = null
  // Not by the server that Elysia's handlers can have: every request would get a property of its own for it.
  const doors = openDoors(edge, (request) => listening?.requestIP(request)?.address)
  const app = new Elysia({
    handler: { standardHostname: false }, // paths are found whatever the Host header is, also `api`
    websocket: socketOptions(edge.limits.bodyBytesMax),
    serve: {
      routes: directRoutes(doors),
      idleTimeout: IDLE_TIMEOUT_SECONDS,
      maxRequestBodySize: Number.MAX_SAFE_INTEGER, // the doors have limits of their own, and words for them
      development: false, // its error pages show source code
    },
  })
    .use(serviceRoutes(service, telemetry))
    .use(documentationRoutes(DOCUMENTED_ROUTES, telemetry))
    .use(frontDoors(edge, doors))
    .get(STREAM_PATH, ({ request, server }) => server && openStream(edge, streams, streamRoute, request, server), {
      parse: 'none',
    })
    .onError(({ code, error, request, path }) => {
      const id = requestId(request.headers)
      const isNothing = code === 'NOT_FOUND'
      if (!isNothing) edge.logger.error({ err: error, requestId: id }, 'a request failed: this is a bug')
      // Not by way of `new URL`: with some Host headers the request's URL is none.
      const rejection = isNothing
        ? reject('not_found', `there is nothing at ${path}; /docs tells what there is`)
        : reject('internal', 'something went wrong here, it is not your request')
      const response = refuseNobody(edge, rejection, id)
      telemetry.route(knownMethod(request.method), UNKNOWN_ROUTE).begin().end(response.status)
      return response
    })
    // Not shared unless that is meant: with a second collector on the port by mistake, half of the requests would go to another log.
    .listen({ hostname: options.host, port: options.port, reusePort: options.isShared })
  const { server } = app
  listening = server
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

/** A front door as the server calls it. */
interface OpenDoor {
  readonly method: string
  readonly path: string
  readonly handle: (request: Request) => Promise<Response>
}

function openDoors(edge: Edge, addressOf: (request: Request) => string | undefined): OpenDoor[] {
  return FRONT_DOORS.map(({ method, path, door }) => {
    const route = edge.telemetry.route(method, path)
    edge.pipeline.counts.of(door.name) // begins at 0, so that the first refusal shows as one
    return { method, path, handle: (request) => receive(edge, door, route, request, addressOf(request)) }
  })
}

/** The doors without Elysia in between, which makes a context for each request and looks through each answer: 1 to 2 µs. */
function directRoutes(doors: readonly OpenDoor[]): Record<string, Record<string, OpenDoor['handle']>> {
  const routes: Record<string, Record<string, OpenDoor['handle']>> = {}
  for (const { method, path, handle } of doors) routes[path] = { ...routes[path], [method]: handle }
  return routes
}

/**
 * All front doors, for paths that `directRoutes` does not have, such as `/v1/events/`. At their paths, all others that are documented
 * and those of the documentation, other methods are told which there are.
 */
function frontDoors(edge: Edge, doors: readonly OpenDoor[]) {
  const app = new Elysia()
  for (const { method, path, handle } of doors)
    app.route(method, path, ({ request }) => handle(request), { parse: 'none' })
  const methodsByPath = new Map<string, string[]>()
  for (const { method, path } of DOCUMENTED_ROUTES)
    methodsByPath.set(path, [...(methodsByPath.get(path) ?? []), method])
  for (const path of DOCUMENTATION_PATHS) methodsByPath.set(path, ['GET'])
  for (const [path, methods] of methodsByPath) {
    const allow = [...methods, 'OPTIONS'].join(', ')
    app.all(path, ({ request }) => otherMethod(edge, path, request, allow), { parse: 'none' })
  }
  return app
}

function otherMethod(edge: Edge, path: string, request: Request, allow: string): Response {
  const told = edge.telemetry.route(knownMethod(request.method), path).begin()
  const message = `${request.method} is not for this path, but ${allow}`
  const response =
    request.method === 'OPTIONS'
      ? preflight(request, allow)
      : refuseNobody(edge, reject('method_not_allowed', message), requestId(request.headers), { allow })
  told.end(response.status)
  return response
}

/** A refusal that no front door has said. */
function refuseNobody(edge: Edge, rejection: Rejection, id: string, headers?: Record<string, string>): Response {
  edge.pipeline.counts.of(NO_PROTOCOL).refused[rejection.rejection]++
  return refuse(rejection, id, headers)
}
