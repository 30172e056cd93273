/**
 * What the documentation says of one front door. It stands beside the door's code; the OpenAPI document, the fuzzer and the tests of the
 * examples are made of it.
 */
import type { TSchema } from '@sinclair/typebox'
import type { RejectionCode } from '../rejection.ts'

export interface Operation {
  readonly summary: string
  readonly description: string
  /** Under which heading it stands. */
  readonly tag: 'Events' | 'Browser' | 'Segment' | 'Queries' | 'Service'
  /** How a key is presented, beside the headers that every front door takes; none: no key is needed. */
  readonly key: 'header' | 'header or body' | 'header or query' | 'none'
  readonly parameters?: readonly Parameter[]
  /** By content type. */
  readonly body?: Readonly<
    Record<string, { readonly schema: TSchema; readonly examples: Readonly<Record<string, unknown>> }>
  >
  readonly success: {
    readonly status: number
    readonly description: string
    readonly schema?: TSchema
    readonly example?: unknown
    /** Where it is not JSON. */
    readonly contentType?: string
  }
  /** Why it may be refused. */
  readonly refusals: readonly RejectionCode[]
  /** The shape of its refusals, where it is not the common one. */
  readonly refusal?: { readonly schema: TSchema; readonly example: unknown }
}

/** A parameter in the path or the query. */
export interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query'
  readonly description: string
  readonly required: boolean
  readonly schema: TSchema
  readonly example?: unknown
}

/** What every front door that takes events may answer. */
export const INGEST_REFUSALS = [
  'malformed_json',
  'invalid_event',
  'unauthorized',
  'forbidden',
  'batch_too_large',
  'payload_too_large',
  'unsupported_encoding',
  'rate_limited',
  'internal',
  'overloaded',
] as const satisfies readonly RejectionCode[]
