/** `/openapi.json` and `/docs` (also `/api-docs.json` and `/api-docs`): the documentation that a running collector serves of itself. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Elysia } from 'elysia'
import { version } from '../../package.json'
import { requestId } from '../http/request-id.ts'
import { timed } from '../http/timed.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { openApiDocument, type Route } from './document.ts'

/** Swagger UI's files; nothing is loaded from elsewhere. */
const ASSETS = {
  'swagger-ui.css': 'text/css',
  'swagger-ui-bundle.js': 'text/javascript',
  'favicon-32x32.png': 'image/png',
} as const

const PAGE = `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Penstock API</title>
  <link rel="stylesheet" href="/docs/swagger-ui.css">
  <link rel="icon" href="/docs/favicon-32x32.png">
</head>
<body>
  <div id="docs"></div>
  <script src="/docs/swagger-ui-bundle.js"></script>
  <script>SwaggerUIBundle({ url: '/openapi.json', dom_id: '#docs', deepLinking: true, validatorUrl: null })</script>
</body>
</html>
`

const DOCUMENTS = ['/openapi.json', '/api-docs.json']
const PAGES = ['/docs', '/api-docs']
const assetPath = (name: string) => `/docs/${name}`

/** Where `documentationRoutes` is, for GET alone. */
export const DOCUMENTATION_PATHS: readonly string[] = [...DOCUMENTS, ...PAGES, ...Object.keys(ASSETS).map(assetPath)]

/** Serves what is documented of these routes. */
export function documentationRoutes(routes: readonly Route[], telemetry: Telemetry) {
  const document = JSON.stringify(openApiDocument(routes, version))
  const json = ({ request }: Asked) => answer(request, document, 'application/json')
  const page = ({ request }: Asked) => answer(request, PAGE, 'text/html; charset=utf-8')
  const app = new Elysia()
  const serve = (path: string, handle: (asked: Asked) => Response) =>
    app.get(path, timed(telemetry.route('GET', path), handle))
  for (const path of DOCUMENTS) serve(path, json)
  for (const path of PAGES) serve(path, page)
  const directory = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))
  for (const [name, type] of Object.entries(ASSETS)) {
    const file = Bun.file(join(directory, name))
    serve(assetPath(name), ({ request }) => answer(request, file, type, { 'cache-control': 'max-age=86400' }))
  }
  return app
}

interface Asked {
  readonly request: Request
}

function answer(
  { headers }: Request,
  body: string | Bun.BunFile,
  type: string,
  more: Readonly<Record<string, string>> = {},
): Response {
  const id = requestId(headers)
  return new Response(body, { headers: { 'content-type': type, 'x-request-id': id, ...more } })
}
