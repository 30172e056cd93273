/** The shape that every scenario has, and what it gives. */
import type { Resources } from './system/resources.ts'

/** One scenario: a file in `scenarios/`, named in `scenarios/index.ts`. */
export interface Scenario {
  /** On the command line. */
  readonly name: string
  /** One sentence: what is measured. */
  readonly title: string
  /** Part of the smoke test of `--short`. */
  readonly isInShort: boolean
  /** Runs when it is named, and in the smoke test: it takes long, or much room. */
  readonly isOnRequest?: boolean
  run(bench: Bench): Promise<ScenarioResult>
}

/** What a scenario gets. */
export interface Bench {
  /** Ended and removed after the scenario. */
  readonly resources: Resources
  /** Of one load, in whole seconds. */
  readonly seconds: number
  /** That a scenario loads beforehand; undefined: as many as it likes. */
  readonly events?: number
  /** A smoke test: everything as small as it can be, figures mean nothing. */
  readonly isShort: boolean
  /** Says what is going on. */
  say(message: string): void
}

/** What one line of a scenario's table says. Units last; see `report/figures.ts` for what each one means. */
export interface Figures {
  readonly connections?: number
  readonly events?: number
  readonly endToEndEventsPerSecond?: number
  readonly acknowledgedEventsPerSecond?: number
  readonly requestsPerSecond?: number
  readonly p50Ms?: number
  readonly p99Ms?: number
  readonly p999Ms?: number
  readonly penstockCpuUs?: number
  readonly insertCpuUs?: number
  readonly viewsCpuUs?: number
  readonly clickhouseCpuUs?: number
  readonly insertAddedCpuUs?: number
  readonly mergeCpuUs?: number
  readonly addedCpuUs?: number
  readonly peakRssMiB?: number
  readonly ringMiB?: number
  readonly outageEventsPerSecond?: number
  readonly rssAtOutageMiB?: number
  readonly rssGrowthMiB?: number
  readonly backlogEvents?: number
  readonly catchUpEventsPerSecond?: number
  readonly recoveryEventsPerSecond?: number
  readonly firstAcceptMs?: number
  readonly firstQueryableMs?: number
  readonly redisCpuUs?: number
  readonly p99AddedMs?: number
  readonly p99Ratio?: number
  readonly connectionKiB?: number
  readonly slowDowns?: number
  readonly rateRatio?: number
  readonly acknowledgedRatio?: number
  readonly penstockCpuRatio?: number
  readonly clickhouseCpuRatio?: number
  readonly runs?: number
  readonly p95Ms?: number
  readonly rowsRead?: number
  readonly readMiB?: number
  readonly loadedEventsPerSecond?: number
  readonly failures?: number
}

export interface Row {
  readonly label: string
  readonly figures: Figures
}

export interface ScenarioResult {
  readonly rows: readonly Row[]
  /** What the reader of the figures should know, such as merges that had not ended. */
  readonly notes?: readonly string[]
  /** Measured over time, for the JSON only. */
  readonly series?: readonly object[]
}
