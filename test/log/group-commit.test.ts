import { expect, test } from 'bun:test'
import type { Batch } from '../../src/batch.ts'
import type { CommitOutcome, EncodedBlock, EventLog } from '../../src/log/event-log.ts'
import { GroupCommit } from '../../src/log/group-commit.ts'
import { EventBlock } from '../../src/native/event-block.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { batchOf, makeEvent } from '../support/events.ts'

const logger = createLogger({ level: 'silent' })

/** A log whose commits end when the test says so. */
class HeldLog {
  readonly commits: { rows: number; end: (outcome: CommitOutcome) => void }[] = []
  readonly log = {
    commit: ([block]: readonly EncodedBlock[]) =>
      new Promise<CommitOutcome>((end) => this.commits.push({ rows: block?.rows ?? 0, end })),
  } as Partial<EventLog> as EventLog

  /** Waits for the commit of this position and ends it. */
  async end(position: number, outcome: CommitOutcome = 'durable'): Promise<number> {
    while (this.commits[position] === undefined) await Bun.sleep(1)
    this.commits[position].end(outcome)
    return this.commits[position].rows
  }
}

function events(count: number) {
  return batchOf(...Array.from({ length: count }, () => makeEvent()))
}

test('what arrives in one turn of the event loop is one commit', async () => {
  const held = new HeldLog()
  const commit = new GroupCommit({ logger, log: held.log, blockBytesMax: 1e6 })
  const appended = [commit.append(events(2)), commit.append(events(3))]
  expect(await held.end(0)).toBe(5)
  expect(await Promise.all(appended)).toEqual(['durable', 'durable'])
})

test('while a commit runs, what arrives gathers for the next one', async () => {
  const held = new HeldLog()
  const commit = new GroupCommit({ logger, log: held.log, blockBytesMax: 1e6 })
  const first = commit.append(events(1))
  while (held.commits.length === 0) await Bun.sleep(1)
  const others = [commit.append(events(1)), commit.append(events(1))]
  await Bun.sleep(5)
  expect(held.commits.length).toBe(1)
  await held.end(0)
  expect(await first).toBe('durable')
  expect(await held.end(1)).toBe(2)
  expect(await Promise.all(others)).toEqual(['durable', 'durable'])
})

test('a refused commit keeps nothing and does not concern the next one', async () => {
  const held = new HeldLog()
  const commit = new GroupCommit({ logger, log: held.log, blockBytesMax: 1e6 })
  const refused = commit.append(events(2))
  await held.end(0, 'disk_full')
  expect(await refused).toBe('disk_full')
  expect(commit.lastRefusal?.outcome).toBe('disk_full')
  const next = commit.append(events(1))
  expect(await held.end(1)).toBe(1)
  expect(await next).toBe('durable')
  expect(commit.lastRefusal).toBeUndefined()
  expect(commit.totals.events).toBe(1)
})

test('a full block lets the next request wait for its turn', async () => {
  const held = new HeldLog()
  const commit = new GroupCommit({ logger, log: held.log, blockBytesMax: 2000 })
  const first = commit.append(events(1))
  while (held.commits.length === 0) await Bun.sleep(1)
  const second = commit.append(events(50))
  const third = commit.append(events(7))
  await held.end(0)
  expect(await held.end(1)).toBe(50)
  expect(await held.end(2)).toBe(7)
  expect(await Promise.all([first, second, third])).toEqual(['durable', 'durable', 'durable'])
})

test('closing waits for what was taken and takes nothing more', async () => {
  const held = new HeldLog()
  const commit = new GroupCommit({ logger, log: held.log, blockBytesMax: 1e6 })
  const taken = commit.append(events(1))
  const closed = commit.close()
  expect(await commit.append(events(1))).toBe('closed')
  await held.end(0)
  await closed
  expect(await taken).toBe('durable')
})

test('a commit that throws is a failed one: its requests are answered, nothing stands still', async () => {
  const held = new HeldLog()
  let throwing = true
  const log = {
    commit: async (blocks: readonly EncodedBlock[]) => {
      if (throwing) throw new Error('a bug')
      return await held.log.commit(blocks)
    },
  } as Partial<EventLog> as EventLog
  const commit = new GroupCommit({ logger, log, blockBytesMax: 1e6 })
  expect(await Promise.all([commit.append(events(2)), commit.append(events(1))])).toEqual(['io_error', 'io_error'])
  expect([commit.lastRefusal?.outcome, commit.refusals.io_error, commit.totals.events]).toEqual(['io_error', 1, 0])
  throwing = false
  const next = commit.append(events(4))
  expect(await held.end(0)).toBe(4)
  expect(await next).toBe('durable')
  await commit.close()
})

/** Events of which one cannot be encoded, when others have been and some of its own columns are written. */
function broken(): Batch {
  const properties = {
    before: 1,
    get broken(): never {
      throw new Error('a bug')
    },
  }
  const batch = events(1)
  batch.appendTo = (blocks) => {
    blocks.events.append(makeEvent({ type: 'of the broken batch' }))
    blocks.events.append(makeEvent({ properties }))
  }
  return batch
}

test('events that cannot be encoded fail all that gather with them, and leave nothing behind', async () => {
  const commits: Buffer[] = []
  const log = {
    commit: async ([block]: readonly EncodedBlock[]) => {
      const bytes = Buffer.alloc(block?.byteLength ?? 0)
      block?.writeTo(bytes, 0)
      commits.push(bytes)
      return 'durable'
    },
  } as Partial<EventLog> as EventLog
  const commit = new GroupCommit({ logger, log, blockBytesMax: 1e6 })
  const eventId = '018f2f5e-6b2c-7d4f-8e3a-4b5c6d7e8f90'
  const good = () => makeEvent({ eventId, properties: { after: true } })
  for (let round = 0; round < 3; round++) {
    const failed = [commit.append(batchOf(good())), commit.append(broken())]
    const next = commit.append(batchOf(good()))
    expect(await Promise.all(failed)).toEqual(['io_error', 'io_error'])
    expect(await next).toBe('durable')
  }
  const block = new EventBlock()
  block.append(good())
  const wanted = Buffer.alloc(block.byteLength)
  block.writeTo(wanted, 0)
  expect(commits).toEqual([wanted, wanted, wanted])
  await commit.close()
})

test('a batch that fails alone lets the collector go on, also when it comes before the commit has begun', async () => {
  const held = new HeldLog()
  const commit = new GroupCommit({ logger, log: held.log, blockBytesMax: 1e6 })
  const first = commit.append(events(1))
  await held.end(0)
  expect(await first).toBe('durable')
  expect(await commit.append(broken())).toBe('io_error')
  await Bun.sleep(5)
  expect(held.commits.length).toBe(1)
  const next = commit.append(events(3))
  expect(await held.end(1)).toBe(3)
  expect(await next).toBe('durable')
})
