/** Requests that are HTTP as it should be, around good and bad bodies, keys, signatures and headers. */

import { encodeBody } from './body-encoding.ts'
import { makeText, NDJSON } from './body-texts.ts'
import type { Draw } from './draw.ts'
import { contentType, type Header, keyHeaders, oddHeaders, originHeaders, sign } from './headers.ts'
import { validValue } from './json-values.ts'
import { type FuzzKey, UNCERTAIN } from './keys.ts'
import { HINTS, type Operation, type Protocol, protocolOf } from './operations.ts'

/** Large enough that wild values fit, small enough to be exceeded often. */
export const LIMITS = {
  BODY_BYTES_MAX: '512KiB',
  NDJSON_BYTES_MAX: '1MiB',
  IN_FLIGHT_BYTES_MAX: '64MiB',
  TRUST_PROXY: 'true',
} as const

/** A request, and what is known about it. */
export interface Attempt {
  /** For reports. */
  readonly what: string
  readonly bytes: Uint8Array
  readonly operation: Operation
  readonly protocol: Protocol
  readonly isNdjson: boolean
  /** The body as it is decoded; undefined: it cannot be. */
  readonly text: string | undefined
  /** The key that the headers or the query bring. */
  readonly headerKey: string | undefined
  /** Why it must be refused, whatever the key. */
  readonly flaw: string | undefined
  /** Everything about it is good: it must be taken. */
  readonly isGood: boolean
  /** Send it twice: the signature is good once. */
  readonly isReplayed: boolean
}

const HOSTS = ['127.0.0.1', '127.0.0.1', 'x', 'api', 'events.example:8080', '[::1]:3000']
/** Well below the limit on one event of Segment’s: a longer body may be refused although it is good. */
const SURELY_FITS_BYTES = 25_000

/** A request to one of the operations. */
export function makeAttempt(operations: readonly Operation[], allKeys: readonly FuzzKey[], draw: Draw): Attempt {
  const keys = allKeys.filter(({ workspace }) => workspace !== UNCERTAIN)
  const operation = draw.weighted(operations.map((one) => [weightOf(one), one] as const))
  const protocol = protocolOf(operation)
  const flaws: string[] = []
  const oddities: string[] = []
  const key = draw.chance(0.7) ? draw.pick(keys.filter(isPlain)) : draw.pick(keys)
  const place = operation.keyPlaces.length === 0 ? undefined : draw.pick(operation.keyPlaces)
  const presented = presentedText(key, draw)
  const isKeyGood = presented === key.text && key.mayIngest && !key.isTight && key.eventsPerMinute === undefined
  if (!isKeyGood || (protocol === 'track' && place === 'siteId' && !key.isPublic)) oddities.push('key')

  const type = draw.pick(Object.keys(operation.bodies))
  const isNdjson = type === NDJSON
  const made = makeText(operation, protocol, type, draw, { place, presented, isTight: key.isTight })
  if (made.kind !== 'valid' || Buffer.byteLength(made.text) > SURELY_FITS_BYTES) oddities.push(made.kind)
  const body = type === undefined ? undefined : encodeBody(made.text, draw, flaws, oddities)

  const headers: Header[] = []
  if (type !== undefined) headers.push({ name: 'Content-Type', value: contentType(type, draw) })
  if (body?.label !== undefined) headers.push({ name: 'Content-Encoding', value: body.label })
  headers.push(...keyHeaders(place, presented, draw))
  headers.push(...originHeaders(key, presented, draw, flaws))
  const bytes = body?.bytes ?? new Uint8Array()
  const signature = sign(key, presented, bytes, draw, flaws)
  headers.push(...signature.headers)
  headers.push(...oddHeaders(draw, oddities))

  const target = targetOf(operation, protocol, draw, place === 'query' ? presented : undefined)
  return {
    what: `${operation.method} ${operation.path} ${made.kind} ${key.name} at ${place} ${body?.label ?? 'plain'} ${[...flaws, ...oddities].join(', ')}`,
    bytes: requestBytes(operation.method, target, headers, body?.bytes, draw),
    operation,
    protocol,
    isNdjson,
    text: body?.text,
    headerKey: place === 'siteId' || place === 'writeKey' ? undefined : presented,
    flaw: flaws[0],
    isGood: flaws.length === 0 && oddities.length === 0 && type !== undefined,
    // What changes nothing may come again.
    isReplayed: signature.isReplayed && operation.method !== 'GET',
  }
}

function weightOf({ path, method }: Operation): number {
  if (path === '/v1/events') return 8
  if (path === '/health' || path === '/api/track/health') return 0.1
  return method === 'POST' ? 3 : 0.5
}

function isPlain(key: FuzzKey): boolean {
  return (
    key.mayIngest &&
    !key.isTight &&
    key.eventsPerMinute === undefined &&
    key.signing === 'off' &&
    key.origin === undefined
  )
}

function presentedText({ text }: FuzzKey, draw: Draw): string {
  if (draw.chance(0.95)) return text
  return draw.pick([
    `${text}x`,
    text.slice(0, -1),
    text.toUpperCase(),
    `sk_${'A'.repeat(43)}`,
    `pk_${draw.integer(0, 1e9)}${'b'.repeat(43)}`.slice(0, 46),
    'x',
    '__proto__',
    'x'.repeat(3_000),
  ])
}

function targetOf({ path, parameters }: Operation, protocol: Protocol, draw: Draw, key: string | undefined): string {
  const isSpoilt = draw.chance(0.3)
  const parameterText = (name: string, schema: object) => {
    if (isSpoilt && draw.chance(0.5))
      return draw.pick([
        '',
        '%00',
        '%',
        '%zz',
        '%ff',
        '%2F..',
        'NaN',
        '-1',
        '0',
        '1001',
        '1e3',
        '٣',
        '%F0%9F%98%80',
        'x'.repeat(3_000),
        "'%20OR%201=1--",
        '2026-13-01',
        '9'.repeat(30),
      ])
    return encodeURIComponent(String(validValue(schema, HINTS[protocol], draw, name)).toWellFormed())
  }
  let target = path
  const query: string[] = key === undefined ? [] : [`api_key=${encodeURIComponent(key)}`]
  for (const { name, in: place, schema } of parameters) {
    if (place === 'path') target = target.replace(`{${name}}`, () => parameterText(name, schema) || 'x')
    else if (draw.chance(0.5)) query.push(`${name}=${parameterText(name, schema)}`)
  }
  if (draw.chance(0.03))
    query.push(
      draw.pick([
        '%',
        '%00=%00',
        'a=%zz',
        '&&&',
        '==',
        'api_key=x',
        'x'.repeat(6_000),
        '[]=1',
        '__proto__=1',
        '?',
        'limit=1&limit=2',
      ]),
    )
  return query.length === 0 ? target : `${target}?${query.join('&')}`
}

/** HTTP/1.1, with the body's length or in chunks. */
function requestBytes(
  method: string,
  target: string,
  headers: readonly Header[],
  body: Uint8Array | undefined,
  draw: Draw,
): Uint8Array {
  const lines = [
    `${method} ${target} HTTP/1.1`,
    `Host: ${draw.pick(HOSTS)}`,
    ...headers.map(({ name, value }) => `${name}: ${value}`),
  ]
  if (body === undefined) return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  const isChunked = draw.chance(0.12)
  lines.push(isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`)
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  return Buffer.concat([head, ...(isChunked ? chunks(body, draw) : [body])])
}

function chunks(body: Uint8Array, draw: Draw): Uint8Array[] {
  const parts: Uint8Array[] = []
  for (let at = 0; at < body.length; ) {
    const length = Math.min(body.length - at, draw.integer(1, Math.max(1, Math.ceil(body.length / 4))))
    parts.push(Buffer.from(`${length.toString(16)}\r\n`), body.subarray(at, at + length), Buffer.from('\r\n'))
    at += length
  }
  return [...parts, Buffer.from('0\r\n\r\n')]
}
