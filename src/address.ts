/** Network addresses as 16 bytes in network order, an IPv4 address mapped into IPv6 (::ffff:0:0/96), as ClickHouse's IPv6 holds them. */
import { isIPv4, isIPv6 } from 'node:net'

/** The address `::`, where none is known. */
export const NO_ADDRESS = new Uint8Array(16)

/** Parsed addresses, so that a client's requests share one; emptied when it is full. */
const known = new Map<string, Uint8Array>()
const KNOWN_MAX = 10_000

/** @returns undefined when `text` is no IPv4 or IPv6 address */
export function parseAddress(text: string): Uint8Array | undefined {
  const found = known.get(text)
  if (found !== undefined) return found
  if (text.length > 45) return undefined
  const bytes = isIPv4(text) ? parseV4(text) : isIPv6(text) ? parseV6(text) : undefined
  if (bytes === undefined) return undefined
  if (known.size >= KNOWN_MAX) known.clear()
  known.set(text, bytes)
  return bytes
}

/** Cuts an address to its network: /24 of an IPv4 address, /48 of an IPv6 address. */
export function anonymize(address: Uint8Array): Uint8Array {
  const isMappedV4 = address[10] === 0xff && address[11] === 0xff && address.subarray(0, 10).every((byte) => byte === 0)
  const cut = address.slice()
  cut.fill(0, isMappedV4 ? 15 : 6)
  return cut
}

function parseV4(text: string): Uint8Array {
  const bytes = new Uint8Array(16)
  bytes.set([0xff, 0xff, ...text.split('.').map(Number)], 10)
  return bytes
}

function parseV6(text: string): Uint8Array | undefined {
  const withoutZone = text.split('%')[0] ?? ''
  const dotted = withoutZone.lastIndexOf('.') < 0 ? '' : withoutZone.slice(withoutZone.lastIndexOf(':') + 1)
  const tail = dotted === '' ? [] : Array.from(parseV4(dotted).subarray(12))
  const words = dotted === '' ? withoutZone : withoutZone.slice(0, -dotted.length).replace(/([^:]):$/, '$1')
  const [left, right] = words.split('::') as [string, string | undefined]
  const head = bytesOf(left)
  const end = [...bytesOf(right ?? ''), ...tail]
  if (right === undefined && head.length + end.length !== 16) return undefined
  if (head.length + end.length > 16) return undefined
  const bytes = new Uint8Array(16)
  bytes.set(head)
  bytes.set(end, 16 - end.length)
  return bytes
}

function bytesOf(words: string): number[] {
  if (words === '') return []
  return words
    .split(':')
    .filter(Boolean)
    .flatMap((word) => {
      const value = Number.parseInt(word, 16)
      return [value >> 8, value & 0xff]
    })
}
