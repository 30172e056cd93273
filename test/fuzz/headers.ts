/** Headers of all kinds: where the key is, from which page, signatures, and what nobody needs. */
import { createHmac } from 'node:crypto'
import { NDJSON } from './body-texts.ts'
import type { Draw } from './draw.ts'
import type { FuzzKey } from './keys.ts'
import type { KeyPlace } from './operations.ts'

export interface Header {
  readonly name: string
  readonly value: string
}

export function contentType(type: string, draw: Draw): string {
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

export function keyHeaders(place: KeyPlace | undefined, presented: string, draw: Draw): Header[] {
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

export function originHeaders(key: FuzzKey, presented: string, draw: Draw, flaws: string[]): Header[] {
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

export function sign(
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

export function oddHeaders(draw: Draw, oddities: string[]): Header[] {
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
