/** `penstock repair-deduplication`: mends the deduplication logs of a ClickHouse server that was killed, before it is started again. */
import { readdirSync } from 'node:fs'
import { reasonOf } from '../problem.ts'
import { type DeduplicationRepair, repairDeduplicationLogs } from '../sink/deduplication-repair.ts'
import { whileNoEngineLives } from '../sink/engine-directory.ts'
import { CommandFailure, printJson, printTable } from './session.ts'

/** `directories`: the server's `path`, then the paths of its other disks, if it has any. */
export async function repairDeduplication(directories: readonly string[], options: { json?: boolean }): Promise<void> {
  const empty = directories.filter(isEmpty)
  const repair = await whileStopped(directories, () => repairDeduplicationLogs(directories))
  if (options.json) return printJson(repair)
  for (const directory of empty) process.stdout.write(`empty, no ClickHouse has run here yet: ${directory}\n`)
  for (const file of repair.unreadable) process.stdout.write(`left as it is, not a readable log: ${file}\n`)
  for (const file of repair.cut) process.stdout.write(`cut off a torn line: ${file}\n`)
  if (repair.dropped.length === 0) return void process.stdout.write('no record without its part\n')
  printTable([
    ['dropped', 'block id', 'table'],
    ...repair.dropped.map((orphan) => [orphan.part, orphan.blockId, orphan.table]),
  ])
}

/** Fails for what is no directory of ClickHouse's: to find nothing there would look as if all were well. */
function isEmpty(directory: string): boolean {
  let names: readonly string[]
  try {
    names = readdirSync(directory)
  } catch (error) {
    throw new CommandFailure(`${directory} cannot be read: ${reasonOf(error)}`)
  }
  if (names.length > 0 && !names.includes('store'))
    throw new CommandFailure(`${directory} is no data directory of ClickHouse: there is no store in it`)
  return names.length === 0
}

async function whileStopped(
  directories: readonly string[],
  work: () => Promise<DeduplicationRepair>,
): Promise<DeduplicationRepair> {
  const [directory, ...others] = directories
  if (directory === undefined) return await work()
  const repair = await whileNoEngineLives(directory, () => whileStopped(others, work))
  if (repair === undefined) throw new CommandFailure(`a ClickHouse runs on ${directory}: stop it first`)
  return repair
}
