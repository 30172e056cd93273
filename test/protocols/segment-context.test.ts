/** The context of a call: what it has of its batch, and its addresses. */
import { expect, test } from 'bun:test'
import { mergeContext, takeContext } from '../../src/protocols/segment-context.ts'
import { makeEvent } from '../support/events.ts'

const merge = (ofBatch: string, ofCall: string) => JSON.stringify(mergeContext(JSON.parse(ofBatch), JSON.parse(ofCall)))

test.each([
  ['{"a":1}', '{"b":2}', '{"a":1,"b":2}'],
  ['{"a":1}', '{"a":2}', '{"a":2}'],
  ['{"a":{"b":1,"c":2}}', '{"a":{"b":3}}', '{"a":{"b":3,"c":2}}'],
  ['{"a":{"b":1}}', '{"a":5}', '{"a":5}'],
  ['{"a":5}', '{"a":{"b":1}}', '{"a":{"b":1}}'],
  ['{"a":[1,2]}', '{"a":[3]}', '{"a":[3]}'],
  ['{"a":1}', '{"a":null}', '{"a":null}'],
  ['{"__proto__":{"x":1}}', '{"__proto__":{"y":2}}', '{"__proto__":{"x":1,"y":2}}'],
  ['{"constructor":{"prototype":{"x":1}}}', '{}', '{"constructor":{"prototype":{"x":1}}}'],
])('%s and the call’s %s make %s', (ofBatch, ofCall, merged) => {
  expect(merge(ofBatch, ofCall)).toBe(merged)
})

test('neither is changed', () => {
  const ofBatch = { device: { type: 'phone' } }
  const ofCall = { device: { name: 'mine' } }
  mergeContext(ofBatch, ofCall)
  expect(ofBatch).toEqual({ device: { type: 'phone' } })
  expect(ofCall).toEqual({ device: { name: 'mine' } })
})

test('depth without end is no trouble', () => {
  const deep = JSON.parse(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`)
  const merged = mergeContext(deep, structuredClone({ a: { a: { b: 1 } } }))
  expect(merged).toMatchObject({ a: { a: { b: 1, a: {} } } })
  mergeContext(deep, deep)
})

test.each<[ip: string, anonymizeIp: boolean, lastBytes: number[], kept: string | undefined]>([
  ['203.0.113.9', false, [203, 0, 113, 9], undefined],
  ['203.0.113.9', true, [203, 0, 113, 0], undefined],
  ['203.0.113.9:80', false, [0, 0, 0, 0], '203.0.113.9:80'],
  ['203.0.113.9:80', true, [0, 0, 0, 0], undefined],
])('an address that cannot be read stays in the context, but not where addresses are cut: %s, %p', (...row) => {
  const [ip, anonymizeIp, lastBytes, kept] = row
  const event = makeEvent()
  takeContext(event, { ip, timezone: 'Europe/Vienna' }, { anonymizeIp })
  expect(Array.from(event.ip.subarray(12))).toEqual(lastBytes)
  expect(event.context.ip).toBe(kept)
  expect(event.context.timezone).toBe('Europe/Vienna')
})
