/**
 * A collector in small, to be killed: commits blocks as fast as it can and "inserts" sealed segments into a file.
 * Usage: bun commit-loop.ts <log directory> <name of this run> <file of acknowledged blocks> <file of inserts>
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { WriteAheadLog } from '../../src/log/write-ahead-log.ts'
import { blockOf, KIB, logOptions, readBlocks } from './support.ts'

const [directory = '', run = '', acknowledgedPath = '', insertsPath = ''] = process.argv.slice(2)
const acknowledged = openSync(acknowledgedPath, 'a')
const inserts = openSync(insertsPath, 'a')
const log = await WriteAheadLog.open(
  logOptions(directory, { segmentBytes: 20 * KIB, flushIntervalMs: 5, ringBytes: 100 * KIB }),
)

async function insertSegments(): Promise<void> {
  for (let segment = await log.takeSealed(); segment !== undefined; segment = await log.takeSealed()) {
    const blocks = await readBlocks(log, segment)
    writeSync(inserts, `${JSON.stringify({ token: segment.token, blocks })}\n`)
    await log.release(segment)
  }
}

const inserting = insertSegments()
// With a name of "drain" it only inserts what is left.
for (let number = 0; run !== 'drain'; number += 1) {
  const blocks = [`${run}/${number}/a`, `${run}/${number}/b`.padEnd(number % 3000, '.')]
  const outcome = await log.commit(blocks.map((block) => blockOf(block)))
  if (outcome !== 'durable') throw new Error(outcome)
  writeSync(acknowledged, `${blocks.join('\n')}\n`)
}
await log.close()
await inserting
await log.dispose()
closeSync(inserts)
closeSync(acknowledged)
