/** Which files of a log an erasure waits for. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { untilFlushed } from '../../src/erase/unflushed.ts'

let dataDir: string
const pathOf = (log: string, name: string) => join(dataDir, log, `0000000000000000000${name}`)

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'penstock-unflushed-'))
  for (const log of ['log', 'log-1']) mkdirSync(join(dataDir, log))
})

afterEach(() => rmSync(dataDir, { recursive: true }))

function wait(waitMs: number) {
  const config = { durability: 'fsync', host: '127.0.0.1', port: 1, workers: 1, flushIntervalMs: 0, dataDir } as const
  return untilFlushed({ config, collectors: [], waitMs })
}

test.each(['1.open', '1.sealed'])('a segment that is not stored is waited for: %s', async (name) => {
  writeFileSync(pathOf('log-1', name), 'events')
  expect(await wait(0)).toMatchObject({ problem: 'not_flushed' })
})

test('files of stored segments that wait to be written over are not waited for, in the log of a worker or of none', async () => {
  for (const log of ['log', 'log-1']) writeFileSync(pathOf(log, '1.spare'), 'events')
  expect(await wait(0)).toBeUndefined()
})

test('a segment is waited for until it is stored, and not for a newer one', async () => {
  writeFileSync(pathOf('log', '1.sealed'), 'events')
  const waiting = wait(60_000)
  writeFileSync(pathOf('log', '2.open'), 'new events')
  renameSync(pathOf('log', '1.sealed'), pathOf('log', '1.spare'))
  expect(await waiting).toBeUndefined()
})
