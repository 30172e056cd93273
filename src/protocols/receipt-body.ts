/** What became of a request, in the words of the canonical protocols (`/v1/events`, `/v1/stream`). */
import type { Summary } from '../pipeline.ts'

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
