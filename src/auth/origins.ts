/** Which web pages may use a key. */
import type { Authenticated } from './key-cache.ts'

/**
 * Whether a page of this origin may use the key.
 * @param origin the header `Origin` as a browser sends it: `https://shop.example`, or `null` for pages without one
 */
export function mayUse(key: Authenticated, origin: string): boolean {
  const { allowedOrigins } = key
  if (allowedOrigins === undefined) return true
  const asked = origin.toLowerCase()
  return allowedOrigins.some((allowed) => matches(allowed, asked))
}

/** `https://*.example.com` stands for every host below example.com, at any depth, not for example.com itself. */
function matches(allowed: string, origin: string): boolean {
  const star = allowed.indexOf('*')
  if (star < 0) return origin === allowed
  const before = allowed.slice(0, star)
  const after = allowed.slice(star + 1)
  const label = origin.slice(before.length, origin.length - after.length)
  return origin.startsWith(before) && origin.endsWith(after) && /^[a-z0-9._-]+$/.test(label)
}
