import { describe, expect, test } from 'bun:test'
import { isIP } from 'node:net'
import fc from 'fast-check'
import { anonymize, parseAddress } from '../src/address.ts'

const hex = (text: string) => {
  const bytes = parseAddress(text)
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('hex')
}

/** The 16 bytes as the URL parser, another implementation, reads an IPv6 address. */
function asUrlReadsIt(text: string): string {
  // With its dotted end written as words: Bun's parser refuses some that have both `::` and dots.
  const inWords = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) => {
    return `${(a * 256 + Number(b)).toString(16)}:${(c * 256 + Number(d)).toString(16)}`
  })
  const canonical = new URL(`http://[${inWords}]`).hostname.slice(1, -1)
  const [left = '', right] = canonical.split('::')
  const words = (part: string) => part.split(':').filter(Boolean)
  const [head, tail] = [words(left), words(right ?? '')]
  const zeros = Array.from({ length: right === undefined ? 0 : 8 - head.length - tail.length }, () => '0')
  return [...head, ...zeros, ...tail].map((word) => word.padStart(4, '0')).join('')
}

test('random IPv6 addresses, in full and shortened, are read as the URL parser reads them', () => {
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      expect(hex(text)).toBe(asUrlReadsIt(text))
    }),
    { numRuns: 5_000 },
  )
})

test('random IPv4 addresses are mapped into IPv6', () => {
  fc.assert(
    fc.property(fc.ipV4(), (text) => {
      const bytes = text.split('.').map(Number)
      expect(hex(text)).toBe(`00000000000000000000ffff${Buffer.from(bytes).toString('hex')}`)
    }),
  )
})

test.each([
  ['::', '00000000000000000000000000000000'],
  ['::1', '00000000000000000000000000000001'],
  ['1::', '00010000000000000000000000000000'],
  ['2001:db8::1', '20010db8000000000000000000000001'],
  ['2001:DB8:0:0:8:800:200C:417A', '20010db80000000000080800200c417a'],
  ['::ffff:1.2.3.4', '00000000000000000000ffff01020304'],
  ['::1.2.3.4', '00000000000000000000000001020304'],
  ['64:ff9b::192.0.2.33', '0064ff9b0000000000000000c0000221'],
  ['1:2:3:4:5:6:1.2.3.4', '00010002000300040005000601020304'],
  ['1::2:1.2.3.4', '00010000000000000000000201020304'],
  ['fe80::1%eth0', 'fe800000000000000000000000000001'],
  ['1:2:3:4:5:6:7::', '00010002000300040005000600070000'],
  ['::2:3:4:5:6:7:8', '00000002000300040005000600070008'],
])('%s is %s', (text, bytes) => {
  expect(hex(text)).toBe(bytes)
})

test.each([
  '',
  ' ',
  'localhost',
  '1.2.3',
  '1.2.3.4.5',
  '1.2.3.256',
  '01.2.3.4',
  '1.2.3.4:80',
  '[::1]',
  '[::1]:80',
  ':',
  ':::',
  '1::2::3',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '12345::',
  'g::',
  '::1.2.3',
  '::1.2.3.4.5',
  '1:2:3:4:5:6:7:1.2.3.4',
  '1.2.3.4::',
  ' 1.2.3.4',
  'unknown',
  `::${'0'.repeat(60)}`,
])('%j is no address', (text) => {
  expect(parseAddress(text)).toBeUndefined()
})

test('nothing is taken for an address that Node does not take for one', () => {
  const nearly = fc.string({ unit: fc.constantFrom(...'0123456789abcdefF:.%'), maxLength: 20 })
  fc.assert(
    fc.property(nearly, (text) => {
      expect(parseAddress(text) !== undefined).toBe(isIP(text) !== 0)
      if (parseAddress(text) !== undefined) expect(parseAddress(text)).toHaveLength(16)
    }),
    { numRuns: 5_000 },
  )
})

describe('anonymize', () => {
  const anonymized = (text: string) => Buffer.from(anonymize(parseAddress(text) as Uint8Array)).toString('hex')

  test('keeps /24 of an IPv4 address and /48 of an IPv6 address', () => {
    expect(anonymized('203.0.113.77')).toBe('00000000000000000000ffffcb007100')
    expect(anonymized('2001:db8:1234:5678:9abc:def0:1:2')).toBe('20010db8123400000000000000000000')
    expect(anonymized('::1')).toBe('00000000000000000000000000000000')
  })

  test('leaves the address itself as it is, which later requests share', () => {
    anonymized('203.0.113.77')
    expect(hex('203.0.113.77')).toBe('00000000000000000000ffffcb00714d')
  })
})
