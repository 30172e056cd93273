import { expect, test } from 'bun:test'
import { fuzz } from './fuzz.ts'

const REQUESTS = 3_000
/** Another seed at every run; a failure names it. */
const SEED = Math.floor(Math.random() * 2 ** 31)

test(`${REQUESTS} random requests to every operation that is documented: every answer is one that is documented, and what was accepted is stored and counted, no more and no less (seed ${SEED})`, async () => {
  const { violations, answers, accepted, copies } = await fuzz({ requests: REQUESTS, seed: SEED })
  expect(violations).toEqual([])
  const statuses = Object.values(answers).flatMap((byStatus) => Object.keys(byStatus))
  for (const status of ['200', '201', '202', '400', '401', '403', '404', '405', '413', '415'])
    expect(statuses).toContain(status)
  expect(accepted).toBeGreaterThan(REQUESTS / 2)
  expect(copies).toBeGreaterThan(0)
}, 240_000)
