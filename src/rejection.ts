/**
 * Every reason for which an event or a request is refused: one closed table, from the code to its HTTP status and whether the client may
 * try the same again. The code is also the label of metrics, the field of log lines and what tests assert.
 */
import type { RateState } from './limits/limits.ts'

export const REJECTIONS = {
  malformed_json: { status: 400, retryable: false },
  invalid_event: { status: 400, retryable: false },
  unauthorized: { status: 401, retryable: false },
  forbidden: { status: 403, retryable: false },
  not_found: { status: 404, retryable: false },
  method_not_allowed: { status: 405, retryable: false },
  batch_too_large: { status: 413, retryable: false },
  payload_too_large: { status: 413, retryable: false },
  unsupported_encoding: { status: 415, retryable: false },
  rate_limited: { status: 429, retryable: true },
  internal: { status: 500, retryable: true },
  overloaded: { status: 503, retryable: true },
} as const

export type RejectionCode = keyof typeof REJECTIONS

/** What is wrong at one place of a request. */
export interface Detail {
  /** Position of the event in the request, from 0; left out when it is about the request as a whole. */
  readonly index?: number
  /** Where in the event, keys joined by dots. */
  readonly path: string
  /** What was wrong and what was expected. */
  readonly message: string
}

/** Why a request was refused. */
export interface Rejection {
  readonly rejection: RejectionCode
  readonly message: string
  readonly details?: readonly Detail[]
  /** Events of this request that were stored before it was refused; only a streamed request has some. */
  readonly accepted?: number
  /** Where the key stands, when it has a limit. */
  readonly rate?: RateState | undefined
}

/** Seconds after which a client may try again what was refused for a passing reason. */
export const RETRY_AFTER_SECONDS = 1

export function reject(
  rejection: RejectionCode,
  message: string,
  more: Omit<Rejection, 'rejection' | 'message'> = {},
): Rejection {
  return { rejection, message, ...more }
}

export function isRejection(value: unknown): value is Rejection {
  return typeof value === 'object' && value !== null && 'rejection' in value
}
