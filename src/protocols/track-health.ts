/** `GET /api/track/health`: whether the browser script's events are taken, and what they go to. The short form of `/health`. */
import { Type } from '@sinclair/typebox'
import type { DependencyHealth, Health } from '../http/service.ts'
import type { Operation } from '../openapi/operation.ts'

/** Versions of what does not answer are left out. */
export interface TrackHealth {
  readonly status: Health['status']
  readonly database: Pick<DependencyHealth, 'status' | 'response_time_ms'>
  readonly buffer: Health['buffer']
  readonly versions: { readonly penstock: string; readonly clickhouse?: string }
}

export function trackHealth({ status, version, buffer, dependencies }: Health): TrackHealth {
  const { version: clickhouse, message, ...database } = dependencies.clickhouse ?? { status: 'down' }
  return {
    status,
    database,
    buffer,
    versions: { penstock: version, ...(clickhouse === undefined ? {} : { clickhouse }) },
  }
}

export const TRACK_HEALTH_OPERATION: Operation = {
  summary: 'Whether the browser script’s events are taken',
  description:
    'While the database is away the status is `degraded` and events are taken: the buffer holds them. No key is needed.',
  tag: 'Browser',
  key: 'none',
  success: {
    status: 200,
    description: '`ok` or `degraded`; the same body comes with 503 when it is `down`.',
    schema: Type.Object({
      status: Type.Union([Type.Literal('ok'), Type.Literal('degraded'), Type.Literal('down')]),
      database: Type.Object({
        status: Type.Union([Type.Literal('ok'), Type.Literal('down')]),
        response_time_ms: Type.Optional(Type.Number()),
      }),
      buffer: Type.Record(Type.String(), Type.Number()),
      versions: Type.Object({ penstock: Type.String(), clickhouse: Type.Optional(Type.String()) }),
    }),
  },
  refusals: [],
}
