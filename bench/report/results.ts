/** The results of a run as a JSON file. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ScenarioResult } from '../scenario.ts'
import type { Machine } from '../system/machine.ts'
import type { Mark } from './targets.ts'

/** What became of one scenario. */
export interface Outcome {
  readonly scenario: string
  readonly result?: ScenarioResult
  /** Why it failed. */
  readonly error?: string
}

export interface Results {
  readonly machine: Machine
  readonly generator: string
  readonly seconds: number
  readonly isShort: boolean
  readonly outcomes: readonly Outcome[]
  readonly marks: readonly Mark[]
}

const DIRECTORY = join(import.meta.dir, '../results')

/** Writes the file, named by the date, and gives its path. */
export function writeResults(results: Results): string {
  mkdirSync(DIRECTORY, { recursive: true })
  const path = join(DIRECTORY, `${results.machine.date.replaceAll(/[:.]/g, '-')}.json`)
  const marks = results.marks.map(({ target, value, isMet }) => ({ ...target, value, isMet }))
  writeFileSync(path, `${JSON.stringify({ ...results, marks }, undefined, 2)}\n`)
  return path
}
