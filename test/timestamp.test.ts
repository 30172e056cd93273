import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { parseTimestamp, readMilliseconds } from '../src/timestamp.ts'

const EARLIEST = Date.UTC(1900, 0, 1)
const LATEST = Date.UTC(2300, 0, 1) - 1

const time = fc.integer({ min: EARLIEST, max: LATEST })
const two = (value: number) => String(value).padStart(2, '0')

test('what Date writes is read back, for random times of the years 1900 to 2299', () => {
  fc.assert(
    fc.property(time, (ms) => {
      expect(parseTimestamp(new Date(ms).toISOString())).toBe(ms)
    }),
    { numRuns: 5_000 },
  )
})

test('zones, fractions of any length and both separators give what Date makes of them', () => {
  const zone = fc.tuple(fc.constantFrom('+', '-'), fc.nat({ max: 23 }), fc.nat({ max: 59 }), fc.boolean())
  const fraction = fc.option(fc.stringMatching(/^\d{1,12}$/), { nil: undefined })
  fc.assert(
    fc.property(
      time,
      zone,
      fraction,
      fc.constantFrom('T', 't', ' '),
      (ms, [sign, hours, minutes, colon], digits, separator) => {
        const seconds = Math.floor(ms / 1000) * 1000
        const local = new Date(seconds).toISOString().slice(0, 19).replace('T', separator)
        const text = `${local}${digits === undefined ? '' : `.${digits}`}${sign}${two(hours)}${colon ? ':' : ''}${two(minutes)}`
        const millis = Number((digits ?? '').slice(0, 3).padEnd(3, '0'))
        const aheadMs = (hours * 60 + minutes) * 60_000 * (sign === '+' ? 1 : -1)
        const expected = seconds + millis - aheadMs
        const isInRange = expected >= EARLIEST && expected <= LATEST
        expect(parseTimestamp(text)).toBe(isInRange ? expected : Number.NaN)
      },
    ),
    { numRuns: 5_000 },
  )
})

test.each([
  ['2026-11-20', Date.UTC(2026, 10, 20)],
  ['2026-11-20T08:09', Date.UTC(2026, 10, 20, 8, 9)],
  ['2026-11-20T08:09:10', Date.UTC(2026, 10, 20, 8, 9, 10)],
  ['2026-11-20T08:09:10z', Date.UTC(2026, 10, 20, 8, 9, 10)],
  ['2026-11-20T08:09Z', Date.UTC(2026, 10, 20, 8, 9)],
  ['2026-11-20T08:09:10,5Z', Date.UTC(2026, 10, 20, 8, 9, 10, 500)],
  ['2026-11-20T08:09:10.123456789Z', Date.UTC(2026, 10, 20, 8, 9, 10, 123)],
  ['2026-11-20T08:09:10+02', Date.UTC(2026, 10, 20, 6, 9, 10)],
  ['2026-11-20T08:09:10-0230', Date.UTC(2026, 10, 20, 10, 39, 10)],
  ['2016-12-31T23:59:60Z', Date.UTC(2017, 0, 1)],
  ['2024-02-29', Date.UTC(2024, 1, 29)],
  ['2000-02-29', Date.UTC(2000, 1, 29)],
  ['1900-01-01T00:00:00Z', EARLIEST],
  ['2299-12-31T23:59:59.999Z', LATEST],
])('%s is read', (text, ms) => {
  expect(parseTimestamp(text)).toBe(ms)
})

test.each([
  '',
  ' ',
  'now',
  '1790000000',
  '1790000000000',
  '20261120',
  '20261120T080910Z',
  '2026-1-2',
  '2026-13-01',
  '2026-00-01',
  '2026-01-00',
  '2026-02-30',
  '2025-02-29',
  '1900-02-29',
  '2026-11-31',
  '26-11-20',
  '02026-11-20',
  '-002026-11-20',
  '+002026-11-20T00:00:00Z',
  '2026/11/20',
  '2026-11-20T',
  '2026-11-20T8:09:10Z',
  '2026-11-20T24:00:00Z',
  '2026-11-20T08:60:00Z',
  '2026-11-20T08:09:61Z',
  '2026-11-20T08',
  '2026-11-20T08Z',
  '2026-11-20T08:09:',
  '2026-11-20T08:09:10.',
  '2026-11-20T08:09:10.Z',
  '2026-11-20T08:09:10.1.2Z',
  '2026-11-20T08:09:10ZZ',
  '2026-11-20T08:09:10Z ',
  ' 2026-11-20T08:09:10Z',
  '2026-11-20T08:09:10 Z',
  '2026-11-20T08:09:10+2',
  '2026-11-20T08:09:10+24:00',
  '2026-11-20T08:09:10+02:60',
  '2026-11-20T08:09:10+02:0',
  '2026-11-20T08:09:10+02:000',
  '2026-11-20T08:09:10+02:00Z',
  '2026-11-20T08:09:10 Europe/Vienna',
  '2026-11-20_08:09:10',
  '2026-11-20Z',
  '2026-W47-5',
  '２026-11-20',
  '1899-12-31T23:59:59.999Z',
  '2300-01-01',
  '2299-12-31T23:59:59-00:01',
  '1900-01-01T00:00:00+00:01',
  '0099-01-01',
  'Fri, 20 Nov 2026 08:09:10 GMT',
  'x'.repeat(100_000),
])('%j is refused', (text) => {
  expect(parseTimestamp(text)).toBeNaN()
})

test('a refused text leaves nothing behind for the next one', () => {
  const day = Date.UTC(2026, 10, 20)
  expect(parseTimestamp('2026-11-20')).toBe(day)
  expect(parseTimestamp('2026-02-30')).toBeNaN()
  expect(parseTimestamp('2026-02-30T10:00:00Z')).toBeNaN()
  expect(parseTimestamp('2026-11-20T00:00:01Z')).toBe(day + 1_000)
})

test.each([0, -1, 999_999_999, 1e10, 1_790_000_000_000, -2_208_988_800_000])('%d milliseconds are a time', (value) => {
  expect(readMilliseconds(value)).toBe(value)
})

test('a fraction of a millisecond is cut', () => {
  expect(readMilliseconds(1_790_000_000_000.9)).toBe(1_790_000_000_000)
})

test.each([1_790_000_000, 1e9, 9_999_999_999, -2_208_988_800_001, 1e300, Number.NaN])(
  '%d are no milliseconds: seconds, or of no year that can be stored',
  (value) => {
    expect(readMilliseconds(value)).toBeNaN()
  },
)
