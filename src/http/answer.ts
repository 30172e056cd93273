/** Answers: JSON with the request's id, the state of the rate limit, and the one shape of errors. */
import type { RateState } from '../limits/limits.ts'
import { REJECTIONS, RETRY_AFTER_SECONDS, type Rejection } from '../rejection.ts'

/** An answer with a JSON body. */
export function answer(status: number, requestId: string, body: string, rate?: RateState): Response {
  const headers = { 'content-type': 'application/json', 'x-request-id': requestId }
  return new Response(body, { status, headers: rate === undefined ? headers : { ...headers, ...rateHeaders(rate) } })
}

/** The common shape of errors. */
export function errorBody(rejection: Rejection, requestId: string): object {
  const { rejection: code, message, details, accepted } = rejection
  return { error: { code, message, details, accepted, request_id: requestId } }
}

/** A refusal with the status of its code; `body` is what a protocol with words of its own says instead of the common shape. */
export function refuse(
  rejection: Rejection,
  requestId: string,
  headers: Record<string, string> = {},
  body: object = errorBody(rejection, requestId),
): Response {
  const { status, retryable } = REJECTIONS[rejection.rejection]
  const { rate } = rejection
  const retryAfterSeconds = rate?.taken === false ? rate.retryAfterSeconds : RETRY_AFTER_SECONDS
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      'content-type': 'application/json',
      'x-request-id': requestId,
      ...rateHeaders(rate),
      ...(retryable ? { 'retry-after': String(retryAfterSeconds) } : {}),
      ...headers,
    },
  })
}

function rateHeaders(rate: RateState | undefined): Record<string, string> | undefined {
  if (rate === undefined) return undefined
  return {
    'x-ratelimit-limit': String(rate.limit),
    'x-ratelimit-remaining': String(rate.remaining),
    'x-ratelimit-reset': String(rate.resetSeconds),
  }
}
