/** What the documentation says of `service.ts`. */
import { Type } from '@sinclair/typebox'
import type { Route } from '../openapi/document.ts'
import { TRACK_HEALTH_OPERATION } from '../protocols/track-health.ts'

const Status = Type.Object({ status: Type.Literal('ok') })

const HealthSchema = Type.Object({
  status: Type.Union([Type.Literal('ok'), Type.Literal('degraded'), Type.Literal('down')], {
    description: 'degraded: events are accepted, but something is missing. down: they are not.',
  }),
  version: Type.String(),
  worker: Type.Optional(
    Type.Integer({
      description: 'With WORKERS: which of them answers, from 0. `/stats` says it too; each counts for itself.',
    }),
  ),
  uptime_seconds: Type.Integer(),
  memory: Type.Object({ rss_bytes: Type.Integer(), heap_used_bytes: Type.Integer() }),
  buffer: Type.Record(Type.String(), Type.Number()),
  dependencies: Type.Record(
    Type.String(),
    Type.Object({
      status: Type.Union([Type.Literal('ok'), Type.Literal('down')]),
      response_time_ms: Type.Optional(Type.Number()),
      version: Type.Optional(Type.String()),
      message: Type.Optional(Type.String()),
    }),
  ),
})

export const SERVICE_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/livez',
    operation: {
      summary: 'Whether the process lives',
      description: 'For whoever restarts it.',
      tag: 'Service',
      key: 'none',
      success: { status: 200, description: 'It does.', schema: Status, example: { status: 'ok' } },
      refusals: [],
    },
  },
  {
    method: 'GET',
    path: '/readyz',
    operation: {
      summary: 'Whether events can be accepted',
      description: 'For load balancers.',
      tag: 'Service',
      key: 'none',
      success: { status: 200, description: 'They can.', schema: Status, example: { status: 'ok' } },
      refusals: ['overloaded'],
    },
  },
  {
    method: 'GET',
    path: '/health',
    operation: {
      summary: 'Every dependency, memory and buffer',
      description:
        'The status is 503 only when events cannot be accepted. While ClickHouse is away it is `degraded`: the log takes the events.',
      tag: 'Service',
      key: 'none',
      success: {
        status: 200,
        description: '`ok` or `degraded`; the same body comes with 503 when it is `down`.',
        schema: HealthSchema,
      },
      refusals: [],
    },
  },
  { method: 'GET', path: '/api/track/health', operation: TRACK_HEALTH_OPERATION },
  {
    method: 'GET',
    path: '/stats',
    operation: {
      summary: 'Counters since the start',
      description: 'Events, commits, buffer, log, flush; for people and scripts.',
      tag: 'Service',
      key: 'none',
      success: { status: 200, description: 'Numbers.', schema: Type.Object({}) },
      refusals: [],
    },
  },
  {
    method: 'GET',
    path: '/metrics',
    operation: {
      summary: 'Metrics for Prometheus',
      description: 'What docs/telemetry.md lists, in the text format 0.0.4.',
      tag: 'Service',
      key: 'none',
      success: {
        status: 200,
        description: 'The text format of Prometheus.',
        contentType: 'text/plain',
        schema: Type.String(),
        example:
          '# HELP penstock_stream_connections Open WebSockets.\n# TYPE penstock_stream_connections gauge\npenstock_stream_connections 3\n',
      },
      refusals: [],
    },
  },
]
