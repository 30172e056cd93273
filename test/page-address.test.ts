import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { hostOf, pathOf } from '../src/page-address.ts'

describe('path', () => {
  test.each([
    ['https://shop.example/shoes/1?size=42#reviews', '/shoes/1'],
    ['http://shop.example', '/'],
    ['https://shop.example?q=1', '/'],
    ['https://shop.example#top', '/'],
    ['https://shop.example/', '/'],
    ['https://shop.example/a/', '/a/'],
    ['https://shop.example/a#b?c', '/a'],
    ['https://shop.example/A%20b/ü', '/A%20b/ü'],
    ['https://user:pass@shop.example:8443/a@b:c', '/a@b:c'],
    ['https://[2001:db8::1]:8443/a', '/a'],
    ['HTTPS://SHOP.EXAMPLE/A', '/A'],
    ['//cdn.example/lib.js?v=1', '/lib.js'],
    ['/pricing?plan=pro', '/pricing'],
    ['/', '/'],
    ['  https://shop.example/a', '/a'],
    ['file:///home/me/index.html', '/home/me/index.html'],
    ['app://com.example.shop/cart', '/cart'],
    ['chrome-extension://abcdef/popup.html', '/popup.html'],
  ])('of %s is %s', (address, path) => {
    expect(pathOf(address)).toBe(path)
  })

  test.each([
    '',
    'about:blank',
    'data:text/html,<h1>/x</h1>',
    'javascript:alert(1)',
    'mailto:a@b.example',
    'blob:https://shop.example/1',
    'page.html',
    '?q=1',
    '#top',
    'shop.example/a',
    'not an address',
    '\0'.repeat(10),
  ])('of %j is empty', (address) => {
    expect(pathOf(address)).toBe('')
  })
})

describe('host', () => {
  test.each([
    ['https://www.google.com/', 'google.com'],
    ['https://google.com', 'google.com'],
    ['http://WWW.Example.ORG:8080/a?b#c', 'example.org'],
    ['https://user:p@ss@news.example/a@b', 'news.example'],
    ['https://news.example?next=@other.example', 'news.example'],
    ['https://news.example#@other.example', 'news.example'],
    ['//cdn.example/lib.js', 'cdn.example'],
    ['android-app://com.google.android.gm/', 'com.google.android.gm'],
    ['http://127.0.0.1:3000/', '127.0.0.1'],
    ['http://[2001:DB8::1]:8443/a', '[2001:db8::1]'],
    ['https://www.example.com./', 'example.com'],
    ['https://www.com/', 'www.com'],
    ['https://wwww.example/', 'wwww.example'],
    ['https://bücher.example/', 'xn--bcher-kva.example'],
    ['https://xn--bcher-kva.example/', 'xn--bcher-kva.example'],
    ['https://ex%61mple.org/', 'example.org'],
    ['https://localhost', 'localhost'],
    ['https://under_score.example/', 'under_score.example'],
    ['https://news.example\\evil.example/', 'news.example'],
  ])('of %s is %s', (address, host) => {
    expect(hostOf(address)).toBe(host)
  })

  test.each([
    '',
    'about:client',
    'data:text/html,//x/y',
    '/relative',
    'google.com',
    '$direct',
    'https://',
    'https:///path',
    'https://:8080/',
    'https://a b/',
    'https://<script>/',
    `https://${'a'.repeat(10_000)}/`,
    `https://${'ä'.repeat(10_000)}`,
    'file:///etc/passwd',
  ])('of %j is empty', (address) => {
    expect(hostOf(address)).toBe('')
  })
})

test('random addresses are read as the URL parser reads them', () => {
  fc.assert(
    fc.property(fc.webUrl({ withQueryParameters: true, withFragments: true }), (address) => {
      const parsed = new URL(address)
      const hasDots = /\/\.{1,2}(?=[/?#]|$)/.test(address) // a browser resolves them before it tells its address
      if (!hasDots && !/[^\x21-\x7e]/.test(address)) expect(pathOf(address)).toBe(parsed.pathname)
      expect(hostOf(address)).toBe(parsed.hostname.replace(/^www\.(?=[^.]+\.)/, ''))
    }),
    { numRuns: 5_000 },
  )
})

test('random hosts, with users and ports, are read as the URL parser reads them', () => {
  const character = fc.constantFrom(...'abcABC019.-_:@[]%ß '.split(''), 'www.', '0x', '%41')
  const authority = fc.array(character, { minLength: 1, maxLength: 12 }).map((parts) => parts.join(''))
  fc.assert(
    fc.property(authority, (text) => {
      const expected = URL.parse(`https://${text}/p`)?.hostname
      // What a parser refuses may have a host here (a port that is none, say), but never one with odd characters.
      if (expected === undefined) expect(hostOf(`https://${text}/p`)).toMatch(/^[a-z0-9._-]*$/)
      else expect(hostOf(`https://${text}/p`)).toBe(expected.replace(/\.$/, '').replace(/^www\.(?=[^.]+\.)/, ''))
    }),
    { numRuns: 5_000 },
  )
})

test('10 KB of anything takes no time and does no harm', () => {
  const startedAt = performance.now()
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1000, maxLength: 10_240 }), (text) => {
      for (const address of [text, `https://${text}`, `//${text}`, `${text.slice(0, 5)}://${text}`]) {
        expect(address.includes(pathOf(address))).toBe(true)
        expect(hostOf(address).length).toBeLessThan(2000)
      }
    }),
    { numRuns: 50 },
  )
  for (const text of ['a', ':', '/', '@', ' ', '[', '\\', '.'])
    for (const address of [text.repeat(10_240), `https://${text.repeat(10_240)}`]) hostOf(address) + pathOf(address)
  expect(performance.now() - startedAt).toBeLessThan(5_000)
})
