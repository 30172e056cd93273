/**
 * The parts of a page's address that have columns of their own. Read by hand at a third of what `new URL` costs (40 ns against 120);
 * a host that a parser would rewrite (another script, escapes, a number) is left to one.
 */

const SLASH = 0x2f
const BACKSLASH = 0x5c
const QUESTION_MARK = 0x3f
const HASH = 0x23
const COLON = 0x3a
const DOT = 0x2e

/** Longest host name that DNS knows is 253; what is much longer is none. */
const HOST_CHARS_MAX = 255

/** Scheme and two slashes, as browsers take them. */
const BEFORE_AUTHORITY = /^[\s\0]*(?:[a-z][a-z0-9+.-]{0,30}:)?[/\\]{2}/i

/**
 * Path of an address as it was sent, without query and fragment; `/` when the address has a host and no path.
 * Empty when there is none: `about:blank`, `data:…`, `page.html` (relative to what?), text that is no address.
 * @param address `https://host/path?query#fragment`, `//host/path` or `/path`
 */
export function pathOf(address: string): string {
  let start = 0
  if (address.charCodeAt(0) !== SLASH || isSlash(address.charCodeAt(1))) {
    const authority = authorityStart(address)
    if (authority < 0) return ''
    start = authorityEnd(address, authority)
    if (!isSlash(address.charCodeAt(start))) return '/'
  }
  let end = start + 1
  for (; end < address.length; end++) {
    const code = address.charCodeAt(end)
    if (code === QUESTION_MARK || code === HASH) break
  }
  return address.slice(start, end)
}

/**
 * Host of an address in lower case, without user, port and `www.`: all pages of a site are one source.
 * An IPv6 address keeps its brackets, a name in another script is in Punycode. Empty when there is none.
 * @param address `https://host/path` or `//host/path`
 */
export function hostOf(address: string): string {
  const authority = authorityStart(address)
  if (authority < 0) return ''
  const end = authorityEnd(address, authority)
  const at = address.lastIndexOf('@', end - 1)
  const start = at < authority ? authority : at + 1
  const host = plainHost(address, start, end) ?? parsedHost(address.slice(start, end))
  return host.startsWith('www.') && host.indexOf('.', 4) > 4 ? host.slice(4) : host
}

/** Where the authority begins, behind `//`; -1 when the address has none. */
function authorityStart(address: string): number {
  if (address.startsWith('https://')) return 8
  if (address.startsWith('http://')) return 7
  const before = BEFORE_AUTHORITY.exec(address)
  return before === null ? -1 : before[0].length
}

function authorityEnd(address: string, start: number): number {
  let end = start
  for (; end < address.length; end++) {
    const code = address.charCodeAt(end)
    if (isSlash(code) || code === QUESTION_MARK || code === HASH) break
  }
  return end
}

/** The name between `start` and `end`, without its port; undefined when it is not plain, and a parser has to say what it means. */
function plainHost(address: string, start: number, end: number): string | undefined {
  let hasUpperCase = false
  let label = start
  let at = start
  for (; at < end; at++) {
    const code = address.charCodeAt(at)
    if (code === COLON) break
    if (code === DOT) label = at + 1
    else if (code >= 0x41 && code <= 0x5a) hasUpperCase = true
    else if (!isNameCharacter(code)) return undefined
  }
  // Browsers read a host whose last label begins with a digit as a number; an empty last label is a dot at the end.
  if (label === at || isDigit(address.charCodeAt(label)) || at - start > HOST_CHARS_MAX) return undefined
  const host = address.slice(start, at)
  return hasUpperCase ? host.toLowerCase() : host
}

function parsedHost(authority: string): string {
  if (authority.length > HOST_CHARS_MAX) return ''
  const host = URL.parse(`http://${authority}`)?.hostname ?? ''
  return host.endsWith('.') ? host.slice(0, -1) : host
}

function isSlash(code: number): boolean {
  return code === SLASH || code === BACKSLASH
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

/** a to z, 0 to 9, `-` and `_`. */
function isNameCharacter(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || isDigit(code) || code === 0x2d || code === 0x5f
}
