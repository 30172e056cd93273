import { expect, spyOn, test } from 'bun:test'
import { probePort } from '../src/port.ts'

const HOST = '127.0.0.1'

test('a free port is given once, although nobody listens there yet', () => {
  const numbers = [0.5, 0.5, 0.25]
  const random = spyOn(Math, 'random').mockImplementation(() => numbers.shift() ?? 0)
  const ports = [probePort(HOST, 0), probePort(HOST, 0)]
  random.mockRestore()
  expect(new Set(ports).size).toBe(2)
  expect(numbers).toEqual([])
})

test('a port that somebody has cannot be had', () => {
  using server = Bun.listen({ hostname: HOST, port: 0, socket: { data() {} } })
  expect(() => probePort(HOST, server.port)).toThrow()
})
