/** Finds the API key that a request presents. Whether it is any good is for the key cache to say. */

/** What is needed of a request's headers; `Headers` is one. */
interface HeaderReader {
  get(name: string): string | null
}

/**
 * The key in `API-Key`, `X-API-Key`, `Authorization: Bearer` or `Authorization: Basic` (as the user name), the first that is there;
 * undefined when there is none. A header that is there but not readable does not fall back to the next one.
 */
export function presentedKey(headers: HeaderReader): string | undefined {
  const direct = headers.get('api-key') ?? headers.get('x-api-key')
  if (direct !== null) return direct === '' ? undefined : direct
  const authorization = headers.get('authorization')
  return authorization === null ? undefined : keyInAuthorization(authorization)
}

/** RFC 9110 §11.4: a scheme in any case, spaces, credentials. */
function keyInAuthorization(authorization: string): string | undefined {
  const space = authorization.indexOf(' ')
  if (space === -1) return undefined
  const scheme = authorization.slice(0, space).toLowerCase()
  const credentials = authorization.slice(space + 1).trim()
  if (credentials === '') return undefined
  if (scheme === 'bearer') return credentials
  return scheme === 'basic' ? userName(credentials) : undefined
}

/** RFC 7617: base64 of `user:password`. Segment's SDKs send the write key as the user and no password. */
function userName(credentials: string): string | undefined {
  const decoded = Buffer.from(credentials, 'base64').toString('latin1') // keys are ASCII; never throws
  const colon = decoded.indexOf(':')
  const user = colon === -1 ? decoded : decoded.slice(0, colon)
  return user === '' ? undefined : user
}
