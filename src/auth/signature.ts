/**
 * Signed requests: `X-Timestamp: <unix seconds>` and `X-Signature: <hex HMAC-SHA256(signing secret, timestamp + "." + body)>`, the body being
 * its bytes as they came over the wire, compressed ones included. The timestamp may differ from the time here by five minutes either way,
 * and a signature is good once.
 */
import assert from 'node:assert/strict'
import { createHmac, timingSafeEqual } from 'node:crypto'
import { type Rejection, reject } from '../rejection.ts'
import type { Authenticated } from './key-cache.ts'
import type { Replays, SignatureUse, UseVerdict } from './replays.ts'

/** Seconds that a timestamp may differ from the time here. */
export const TOLERANCE_SECONDS = 300

/** A request to be checked. */
export interface SignedRequest {
  readonly key: Pick<Authenticated, 'tenantId' | 'workspaceId' | 'signing' | 'signingSecret'>
  /** `Headers` is one. */
  readonly headers: { get(name: string): string | null }
  /** As it came over the wire; empty when there is none. */
  readonly body: Uint8Array
  /** The signature is used up by it; not so for a request that changes nothing. */
  readonly isOnce: boolean
}

/** A signature that was good. */
export interface UsedSignature {
  /** Its request did not get through and may come again: it is good once more. */
  forget(): void
}

/** Checks the signature that the key wants, or that is there where it may be; undefined: neither. Never throws or rejects because of the request. */
export function verifySignature(
  request: SignedRequest,
  replays: Replays,
  nowMs: number,
): UsedSignature | Rejection | undefined | Promise<UsedSignature | Rejection> {
  const { signing, signingSecret, tenantId, workspaceId } = request.key
  if (signing === 'off') return undefined
  const given = request.headers.get('x-signature')
  if (given === null) {
    if (signing === 'optional') return undefined
    return reject('unauthorized', 'the key wants signed requests: send X-Timestamp and X-Signature')
  }
  assert(signingSecret !== undefined)
  const timestamp = request.headers.get('x-timestamp')
  if (timestamp === null) return reject('unauthorized', `X-Timestamp is missing: ${TIMESTAMP_WANTED}`)
  if (!/^[1-9]\d{0,11}$/.test(timestamp))
    return reject('unauthorized', `X-Timestamp is ${shown(timestamp)}, but wants ${TIMESTAMP_WANTED}`)
  if (!/^[0-9a-f]{64}$/i.test(given)) return reject('unauthorized', `X-Signature wants ${SIGNATURE_WANTED}`)
  const nowSeconds = nowMs / 1000
  const offSeconds = Number(timestamp) - nowSeconds
  if (Math.abs(offSeconds) > TOLERANCE_SECONDS) return reject('unauthorized', offMessage(offSeconds))
  const signature = Buffer.from(given, 'hex')
  const right = createHmac('sha256', signingSecret).update(`${timestamp}.`).update(request.body).digest()
  if (!timingSafeEqual(signature, right))
    return reject('unauthorized', `X-Signature does not fit the request; it is ${SIGNATURE_WANTED}`)
  if (!request.isOnce) return { forget: () => undefined }
  // All keys of a workspace sign with its secret: a signature that was sent with one is used for the others too.
  const workspace = `${tenantId}/${workspaceId}`
  const use = { workspace, signature, expiresAtSeconds: Number(timestamp) + TOLERANCE_SECONDS }
  const verdict = replays.use(use, nowSeconds)
  return verdict instanceof Promise ? verdict.then((later) => judge(later, use, replays)) : judge(verdict, use, replays)
}

const TIMESTAMP_WANTED = 'the time in whole seconds since 1970'
const SIGNATURE_WANTED =
  '64 hexadecimal digits: HMAC-SHA256, by the signing secret, of X-Timestamp, a dot, and the body as it is sent'

function judge(verdict: UseVerdict, use: SignatureUse, replays: Replays): UsedSignature | Rejection {
  switch (verdict) {
    case 'fresh':
      return { forget: () => replays.forget(use) }
    case 'used':
      return reject('unauthorized', 'X-Signature was used before: every request wants one of its own')
    case 'too_old':
      return reject('unauthorized', 'X-Timestamp is too old for as many requests as were signed since: sign it again')
    case 'too_many':
      return reject('overloaded', 'too many signed requests at once')
  }
}

function offMessage(offSeconds: number): string {
  const direction = offSeconds > 0 ? 'ahead of' : 'behind'
  return `X-Timestamp is ${Math.ceil(Math.abs(offSeconds))} s ${direction} the time here, at most ${TOLERANCE_SECONDS} s are allowed`
}

function shown(given: string): string {
  return JSON.stringify(given.slice(0, 40))
}
