/** Which address a request came from: the connection's, or what proxies that we trust say in `X-Forwarded-For`. */
import { NO_ADDRESS, parseAddress } from './address.ts'

/** Addresses that share their first bits. */
export interface Network {
  /** 16 bytes in network order. */
  readonly base: Uint8Array
  /** How many bits of `base` count, of 128. */
  readonly prefixBits: number
}

/**
 * Whom to believe: nobody (`false`); so many proxies, the nearest first, whatever their addresses are; or those in these networks.
 */
export type ProxyTrust = false | number | readonly Network[]

/** More proxies in a row are a mistake. */
const PROXIES_MAX = 32

/** Names for the networks that are nobody's on the internet, the same as Express has. */
const NETWORK_NAMES: ReadonlyMap<string, string> = new Map([
  ['loopback', '127.0.0.0/8,::1'],
  ['linklocal', '169.254.0.0/16,fe80::/10'],
  ['uniquelocal', '10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7'],
])

/** What `parseProxyTrust` reads, in words. */
export const PROXY_TRUST_WANTS = `true, false, a number of proxies up to ${PROXIES_MAX}, or addresses and networks such as 10.0.0.0/8, loopback, uniquelocal`

/**
 * `false` or `0`; `true` or `1`: one proxy; a number of proxies; or a list, with commas or spaces, of addresses, networks and the names
 * `loopback`, `linklocal` and `uniquelocal`.
 * @returns undefined for anything else
 */
export function parseProxyTrust(text: string): ProxyTrust | undefined {
  const lower = text.toLowerCase()
  if (lower === 'false' || lower === '0') return false
  if (lower === 'true') return 1
  if (/^\d+$/.test(lower)) return Number(lower) <= PROXIES_MAX ? Number(lower) : undefined
  const names = lower.split(/[\s,]+/).filter((name) => name !== '')
  const networks = names.flatMap((name) => (NETWORK_NAMES.get(name) ?? name).split(',')).map(parseNetwork)
  const known = networks.filter((network) => network !== undefined)
  return known.length === networks.length && known.length > 0 ? Object.freeze(known) : undefined
}

/**
 * The client's address.
 * - Nobody trusted: the connection's.
 * - `n` proxies: the nth entry of `X-Forwarded-For` from its end, which the outermost of them has written; the first when there are fewer.
 * - Networks: the last entry, seen from the client, that is none of them; the first when all are.
 *
 * @param peer where the connection comes from; undefined: not known
 * @param forwardedFor the header `X-Forwarded-For`, several joined by commas; null: there is none
 * @returns 16 bytes in network order, shared: not to be changed. `::` when the entry that counts is no address.
 */
export function clientAddress(trust: ProxyTrust, peer: string | undefined, forwardedFor: string | null): Uint8Array {
  let address = parseAddress(peer ?? '') ?? NO_ADDRESS
  if (trust === false || forwardedFor === null) return address
  let end = forwardedFor.length
  for (let believed = 0; end > 0 && isTrusted(trust, believed, address); believed++) {
    let entry = ''
    while (entry === '' && end > 0) {
      const comma = forwardedFor.lastIndexOf(',', end - 1)
      entry = forwardedFor.slice(comma + 1, end).trim()
      end = comma
    }
    if (entry !== '') address = parseEntry(entry) ?? NO_ADDRESS
  }
  return address
}

/** May the one at `address`, before whom so many were believed, say whom it speaks for? */
function isTrusted(trust: Exclude<ProxyTrust, false>, believed: number, address: Uint8Array): boolean {
  return typeof trust === 'number' ? believed < trust : trust.some((network) => contains(network, address))
}

/** Some proxies write the client's port too: `192.0.2.1:50123`, `[2001:db8::1]:50123`. */
function parseEntry(entry: string): Uint8Array | undefined {
  const [, v6, v4] = /^(?:\[([^\]]+)\](?::\d+)?|([\d.]+):\d+)$/.exec(entry) ?? []
  return parseAddress(v6 ?? v4 ?? entry)
}

function parseNetwork(text: string): Network | undefined {
  const [, addressText = '', bitsText] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const base = parseAddress(addressText)
  if (base === undefined) return undefined
  const familyBits = addressText.includes(':') ? 128 : 32
  const bits = bitsText === undefined ? familyBits : Number(bitsText)
  return bits <= familyBits ? Object.freeze({ base, prefixBits: 128 - familyBits + bits }) : undefined
}

function contains({ base, prefixBits }: Network, address: Uint8Array): boolean {
  const wholeBytes = prefixBits >> 3
  for (let index = 0; index < wholeBytes; index++) if (base[index] !== address[index]) return false
  const restBits = prefixBits & 7
  return restBits === 0 || (((base[wholeBytes] ?? 0) ^ (address[wholeBytes] ?? 0)) & (0xff << (8 - restBits))) === 0
}
