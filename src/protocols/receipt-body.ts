/** What became of a request, in the words of the canonical protocols (`/v1/events`, `/v1/stream`). */
import { Type } from '@sinclair/typebox'
import type { Summary } from '../pipeline.ts'

const Index = Type.Integer({ description: 'Position in the request, from 0.' })

export const ReceiptSchema = Type.Object({
  accepted: Type.Integer({ description: 'Events that are on disk; copies of earlier ones are among them.' }),
  rejected: Type.Integer(),
  errors: Type.Optional(
    Type.Array(
      Type.Object({
        index: Index,
        code: Type.String(),
        path: Type.String({ description: 'Where in the event, keys joined by dots.' }),
        message: Type.String(),
      }),
    ),
  ),
  warnings: Type.Optional(
    Type.Array(
      Type.Object({
        index: Index,
        code: Type.Union([Type.Literal('timestamp_in_future'), Type.Literal('property_truncated')]),
        message: Type.String(),
      }),
    ),
  ),
})

/** `{accepted, rejected, errors?, warnings?}` as JSON text. */
export function receiptBody(receipt: Summary): string {
  const { accepted, rejected, errors, warnings } = receipt
  if (rejected === 0 && warnings.length === 0) return `{"accepted":${accepted},"rejected":0}`
  return JSON.stringify({
    accepted,
    rejected,
    ...(errors.length > 0 ? { errors } : {}),
    ...(warnings.length > 0 ? { warnings } : {}),
  })
}
