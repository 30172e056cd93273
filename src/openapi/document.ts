/** The OpenAPI 3.1 document, made of the front doors and the schemas they validate with. */
import { type TSchema, Type } from '@sinclair/typebox'
import { REJECTIONS, type RejectionCode } from '../rejection.ts'
import type { Operation, Parameter } from './operation.ts'

/** An operation and where it is. */
export interface Route {
  readonly method: 'GET' | 'POST'
  /** As Elysia writes paths: `/users/:userId/journey`. */
  readonly path: string
  readonly operation: Operation
}

/** The common shape of errors. */
export const ErrorSchema = Type.Object({
  error: Type.Object({
    code: Type.Union(
      Object.keys(REJECTIONS).map((code) => Type.Literal(code)),
      { description: 'Why; for programs.' },
    ),
    message: Type.String({ description: 'What was wrong and what was expected; for people.' }),
    details: Type.Optional(
      Type.Array(
        Type.Object({
          index: Type.Optional(Type.Integer({ description: 'Position of the event in the request, from 0.' })),
          path: Type.String({ description: 'Where in the event, keys joined by dots.' }),
          message: Type.String(),
        }),
      ),
    ),
    accepted: Type.Optional(
      Type.Integer({ description: 'Of a streamed request: events stored before it was refused.' }),
    ),
    request_id: Type.String({ description: 'In every log line of the request, too.' }),
  }),
})

const DESCRIPTION = `Penstock takes events and brings them into ClickHouse exactly once. A 2xx means that the events are on disk.

Every answer has \`X-Request-Id\`; one that the client sends in a sane form is kept. Bodies are JSON in UTF-8, plain or with
\`Content-Encoding: gzip | deflate | zstd | br\`; the content type is not trusted. Answers with status 429 and 503 have \`Retry-After\`:
send the same request again after so many seconds. Events with an id are stored once, however often they are sent.`

const JSON_TYPE = 'application/json'

/** @param version of Penstock */
export function openApiDocument(routes: readonly Route[], version: string): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const { method, path, operation } of routes) {
    const name = path.replaceAll(/:(\w+)/g, '{$1}')
    paths[name] = { ...paths[name], [method.toLowerCase()]: operationObject(operation, `${method} ${name}`) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Penstock',
      version,
      description: DESCRIPTION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      securitySchemes: {
        apiKey: { type: 'apiKey', in: 'header', name: 'API-Key', description: 'Also as `X-API-Key`.' },
        bearer: { type: 'http', scheme: 'bearer' },
        basic: { type: 'http', scheme: 'basic', description: 'The key as user name, no password.' },
        query: { type: 'apiKey', in: 'query', name: 'api_key' },
      },
      schemas: { Error: plain(ErrorSchema) },
      headers: HEADERS,
    },
  }
}

const HEADERS = {
  'X-Request-Id': { description: 'Of the request.', schema: { type: 'string' } },
  'Retry-After': { description: 'Seconds after which to try again.', schema: { type: 'integer' } },
  'X-RateLimit-Limit': { description: 'Events a minute that the key may send.', schema: { type: 'integer' } },
  'X-RateLimit-Remaining': { description: 'Events that it could send now.', schema: { type: 'integer' } },
  'X-RateLimit-Reset': { description: 'Seconds until it may send as much as ever.', schema: { type: 'integer' } },
}

const SECURITY: Readonly<Record<Operation['key'], readonly string[]>> = {
  header: ['apiKey', 'bearer', 'basic'],
  'header or body': ['apiKey', 'bearer', 'basic'],
  'header or query': ['apiKey', 'bearer', 'basic', 'query'],
  none: [],
}

function operationObject(operation: Operation, id: string): object {
  const { summary, description, tag, key, parameters, body, success } = operation
  const schemes: object[] = SECURITY[key].map((name) => ({ [name]: [] }))
  return {
    operationId: id.replaceAll(/[^A-Za-z0-9]+/g, '_'),
    summary,
    description,
    tags: [tag],
    security: key === 'header or body' ? [...schemes, {}] : schemes,
    ...(parameters === undefined ? {} : { parameters: parameters.map(parameterObject) }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: contentOf(body) } }),
    responses: {
      [success.status]: {
        description: success.description,
        headers: headersOf(['X-Request-Id', 'X-RateLimit-Limit', 'X-RateLimit-Remaining', 'X-RateLimit-Reset']),
        ...(success.schema === undefined ? {} : { content: successContent(success) }),
      },
      ...refusalsOf(operation),
    },
  }
}

/** One answer for each status; the codes that share one are its examples. */
function refusalsOf({ refusals, refusal }: Operation): Record<string, object> {
  const byStatus = new Map<number, RejectionCode[]>()
  for (const code of refusals) {
    const { status } = REJECTIONS[code]
    byStatus.set(status, [...(byStatus.get(status) ?? []), code])
  }
  const answers = Array.from(byStatus, ([status, codes]) => {
    const examples = Object.fromEntries(codes.map((code) => [code, refusal?.example ?? exampleOf(code)]))
    const headers = codes.some((code) => REJECTIONS[code].retryable)
      ? ['X-Request-Id', 'Retry-After']
      : ['X-Request-Id']
    const answer = {
      description: codes.map((code) => `\`${code}\`: ${MEANINGS[code]}`).join('; '),
      headers: headersOf(headers),
      content: json(refusal?.schema ?? Type.Ref('#/components/schemas/Error'), examples),
    }
    return [String(status), answer] as const
  })
  return Object.fromEntries(answers)
}

/** What each code means, in the words of the documentation. */
export const MEANINGS: Readonly<Record<RejectionCode, string>> = {
  malformed_json: 'the body is not JSON in UTF-8, or not what Content-Encoding says',
  invalid_event: 'nothing in the request was acceptable; `details` say what and where',
  unauthorized: 'no key, an unknown, revoked or expired one, or a bad signature',
  forbidden: 'the key lacks the scope, or is not for pages of this origin',
  not_found: 'there is nothing at this path',
  method_not_allowed: 'the path is for other methods; `Allow` names them',
  batch_too_large: 'too many events in one request',
  payload_too_large: 'too many bytes in one request, also after decompression',
  unsupported_encoding: 'Content-Encoding is none of gzip, deflate, zstd, br',
  rate_limited: 'the key has sent more events than it may',
  internal: 'a fault of the server; nothing of the request is stored for certain',
  overloaded: 'the log or the memory for requests is full, or the collector is shutting down',
}

function exampleOf(code: RejectionCode): object {
  return { error: { code, message: MEANINGS[code], request_id: '3w5e11264sgsf' } }
}

function headersOf(names: readonly string[]): object {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
}

function successContent({ schema, example, contentType = JSON_TYPE }: Operation['success']): object {
  return { [contentType]: json(schema ?? Type.Unknown(), { success: example })[JSON_TYPE] }
}

function contentOf(body: NonNullable<Operation['body']>): object {
  return Object.fromEntries(
    Object.entries(body).map(([type, { schema, examples }]) => [type, json(schema, examples)[JSON_TYPE]]),
  )
}

function json(schema: TSchema, examples: Readonly<Record<string, unknown>>) {
  const named = Object.entries(examples).filter(([, value]) => value !== undefined)
  return {
    [JSON_TYPE]: {
      schema: plain(schema),
      ...(named.length === 0 ? {} : { examples: Object.fromEntries(named.map(([name, value]) => [name, { value }])) }),
    },
  }
}

function parameterObject({ name, in: place, description, required, schema, example }: Parameter): object {
  return {
    name,
    in: place,
    description,
    required,
    schema: plain(schema),
    ...(example === undefined ? {} : { example }),
  }
}

/** TypeBox schemas are JSON Schema with symbols beside it, which JSON leaves out. */
function plain(schema: TSchema): object {
  return JSON.parse(JSON.stringify(schema))
}
