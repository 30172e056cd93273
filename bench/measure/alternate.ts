/** Loads that are compared: one after the other and all of them again, so that what else happens on the machine meets all alike. */
import type { Bench, Figures, Row } from '../scenario.ts'
import type { Measured } from './load.ts'

/** One of the loads. */
export interface Side {
  readonly label: string
  measure(): Promise<Measured>
}

/** What was measured, a row for each side: the mean of its rounds; the highest, where a figure is the most that there was. */
export interface Alternated {
  readonly rows: readonly Row[]
  readonly notes: readonly string[]
  /** Each round by itself, in the order in which they ran. */
  readonly series: readonly object[]
  /** A row called `label`: rates and CPU an event of one side, divided by those of another. Both are named by their labels. */
  ratio(label: string, side: string, base: string): Row
}

/** Runs the sides in turns, for so many rounds. */
export async function alternate(bench: Bench, sides: readonly Side[], rounds: number): Promise<Alternated> {
  const found = new Map<string, Figures[]>(sides.map(({ label }) => [label, []]))
  const notes: string[] = []
  const series: object[] = []
  for (let round = 1; round <= rounds; round++) {
    for (const side of sides) {
      bench.say(rounds === 1 ? side.label : `${side.label} (${round} of ${rounds})`)
      const measured = await side.measure()
      found.get(side.label)?.push(measured.figures)
      series.push({ label: side.label, round, ...measured.figures })
      notes.push(...measured.notes.map((note) => `${side.label}: ${note}`))
    }
  }
  const rows = sides.map(({ label }) => ({ label, figures: summarize(found.get(label) ?? []) }))
  const figuresOf = (label: string) => rows.find((row) => row.label === label)?.figures ?? {}
  return {
    rows,
    notes: [...new Set(notes)],
    series,
    ratio(label, side, base) {
      const [upper, lower] = [figuresOf(side), figuresOf(base)]
      const quotient = (name: keyof Figures) => (upper[name] ?? 0) / (lower[name] ?? 0)
      const figures = {
        rateRatio: quotient('endToEndEventsPerSecond'),
        acknowledgedRatio: quotient('acknowledgedEventsPerSecond'),
        penstockCpuRatio: quotient('penstockCpuUs'),
        clickhouseCpuRatio: quotient('clickhouseCpuUs'),
      }
      return { label, figures }
    },
  }
}

/** The mean of every figure; of peaks the highest. */
export function summarize(rounds: readonly Figures[]): Figures {
  const names = [...new Set(rounds.flatMap((figures) => Object.keys(figures)))] as (keyof Figures)[]
  const summary: { -readonly [Name in keyof Figures]: number } = {}
  for (const name of names) {
    const values = rounds.flatMap((figures) => figures[name] ?? [])
    const sum = values.reduce((total, value) => total + value, 0)
    summary[name] = name === 'peakRssMiB' ? Math.max(...values) : sum / values.length
  }
  return summary
}
