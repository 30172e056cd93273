import { expect, test } from 'bun:test'
import { crashLoop } from './crash-loop.ts'

/** Another seed at every run; a failure names it. */
const SEED = Math.floor(Math.random() * 2 ** 31)

test.each([
  { kills: 24, external: false, where: 'embedded' },
  { kills: 8, external: true, where: 'at CLICKHOUSE_URL' },
])(
  `kill -9 at random moments, $kills times, ClickHouse $where: what was acknowledged is stored and counted once (seed ${SEED})`,
  async ({ kills, external }) => {
    const { lost, doubled, unknown, errors, counts, ...found } = await crashLoop({ kills, seed: SEED, external })
    expect({ lost, doubled, unknown, errors, seed: SEED }).toEqual({
      lost: [],
      doubled: [],
      unknown: [],
      errors: [],
      seed: SEED,
    })
    expect(counts.minute).toEqual(counts.events)
    expect(counts.hour).toEqual(counts.events)
    expect(counts.day).toEqual(counts.events)
    expect(found.miscounted).toEqual([])
    const stored = Object.values(counts.events).reduce((sum, count) => sum + count, 0)
    expect(stored).toBe(found.acknowledged + found.unansweredStored)
    expect(found).toMatchObject({ damagedRecords: 0 })
    expect(found.acknowledged).toBeGreaterThan(kills * 100)
  },
  600_000,
)
