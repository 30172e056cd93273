/** Bytes that are no good HTTP: lies about lengths, chunks that are none, heads that are too large, halves, garbage. */
import { makeDraft } from '../support/event-drafts.ts'
import type { Draw } from './draw.ts'

/** Bytes for one connection, and how it goes on. */
export interface Cruelty {
  readonly what: string
  readonly bytes: Uint8Array
  /** Sent after a pause. */
  readonly later?: Uint8Array
  /** Ends its side of the connection after sending. */
  readonly isHalfClosed: boolean
  /** Goes away without waiting for an answer. */
  readonly isGone: boolean
}

const EVENT = () => JSON.stringify({ events: [makeDraft({ event_id: crypto.randomUUID() })] })
const PATHS = [
  '/v1/events',
  '/events',
  '/api/track',
  '/v1/track',
  '/v1/batch',
  '/v1/stream',
  '/livez',
  '/stats',
  '/nothing',
]

/** @param key of a workspace in which it does not matter what is stored */
export function makeCruelty(key: string, draw: Draw): Cruelty {
  const [what, make] = draw.pick(KINDS)
  const bytes = Buffer.from(make(key, draw), 'latin1')
  const isCut = draw.chance(0.2)
  const at = draw.integer(1, Math.max(1, bytes.length - 1))
  return {
    what,
    bytes: isCut ? bytes.subarray(0, at) : bytes,
    ...(isCut ? { later: bytes.subarray(at) } : {}),
    isHalfClosed: draw.chance(0.1),
    isGone: draw.chance(0.1),
  }
}

function post(key: string, headers: readonly string[], body = EVENT(), path = '/v1/events'): string {
  return `POST ${path} HTTP/1.1\r\nHost: x\r\nAPI-Key: ${key}\r\n${headers.map((line) => `${line}\r\n`).join('')}\r\n${body}`
}

type Kind = readonly [what: string, make: (key: string, draw: Draw) => string]

const CHUNKED = 'Transfer-Encoding: chunked'

const KINDS: readonly Kind[] = [
  [
    'a length that is not the body’s',
    (key, draw) =>
      post(key, [`Content-Length: ${draw.pick(['0', '1', '10', '1000', '65536', '1048576', '999999999999'])}`]),
  ],
  [
    'a length that is none',
    (key, draw) =>
      post(key, [
        `Content-Length: ${draw.pick(['', 'abc', '-1', '+5', '0x10', '1e3', '5,5', '5, 6', ' 5 5', '9'.repeat(30), '18446744073709551616', '\xb2', '5;'])}`,
      ]),
  ],
  [
    'two lengths',
    (key, draw) => post(key, [`Content-Length: ${draw.integer(0, 300)}`, `Content-Length: ${draw.integer(0, 300)}`]),
  ],
  [
    'length and chunks',
    (key, draw) =>
      post(key, draw.chance(0.5) ? ['Content-Length: 5', CHUNKED] : [CHUNKED, 'Content-Length: 5'], '0\r\n\r\n'),
  ],
  [
    'an odd transfer encoding',
    (key, draw) =>
      post(
        key,
        [
          `Transfer-Encoding: ${draw.pick(['gzip, chunked', 'chunked, gzip', 'identity', 'xchunked', 'CHUNKED', 'chunked\x0b', ' chunked', 'chunked, chunked', ''])}`,
        ],
        '0\r\n\r\n',
      ),
  ],
  [
    'chunks that are none',
    (key, draw) =>
      post(
        key,
        [CHUNKED],
        draw.pick([
          'zz\r\n',
          '-1\r\nx',
          'FFFFFFFFFFFFFFFFF\r\nx',
          '5\r\nab',
          '5\r\nabcdefgh\r\n0\r\n\r\n',
          '5;ext="',
          `5;${'e'.repeat(20_000)}\r\nabcde\r\n0\r\n\r\n`,
          '0\r\nTrailer: x\r\n\r\n',
          '0\r\n',
          '\r\n\r\n',
          '1\nx\n0\n\n',
          ' 5\r\nabcde\r\n0\r\n\r\n',
          '0x5\r\nabcde\r\n',
          `${'0'.repeat(500)}1\r\n{\r\n0\r\n\r\n`,
        ]),
      ),
  ],
  [
    'an odd header',
    (key, draw) =>
      post(
        key,
        [
          draw.pick([
            'no colon',
            ': empty',
            'space : x',
            ' folded: x',
            'X: a\0b',
            'X: \x7f\x01',
            'X\xff: 1',
            'X: a\rb',
            '=',
            `X: ${'y'.repeat(100_000)}`,
            `${'n'.repeat(20_000)}: x`,
            'Host: second',
            'API-Key: other',
            'Connection: upgrade, close, keep-alive',
            'Upgrade: h2c',
            'Expect: 200-maybe',
            'Content-Length : 3',
          ]),
        ],
        '',
      ),
  ],
  [
    'many headers',
    (key, draw) =>
      post(
        key,
        Array.from({ length: draw.pick([99, 101, 500, 5_000]) }, (_, n) => `X-${n}: ${n}`),
        '',
      ),
  ],
  ['lines that end with LF', (key) => post(key, ['Content-Length: 2'], '{}').replaceAll('\r\n', '\n')],
  [
    'an odd request line',
    (_key, draw) =>
      `${draw.pick(['', 'GET', 'get', 'BREW', 'PRI', 'GET\0', 'G'.repeat(10_000), 'CONNECT', 'TRACE', 'OPTIONS', '\xff'])} ${draw.pick(['/livez', '*', 'http://evil.example/livez', 'evil.example:443', '//evil//', '/a b', '/\0', '/\xff\xfe', '/%', `/${'p'.repeat(draw.pick([5_000, 20_000, 70_000]))}`, '/../../etc/passwd', '', '?', '#', '/v1/events#x', '/livez;x', '\\livez'])} ${draw.pick(['HTTP/1.1', 'HTTP/1.0', 'HTTP/0.9', 'HTTP/2.0', 'HTTP/9.9', 'http/1.1', '', 'HTTP/1.1 x', 'ICY'])}\r\nHost: ${draw.pick(['x', '', 'a b', '[::1', 'x:99999', 'x, y', '%00', '\xff'])}\r\n\r\n`,
  ],
  ['no host', (_key, draw) => `GET ${draw.pick(PATHS)} HTTP/${draw.pick(['1.0', '1.1'])}\r\n\r\n`],
  [
    'many requests at once',
    (key, draw) => {
      const body = EVENT()
      const one = post(key, [`Content-Length: ${body.length}`], body, draw.pick(PATHS))
      return one.repeat(draw.integer(2, 20)) + draw.pick(['', 'garbage', '\0'])
    },
  ],
  [
    'another protocol',
    (_key, draw) =>
      draw.pick([
        'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
        'SSH-2.0-x\r\n',
        '*1\r\n$4\r\nPING\r\n',
        'GET /\r\n',
        '\r\n\r\n\r\n',
        '\0'.repeat(100),
        'QUIT\n',
      ]),
  ],
  [
    'random bytes',
    (_key, draw) =>
      Array.from({ length: draw.integer(1, 2_000) }, () => String.fromCharCode(draw.integer(0, 255))).join(''),
  ],
  [
    'a good request that is interrupted',
    (key, draw) => {
      const body = EVENT()
      const whole = post(key, [`Content-Length: ${body.length}`], body)
      return whole.slice(0, draw.integer(1, whole.length - 1))
    },
  ],
  [
    'NDJSON that is interrupted',
    (key, draw) => {
      const lines = Array.from({ length: 50 }, () => JSON.stringify(makeDraft())).join('\n')
      return post(
        key,
        ['Content-Type: application/x-ndjson', 'Content-Length: 1000000'],
        lines.slice(0, draw.integer(1, lines.length)),
      )
    },
  ],
]
