/** Answers: JSON with the request's id, and the one shape of errors. */
import { REJECTIONS, RETRY_AFTER_SECONDS, type Rejection } from '../rejection.ts'

/** An answer with a JSON body. */
export function answer(status: number, requestId: string, body: string): Response {
  return new Response(body, { status, headers: { 'content-type': 'application/json', 'x-request-id': requestId } })
}

/** `{"error": {code, message, details?, accepted?, request_id}}` with the status of its code. */
export function refuse(rejection: Rejection, requestId: string, headers: Record<string, string> = {}): Response {
  const { status, retryable } = REJECTIONS[rejection.rejection]
  const { rejection: code, message, details, accepted } = rejection
  const body = JSON.stringify({ error: { code, message, details, accepted, request_id: requestId } })
  return new Response(body, {
    status,
    headers: {
      'content-type': 'application/json',
      'x-request-id': requestId,
      ...(retryable ? { 'retry-after': String(RETRY_AFTER_SECONDS) } : {}),
      ...headers,
    },
  })
}
