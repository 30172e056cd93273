/** Requests that are HTTP as it should be, around good and bad bodies, keys, signatures and headers. */
import { createHmac } from 'node:crypto'
import zlib from 'node:zlib'
import type { Draw } from './draw.ts'
import { spoil, spoilBytes, toText, validValue, wildValue } from './json-values.ts'
import { type FuzzKey, UNCERTAIN } from './keys.ts'
import { HINTS, type KeyPlace, type Operation, type Protocol, protocolOf } from './operations.ts'

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

interface Header {
  readonly name: string
  readonly value: string
}

const CODERS: Readonly<
  Record<string, { encode(bytes: Uint8Array): Uint8Array; decode(bytes: Uint8Array): Uint8Array }>
> = {
  gzip: { encode: zlib.gzipSync, decode: zlib.gunzipSync },
  'x-gzip': { encode: zlib.gzipSync, decode: zlib.gunzipSync },
  deflate: { encode: zlib.deflateSync, decode: inflate },
  'raw deflate': { encode: zlib.deflateRawSync, decode: inflate },
  br: {
    encode: (bytes) => zlib.brotliCompressSync(bytes, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } }),
    decode: zlib.brotliDecompressSync,
  },
  zstd: { encode: zlib.zstdCompressSync, decode: zlib.zstdDecompressSync },
}

const HOSTS = ['127.0.0.1', '127.0.0.1', 'x', 'api', 'events.example:8080', '[::1]:3000']
const NDJSON = 'application/x-ndjson'
const MiB = 1024 * 1024
/** From 60 KB to 64 bytes on the wire: 64 MiB of spaces. */
const BOMBS = (['gzip', 'deflate', 'br', 'zstd'] as const).map(
  (name) => [name, CODERS[name]?.encode(Buffer.alloc(64 * MiB, 0x20)) ?? new Uint8Array()] as const,
)
/** Over every limit on one event of Segment's: such a body may be refused although it is good. */
const SURELY_FITS_CHARS = 25_000

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
  const made = makeText(operation, protocol, type, draw, { place, presented })
  if (made.kind !== 'valid' || made.text.length > SURELY_FITS_CHARS) oddities.push(made.kind)
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

interface Made {
  readonly text: string
  readonly kind: 'valid' | 'spoilt' | 'wild' | 'many'
}

function makeText(
  { bodies }: Operation,
  protocol: Protocol,
  type: string | undefined,
  draw: Draw,
  key: { readonly place: KeyPlace | undefined; readonly presented: string },
): Made {
  const schema = bodies[type ?? '']
  if (type === undefined || schema === undefined) return { text: '', kind: 'valid' }
  const value = () => completed(validValue(schema, HINTS[protocol], draw), protocol, key)
  const kind = draw.weighted([
    [40, 'valid' as const],
    [40, 'spoilt' as const],
    [15, 'wild' as const],
    [0.7, 'many' as const],
  ])
  if (kind === 'many') return { text: manyText(value, protocol, type === NDJSON, draw), kind }
  const one = () => {
    if (kind === 'valid') return toText(value())
    if (kind === 'wild') return toText(draw.chance(0.5) ? wrapped(wildValue(draw), protocol, key) : wildValue(draw))
    return toText(spoil(value(), draw))
  }
  if (type !== NDJSON) return { text: one(), kind }
  // Lines beyond the first 100 that are refused are not told.
  const lines = Array.from({ length: draw.integer(1, 12) }, one)
  return { text: lines.join(draw.pick(['\n', '\r\n', '\n\n'])) + draw.pick(['', '\n']), kind }
}

/** A batch of more events than some limits, each with an id of its own. */
function manyText(value: () => unknown, protocol: Protocol, isNdjson: boolean, draw: Draw): string {
  const event = JSON.stringify(value())
  const count = draw.pick([2, 3, 50, 51, 100, 101, 500, 501])
  if (isNdjson) return Array.from({ length: count * 2 }, () => withNewIds(event, draw)).join('\n')
  const parsed = JSON.parse(event)
  const list = protocol === 'batch' ? parsed.batch : Array.isArray(parsed) ? parsed : (parsed.events ?? [parsed])
  const many = Array.from({ length: count }, (_, n) =>
    JSON.parse(withNewIds(JSON.stringify(list[n % list.length]), draw)),
  )
  if (protocol === 'batch') return toText({ ...parsed, batch: many })
  if (protocol === 'events' || Array.isArray(parsed)) return toText(many)
  return toText(protocol === 'call' ? parsed : { ...parsed, events: many })
}

function withNewIds(event: string, draw: Draw): string {
  return event.replaceAll(
    /"(event_id|eventId|messageId|id)":"(?:[^"\\]|\\.)*"/g,
    (_, name) => `"${name}":"${draw.uuid()}"`,
  )
}

/** What the words of the documentation ask for beyond the schema. Changes the value. */
function completed(
  value: unknown,
  protocol: Protocol,
  { place, presented }: { place: KeyPlace | undefined; presented: string },
): unknown {
  const body = value as Record<string, unknown>
  if (protocol === 'call') identified(body)
  if (protocol === 'batch') for (const call of body.batch as Record<string, unknown>[]) identified(call)
  if (place === 'writeKey') body.writeKey = presented
  else delete body.writeKey
  if (protocol === 'track') {
    const items = (Array.isArray(body) ? body : (body.events ?? [body])) as Record<string, unknown>[]
    for (const item of items) {
      if (place === 'siteId') item.siteId = presented
      else delete item.siteId
    }
  }
  return value
}

function identified(call: Record<string, unknown>): void {
  if (call.userId === undefined && call.anonymousId === undefined) call.userId = 'user-42'
}

function wrapped(
  value: unknown,
  protocol: Protocol,
  { place, presented }: { place: KeyPlace | undefined; presented: string },
): unknown {
  const keys = place === 'siteId' || place === 'writeKey' ? { [place]: presented } : {}
  if (protocol === 'batch') return { ...keys, batch: value }
  return protocol === 'canonical' || protocol === 'track' ? { ...keys, events: [value] } : value
}

interface EncodedBody {
  readonly bytes: Uint8Array
  readonly label: string | undefined
  readonly text: string | undefined
}

function encodeBody(text: string, draw: Draw, flaws: string[], oddities: string[]): EncodedBody {
  if (draw.chance(0.001)) {
    flaws.push('bomb')
    const [label, bytes] = draw.pick(BOMBS)
    return { label, bytes, text: undefined }
  }
  let plain: Uint8Array = Buffer.from(draw.chance(0.01) ? `\ufeff${text}` : text)
  if (plain.length > Buffer.byteLength(text)) oddities.push('byte order mark')
  if (draw.chance(0.06)) {
    oddities.push('bytes')
    plain = spoilBytes(plain, draw)
  }
  const name = draw.chance(0.7) ? undefined : draw.pick(Object.keys(CODERS))
  let bytes = name === undefined ? plain : (CODERS[name]?.encode(plain) ?? plain)
  let label = name === 'raw deflate' ? 'deflate' : name
  if (draw.chance(0.03)) {
    oddities.push('label')
    label = draw.pick([
      'gzip',
      'br',
      'zstd',
      'deflate',
      'identity',
      'GZIP',
      'snappy',
      'gzip, gzip',
      'gzip,br',
      '',
      '*',
      '__proto__',
      'constructor',
      'x'.repeat(300),
    ])
  }
  if (name !== undefined && draw.chance(0.06)) {
    oddities.push('encoded bytes')
    bytes = spoilBytes(bytes, draw)
  }
  const decoded = decode(bytes, label)
  return { bytes, label, text: decoded === undefined ? undefined : Buffer.from(decoded).toString('utf8') }
}

function decode(bytes: Uint8Array, label: string | undefined): Uint8Array | undefined {
  const name = (label ?? '').trim().toLowerCase()
  if (name === '' || name === 'identity') return bytes
  try {
    return Object.hasOwn(CODERS, name) ? CODERS[name]?.decode(bytes) : undefined
  } catch {
    return undefined
  }
}

function inflate(bytes: Uint8Array): Uint8Array {
  return ((bytes[0] ?? 0) & 0x0f) === 8 ? zlib.inflateSync(bytes) : zlib.inflateRawSync(bytes)
}

function contentType(type: string, draw: Draw): string {
  if (type === NDJSON)
    return draw.pick([NDJSON, 'application/x-ndjson; charset=utf-8', 'application/ndjson', 'Application/JSONL'])
  return draw.pick([
    type,
    type,
    type,
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/json; charset=utf-8',
    '',
    'x',
    'multipart/form-data',
  ])
}

function keyHeaders(place: KeyPlace | undefined, presented: string, draw: Draw): Header[] {
  switch (place) {
    case 'API-Key':
    case 'X-API-Key':
      return [{ name: draw.pick([place, place.toLowerCase(), place.toUpperCase()]), value: presented }]
    case 'bearer':
      return [{ name: 'Authorization', value: `${draw.pick(['Bearer', 'bearer', 'BEARER'])} ${presented}` }]
    case 'basic':
      return [{ name: 'Authorization', value: `Basic ${btoa(`${presented}:${draw.pick(['', 'password', ':'])}`)}` }]
    default:
      return []
  }
}

function originHeaders(key: FuzzKey, presented: string, draw: Draw, flaws: string[]): Header[] {
  if (draw.chance(0.7)) return []
  const value = draw.pick([
    'https://shop.example',
    'https://shop.example',
    'https://evil.example',
    'null',
    'HTTPS://SHOP.EXAMPLE',
    'https://shop.example.evil.example',
    '*',
    'https://shop.example/',
  ])
  if (key.origin !== undefined && presented === key.text && value.toLowerCase() !== key.origin)
    flaws.push('foreign origin')
  return [{ name: 'Origin', value }]
}

function sign(
  key: FuzzKey,
  presented: string,
  body: Uint8Array,
  draw: Draw,
  flaws: string[],
): { headers: Header[]; isReplayed: boolean } {
  const nothing = { headers: [], isReplayed: false }
  if (key.signing === 'off') {
    if (draw.chance(0.97)) return nothing
    return { headers: [{ name: 'X-Signature', value: draw.pick(['x', '0'.repeat(64), '']) }], isReplayed: false }
  }
  const how = draw.weighted([
    [6, 'good'],
    [2, 'replayed'],
    [1, 'none'],
    [1, 'bad'],
    [1, 'stale'],
    [1, 'garbled'],
    [1, 'no time'],
  ] as const)
  const flaw = (what: string) => {
    if (presented === key.text) flaws.push(what)
  }
  if (how === 'none') {
    if (key.signing === 'required') flaw('not signed')
    return nothing
  }
  const seconds = Math.floor(Date.now() / 1000) + (how === 'stale' ? draw.pick([-400, 400]) : 0)
  const secret = how === 'bad' ? 'another secret' : key.signingSecret
  const digest = createHmac('sha256', secret).update(`${seconds}.`).update(body).digest('hex')
  if (how !== 'good' && how !== 'replayed') flaw(`${how} signature`)
  const time = {
    name: 'X-Timestamp',
    value: how === 'garbled' ? draw.pick(['', '1e9', '-1', `${seconds}.0`, 'NaN']) : `${seconds}`,
  }
  const headers = [{ name: 'X-Signature', value: digest }, ...(how === 'no time' ? [] : [time])]
  return { headers, isReplayed: how === 'replayed' && presented === key.text }
}

function oddHeaders(draw: Draw, oddities: string[]): Header[] {
  const headers: Header[] = []
  const add = (name: string, value: string) => headers.push({ name, value })
  if (draw.chance(0.2))
    add(
      'X-Forwarded-For',
      draw.pick([
        '203.0.113.9',
        '::1',
        'unknown',
        '1.2.3.4:80, [::1]:99',
        ',,,',
        '999.9.9.9',
        'x'.repeat(500),
        '1.1.1.1,'.repeat(200),
      ]),
    )
  if (draw.chance(0.2))
    add(
      'User-Agent',
      draw.pick(['curl/8', 'Mozilla/5.0 (X11; Linux) Chrome/120.0', '\xff\xfe', 'x'.repeat(2_000), '(((((', '']),
    )
  if (draw.chance(0.1))
    add('X-Request-Id', draw.pick(['mine-1', 'x'.repeat(128), 'x'.repeat(129), '<script>', '', 'ä', '../..', 'a b']))
  if (draw.chance(0.05)) {
    const value = draw.pick(['2', 'v1.2', 'x'.repeat(64), 'x'.repeat(65), '', '\xff'])
    if (value.length > 64) oddities.push('long schema version')
    add('X-Event-Schema-Version', value)
  }
  if (draw.chance(0.05)) add('Cookie', 'c='.concat('x'.repeat(draw.integer(1, 4_000))))
  if (draw.chance(0.03)) for (const value of ['1', '2']) add('X-Twice', value)
  if (draw.chance(0.02)) for (let n = 0; n < 30; n++) add(`X-Many-${n}`, `${n}`)
  if (draw.chance(0.02)) add('Expect', '100-continue')
  return headers
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
