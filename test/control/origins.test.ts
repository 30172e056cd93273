import { expect, test } from 'bun:test'
import type { Authenticated } from '../../src/auth/key-cache.ts'
import { mayUse } from '../../src/auth/origins.ts'
import { parseOrigins } from '../../src/control/origins.ts'
import { codeOf, good } from './control-fixture.ts'

test.each([
  ['https://example.com', ['https://example.com']],
  ['HTTPS://WWW.Example.COM', ['https://www.example.com']],
  ['https://example.com:443,http://example.com:80', ['https://example.com', 'http://example.com']],
  ['http://localhost:5173', ['http://localhost:5173']],
  ['http://127.0.0.1:8080, http://[::1]:8080', ['http://127.0.0.1:8080', 'http://[::1]:8080']],
  ['https://*.example.com', ['https://*.example.com']],
  ['https://*.Example.com:8443', ['https://*.example.com:8443']],
  ['https://x.example.com', ['https://x.example.com']],
  ['https://xn--bcher-kva.example', ['https://xn--bcher-kva.example']],
  ['capacitor://localhost', ['capacitor://localhost']],
  ['chrome-extension://abcdefgh', ['chrome-extension://abcdefgh']],
  ['https://a.example,https://b.example,https://A.example', ['https://a.example', 'https://b.example']],
])('%s is taken as browsers write it', (text, origins) => {
  expect(good(parseOrigins(text))).toEqual(origins)
})

test.each([
  '',
  '*',
  'null',
  'example.com',
  'https://',
  'https://*',
  'https://*.',
  'https://*example.com',
  'https://a.*.example.com',
  'https://*.*.example.com',
  '*://example.com',
  'https://example.com/',
  'https://example.com/path',
  'https://example.com?query',
  'https://user@example.com',
  'https://example.com:99999',
  'https://example.com:port',
  'https://bücher.example',
  'https://exam ple.com',
  'https://*.[::1]',
  'https://*.1.2.3.4',
  'https://1.2.3.400',
  'https://example.com;https://example.org',
  'https://example.com,',
  Array.from({ length: 101 }, (_, at) => `https://${at}.example`).join(','),
])('%p is refused (%#)', (text) => {
  expect(codeOf(parseOrigins(text))).toBe('invalid_origin')
})

test('what was read lets in the pages it is meant for', () => {
  const allowedOrigins = good(parseOrigins('https://example.com:443,https://*.Example.com'))
  const mayUseFrom = (origin: string) => mayUse({ allowedOrigins } as unknown as Authenticated, origin)
  for (const origin of [
    'https://example.com',
    'https://www.example.com',
    'https://a.b.example.com',
    'https://my_shop.example.com',
  ])
    expect(mayUseFrom(origin)).toBe(true)
  for (const origin of ['http://example.com', 'https://example.com:444', 'https://notexample.com', 'null', ''])
    expect(mayUseFrom(origin)).toBe(false)
})
