/** Request ids: 64 random bits in base 36, or the client's own in a sane form. In every answer and every log line of a request. */

const SANE = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/

const POOL = 512
const random = new BigUint64Array(POOL)
let used = POOL

/** Of the request with these headers: the client's `X-Request-Id`, or a new one. */
export function requestId(headers: Headers): string {
  const given = headers.get('x-request-id')
  if (given !== null && SANE.test(given)) return given
  if (used === POOL) {
    crypto.getRandomValues(random)
    used = 0
  }
  return (random[used++] as bigint).toString(36)
}
