import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { NO_ADDRESS, parseAddress } from '../src/address.ts'
import { clientAddress, type ProxyTrust, parseProxyTrust } from '../src/client-address.ts'

function trust(text: string): ProxyTrust {
  const parsed = parseProxyTrust(text)
  if (parsed === undefined) throw new Error(`${text} was refused`)
  return parsed
}

/** What is taken for the client of a connection from 10.0.0.9. */
function client(trusted: string, forwardedFor: string | null, peer: string | undefined = '10.0.0.9'): Uint8Array {
  return clientAddress(trust(trusted), peer, forwardedFor)
}

const address = (text: string) => parseAddress(text) as Uint8Array

test.each<[string, ProxyTrust]>([
  ['false', false],
  ['0', false],
  ['true', 1],
  ['TRUE', 1],
  ['1', 1],
  ['2', 2],
  ['32', 32],
])('%j is read as %j', (text, expected) => {
  expect(parseProxyTrust(text)).toBe(expected)
})

test.each([
  '',
  ' ',
  ',',
  'yes',
  '-1',
  '1.5',
  '33',
  '99999999999999999999',
  '10.0.0.0/33',
  '::/129',
  '10.0.0.0/',
  '10.0.0/8',
  '10.0.0.1, nonsense',
  '10.0.0.1/8/8',
  'https://proxy.example',
])('%j is refused', (text) => {
  expect(parseProxyTrust(text)).toBeUndefined()
})

describe('the client is', () => {
  const chain = '203.0.113.1, 198.51.100.2, 10.0.0.3'
  test.each<[string, string, string | null, string]>([
    ['the connection when nobody is trusted', 'false', chain, '10.0.0.9'],
    ['the connection when there is no header', 'true', null, '10.0.0.9'],
    ['the connection when the header is empty', 'true', '', '10.0.0.9'],
    ['the connection when the header has commas only', '10.0.0.0/8', ' , ,', '10.0.0.9'],
    ['the last entry behind one proxy', 'true', chain, '10.0.0.3'],
    ['the last but one behind two', '2', chain, '198.51.100.2'],
    ['the third from the end behind three', '3', chain, '203.0.113.1'],
    ['the first when there are fewer entries than proxies', '9', chain, '203.0.113.1'],
    ['the last that is no trusted proxy', '10.0.0.0/8', chain, '198.51.100.2'],
    ['the last that is none of several', '10.0.0.0/8 198.51.100.0/24', chain, '203.0.113.1'],
    ['the first when all are trusted', '0.0.0.0/0', chain, '203.0.113.1'],
    ['the connection when that is no trusted proxy', '192.168.0.0/16', chain, '10.0.0.9'],
    ['behind a proxy with a single address', '10.0.0.9,10.0.0.3', chain, '198.51.100.2'],
    ['behind a proxy in a private network', 'uniquelocal', chain, '198.51.100.2'],
    ['found past empty entries', 'true', '203.0.113.1, ,', '203.0.113.1'],
    ['read with its port', 'true', '203.0.113.1:50123', '203.0.113.1'],
    ['read in brackets', 'true', '[2001:db8::1]', '2001:db8::1'],
    ['read in brackets with its port', 'true', '[2001:db8::1]:443', '2001:db8::1'],
    ['read without spaces too', '2', '203.0.113.1,198.51.100.2', '203.0.113.1'],
  ])('%s', (_, trusted, forwardedFor, expected) => {
    expect(client(trusted, forwardedFor)).toEqual(address(expected))
  })

  test('not known when the entry that counts is no address, and nothing behind it is believed', () => {
    for (const entry of ['unknown', '_hidden', '1.2.3', 'x'.repeat(10_000), '203.0.113.1:', '[::1', '::1]:80'])
      expect(client('true', `203.0.113.1, ${entry}`)).toBe(NO_ADDRESS)
    expect(client('10.0.0.0/8', '203.0.113.1, unknown, 10.0.0.3')).toBe(NO_ADDRESS)
    expect(clientAddress(false, undefined, '203.0.113.1')).toBe(NO_ADDRESS)
    expect(clientAddress(trust('10.0.0.0/8'), undefined, '203.0.113.1')).toBe(NO_ADDRESS)
  })

  test('seen through loopback in every form that an operating system writes it', () => {
    for (const peer of ['127.0.0.1', '127.8.8.8', '::ffff:127.0.0.1', '::1'])
      expect(client('loopback', '203.0.113.1', peer)).toEqual(address('203.0.113.1'))
    expect(client('loopback', '203.0.113.1', '::2')).toEqual(address('::2'))
  })

  test('told by a network of any length', () => {
    const inside: [string, string][] = [
      ['10.1.2.3/8', '10.255.255.255'],
      ['172.16.0.0/12', '172.31.255.255'],
      ['198.51.100.77/32', '198.51.100.77'],
      ['2001:db8::/33', '2001:db8:7fff::1'],
      ['fe80::/10', 'febf::1'],
      ['::ffff:10.0.0.0/104', '10.1.1.1'],
    ]
    const outside: [string, string][] = [
      ['10.1.2.3/8', '11.0.0.0'],
      ['172.16.0.0/12', '172.32.0.0'],
      ['198.51.100.77/32', '198.51.100.76'],
      ['2001:db8::/33', '2001:db8:8000::1'],
      ['fe80::/10', 'fec0::1'],
      ['0.0.0.0/0', '2001:db8::1'],
    ]
    for (const [network, peer] of inside) expect(client(network, '203.0.113.1', peer)).toEqual(address('203.0.113.1'))
    for (const [network, peer] of outside) expect(client(network, '203.0.113.1', peer)).toEqual(address(peer))
  })
})

test('whatever a client writes in front, what trusted proxies appended decides', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 100 }), fc.integer({ min: 1, max: 3 }), (forged, proxies) => {
      const appended = ['203.0.113.1', '10.0.0.1', '10.0.0.2'].slice(0, proxies).join(', ')
      for (const trusted of [String(proxies), '10.0.0.0/8'])
        expect(client(trusted, `${forged}, ${appended}`)).toEqual(address('203.0.113.1'))
    }),
  )
})
