/**
 * Reads the origins of web pages that may use a key, as a browser's `Origin` header writes them (RFC 6454 §6.1: `scheme://host[:port]`,
 * lower case, without the scheme's usual port). `*.` in front of the host stands for one or more labels: `https://*.example.com` is
 * every subdomain of example.com, but not example.com itself. auth/origins.ts compares with them.
 */
import { type Problem, problem } from '../problem.ts'

const ORIGINS_MAX = 100
const ORIGIN_FORM = /^([a-z][a-z0-9+.-]*):\/\/(\*\.)?([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:\d{1,5})?$/i
const WANTS = 'scheme://host or scheme://host:port, with *. before the host for every subdomain'

/** Reads a comma-separated list of origins: each once, as browsers write it. */
export function parseOrigins(text: string): readonly string[] | Problem<'invalid_origin'> {
  const origins = new Set<string>()
  for (const given of text.split(',')) {
    const origin = readOrigin(given.trim())
    if (origin === undefined) {
      return problem('invalid_origin', `origin is ${JSON.stringify(given.trim().slice(0, 80))}, but wants ${WANTS}`)
    }
    origins.add(origin)
  }
  if (origins.size > ORIGINS_MAX) {
    return problem('invalid_origin', `origins are ${origins.size}, but at most ${ORIGINS_MAX} are possible`)
  }
  return [...origins]
}

function readOrigin(given: string): string | undefined {
  const match = ORIGIN_FORM.exec(given)
  if (match === null) return undefined
  const [, scheme = '', wildcard = '', host = '', port = ''] = match
  if (wildcard !== '' && host.startsWith('[')) return undefined
  if (Number(port.slice(1)) > 65535) return undefined
  if (!/^https?$/i.test(scheme)) return `${scheme}://${wildcard}${host}${port}`.toLowerCase() // apps: capacitor://localhost
  // A label in the place of the wildcard: so the host is checked as one that has a subdomain.
  const url = URL.parse(`${scheme}://${wildcard === '' ? '' : 'x.'}${host}${port}`)
  return url?.origin.replace('://x.', wildcard === '' ? '://x.' : '://*.')
}
