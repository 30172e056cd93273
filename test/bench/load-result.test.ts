import { expect, test } from 'bun:test'
import { parseLoad } from '../../bench/load/result.ts'

const OUTPUT = `Running 5s test @ http://127.0.0.1:3000
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    11.25ms    7.90ms 117.83ms   93.05%
  4070 requests in 5.00s, 1.05MB read
Requests/sec:    813.59
RESULT {"requests":4070,"durationUs":5002512,"errors":{"connect":1,"read":2,"write":3,"status":4,"timeout":5},"p50Us":34411,"p99Us":117511,"p999Us":117800,"maxUs":117831,"lateShare":0.0125}
`

test('the result of a load is read from the line that the script prints, times in milliseconds', () => {
  expect(parseLoad(OUTPUT, 'wrk', 42)).toEqual({
    generator: 'wrk',
    requests: 4070,
    durationMs: 5002.512,
    refused: 4,
    broken: 11,
    p50Ms: 34.411,
    p99Ms: 117.511,
    p999Ms: 117.8,
    maxMs: 117.831,
    lateShare: 0.0125,
    endedAt: 42,
  })
})

test('output without a result, or with a figure missing, is an error and not a load of zero requests', () => {
  expect(() => parseLoad('unable to connect to 127.0.0.1:1 Connection refused', 'wrk', 0)).toThrow('no result')
  expect(() => parseLoad('RESULT {"requests":1,"errors":{}}', 'bun', 0)).toThrow('lacks a figure')
})
