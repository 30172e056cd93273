/** Signed requests, as the front doors see them. */
import { type UsedSignature, verifySignature } from '../auth/signature.ts'
import type { Rejection } from '../rejection.ts'
import type { RequestContext } from './edge.ts'

/** Whether the body's bytes will be needed. */
export function isSigned(request: Request): boolean {
  return request.headers.has('x-signature')
}

const NOTHING = new Uint8Array(0)

/** Checks the signature that a key wants or a request has; undefined: neither. `isOnce` as `SignedRequest` has it. */
export function verify(
  context: RequestContext,
  request: Request,
  raw: Uint8Array = NOTHING,
  isOnce = true,
): UsedSignature | Rejection | undefined | Promise<UsedSignature | Rejection> {
  const { key, edge } = context
  if (key.signing === 'off') return undefined
  const signed = { key, headers: request.headers, body: raw, isOnce }
  return verifySignature(signed, edge.replays, Date.now())
}
