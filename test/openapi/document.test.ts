/** The OpenAPI document that a collector serves: valid, complete, and true to the front doors. */

import { describe, expect, test } from 'bun:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Value } from '@sinclair/typebox/value'
import { ErrorSchema, MEANINGS, openApiDocument } from '../../src/openapi/document.ts'
import { documentationRoutes } from '../../src/openapi/routes.ts'
import { DOCUMENTED_ROUTES, FRONT_DOORS } from '../../src/protocols/front-doors.ts'
import { REJECTIONS } from '../../src/rejection.ts'
import { NOOP_TELEMETRY } from '../../src/telemetry/telemetry.ts'

const document = JSON.parse(JSON.stringify(openApiDocument(DOCUMENTED_ROUTES, '1.2.3')))

test('it is valid OpenAPI', async () => {
  expect(await new Validator().validate(document)).toEqual({ valid: true })
})

test('every front door is in it', () => {
  for (const { method, path } of FRONT_DOORS)
    expect(document.paths[path.replaceAll(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()]).toBeDefined()
})

test('operation ids are unique', () => {
  const ids = Object.values<Record<string, { operationId: string }>>(document.paths).flatMap((methods) =>
    Object.values(methods).map(({ operationId }) => operationId),
  )
  expect(new Set(ids).size).toBe(ids.length)
})

test('every code that a request can be refused with has a meaning in words', () => {
  expect(Object.keys(MEANINGS).sort()).toEqual(Object.keys(REJECTIONS).sort())
})

describe.each(DOCUMENTED_ROUTES.map((route) => [`${route.method} ${route.path}`, route.operation] as const))(
  '%s',
  (_, operation) => {
    test('has examples that its own schemas accept', () => {
      for (const { schema, examples } of Object.values(operation.body ?? {}))
        for (const example of Object.values(examples)) expect([...Value.Errors(schema, example)]).toEqual([])
      const { schema, example } = operation.success
      if (schema !== undefined && example !== undefined) expect([...Value.Errors(schema, example)]).toEqual([])
      if (operation.refusal !== undefined)
        expect([...Value.Errors(operation.refusal.schema, operation.refusal.example)]).toEqual([])
    })

    test('says what it is', () => {
      expect(operation.summary.length).toBeGreaterThan(5)
      expect(operation.description.length).toBeGreaterThan(5)
    })
  },
)

test('the examples of errors have the common shape', () => {
  const refusal = document.paths['/v1/events'].post.responses['400'].content['application/json'].examples
  for (const { value } of Object.values<{ value: unknown }>(refusal)) expect(Value.Check(ErrorSchema, value)).toBe(true)
})

test.each(['/docs', '/api-docs'])('%s is a page that needs nothing from elsewhere', async (path) => {
  const app = documentationRoutes(DOCUMENTED_ROUTES, NOOP_TELEMETRY)
  const get = (path: string) => app.handle(new Request(`http://localhost${path}`))
  const page = await (await get(path)).text()
  const links = [...page.matchAll(/(?:src|href|url: )=?["']([^"']+)["']/g)].map(([, link]) => link ?? '')
  expect(links.length).toBeGreaterThan(2)
  for (const link of links) {
    expect(link).toStartWith('/')
    expect((await get(link)).status).toBe(200)
  }
  expect(await (await get('/api-docs.json')).json()).toEqual(await (await get('/openapi.json')).json())
})
