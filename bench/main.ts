/** `bun run bench [scenario …] [--seconds n] [--short]`: measures Penstock, and fails when an event is lost or doubled. */
import { Command, InvalidArgumentError } from 'commander'
import { reasonOf } from '../src/problem.ts'
import { GENERATOR } from './load/generator.ts'
import { type Outcome, writeResults } from './report/results.ts'
import { renderMarks, renderRows } from './report/table.ts'
import { checkTargets } from './report/targets.ts'
import type { Bench, Scenario } from './scenario.ts'
import { SCENARIOS } from './scenarios/index.ts'
import { startOwnClickHouse } from './system/clickhouse.ts'
import { describeMachine, hasProc } from './system/machine.ts'
import { Resources } from './system/resources.ts'

const SECONDS = 10
const SECONDS_SHORT = 1

interface Options {
  readonly seconds?: number
  readonly events?: number
  readonly short?: boolean
}

await new Command('bench')
  .description('Measures Penstock with its embedded ClickHouse. Every scenario ends with an exact count of the events.')
  .argument('[scenario...]', SCENARIOS.map(({ name, title }) => `\n  ${name}: ${title}`).join(''))
  .option('--seconds <n>', `whole seconds of each load (${SECONDS})`, readSeconds)
  .option('--events <n>', 'events that `queries` loads (50000000)', readEvents)
  .option('--short', 'a smoke test of less than a minute: the counts matter, the figures do not')
  .action(main)
  .parseAsync()

async function main(names: readonly string[], options: Options): Promise<void> {
  if (!hasProc()) throw new Error('the bench reads CPU and memory from /proc, which only Linux has')
  const isShort = options.short === true
  const seconds = options.seconds ?? (isShort ? SECONDS_SHORT : SECONDS)
  const scenarios = choose(names, isShort)
  const machine = describeMachine()
  machine.clickhouse = await versionOfClickHouse()
  say(
    Object.entries(machine)
      .map(([name, value]) => `${name}: ${value}`)
      .join(' · '),
  )
  say(`load generator: ${GENERATOR}`)

  const outcomes: Outcome[] = []
  for (const scenario of scenarios)
    outcomes.push(await runScenario(scenario, { seconds, isShort, ...(options.events && { events: options.events }) }))

  const measurements = new Map(outcomes.map(({ scenario, result }) => [scenario, result?.rows ?? []]))
  const marks = checkTargets(measurements)
  if (marks.length > 0) say(`\nTargets${isShort ? ' (a short run decides nothing)' : ''}\n${renderMarks(marks)}`)
  say(writeResults({ machine, generator: GENERATOR, seconds, isShort, outcomes, marks }))

  const failed = outcomes.filter(({ error }) => error !== undefined)
  for (const { scenario, error } of failed) say(`FAILED ${scenario}: ${error}`)
  process.exit(failed.length === 0 ? 0 : 1)
}

async function runScenario(scenario: Scenario, plan: Pick<Bench, 'seconds' | 'events' | 'isShort'>): Promise<Outcome> {
  const resources = new Resources()
  const interrupted = () => void resources.close().then(() => process.exit(130))
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  const begun = performance.now()
  say(`\n${scenario.name}: ${scenario.title}`)
  try {
    const result = await scenario.run({ ...plan, resources, say: (message) => say(`  … ${message}`) })
    say(renderRows(result.rows).trimEnd())
    for (const note of result.notes ?? []) say(`  note: ${note}`)
    say(`  (${Math.round((performance.now() - begun) / 1000)} s)`)
    return { scenario: scenario.name, result }
  } catch (error) {
    say(`  FAILED: ${reasonOf(error)}`)
    return { scenario: scenario.name, error: reasonOf(error) }
  } finally {
    await resources.close()
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
  }
}

function choose(names: readonly string[], isShort: boolean): readonly Scenario[] {
  if (names.length === 0)
    return SCENARIOS.filter((scenario) => (isShort ? scenario.isInShort : scenario.isOnRequest !== true))
  const unknown = names.find((name) => !SCENARIOS.some((scenario) => scenario.name === name))
  if (unknown !== undefined) {
    const known = SCENARIOS.map(({ name }) => name).join(', ')
    process.stderr.write(`error: no scenario ${unknown}: choose of ${known}\n`)
    process.exit(1)
  }
  return SCENARIOS.filter(({ name }) => names.includes(name))
}

async function versionOfClickHouse(): Promise<string> {
  const resources = new Resources()
  try {
    const { clickhouse } = await startOwnClickHouse(resources)
    return await clickhouse.with('system').query('SELECT version()')
  } finally {
    await resources.close()
  }
}

function readSeconds(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new InvalidArgumentError('a whole number of seconds from 1 to 9999')
  return Number(text)
}

function readEvents(text: string): number {
  if (!/^[1-9]\d{3,9}$/.test(text)) throw new InvalidArgumentError('a number of events from 1000 to 9999999999')
  return Number(text)
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
