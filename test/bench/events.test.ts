import { expect, test } from 'bun:test'
import { EVENT_BYTES_MIN, EventSource, eventJson } from '../../bench/workload/events.ts'

test('events have at least 400 bytes, lie in the last minutes, and come again with the same seed', () => {
  const now = Date.UTC(2026, 0, 2, 3, 4, 5)
  const make = () => {
    const source = new EventSource({ seed: 1, now })
    return Array.from({ length: 1000 }, () => source.event())
  }
  const events = make()
  expect(events).toEqual(make())
  expect(Math.min(...events.map((event) => eventJson(event).length))).toBeGreaterThanOrEqual(EVENT_BYTES_MIN)
  const ages = events.map((event) => now - Date.parse(event.timestamp))
  expect(Math.min(...ages)).toBeGreaterThanOrEqual(0)
  expect(Math.max(...ages)).toBeLessThan(10 * 60_000)
})

test('flat events have exactly the wanted number of properties out of the wanted number of keys', () => {
  const source = new EventSource({ seed: 1, flatKeys: { distinct: 300, perEvent: 5 } })
  const events = Array.from({ length: 5000 }, () => source.event())
  expect(new Set(events.map(({ properties }) => Object.keys(properties).length))).toEqual(new Set([5]))
  expect(new Set(events.flatMap(({ properties }) => Object.keys(properties))).size).toBe(300)
})
