/** Signed requests, as the front doors see them. */
import type { RequestContext } from './edge.ts'
import { type Rejection, reject } from '../rejection.ts'

/** A signature that was used up by this request. */
export interface UsedSignature {
  /** The request did not get through: it may come again with the same signature. */
  forget(): void
}

/** Whether the body's bytes will be needed. */
export function isSigned(request: Request): boolean {
  return request.headers.has('x-signature')
}

/** Checks the signature that a key wants or a request has; undefined: neither. */
export async function verify(
  context: RequestContext,
  request: Request,
  raw: Uint8Array | undefined,
): Promise<UsedSignature | Rejection | undefined> {
  const { signing } = context.key
  if (signing === 'off' || (signing === 'optional' && !isSigned(request))) return undefined
  return reject('unauthorized', `signatures are not checked yet (${raw?.length ?? 0} bytes)`)
}
