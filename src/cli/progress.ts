/** A bar on stderr while something long is going on; nothing where nobody looks at a terminal. */
import { Presets, SingleBar } from 'cli-progress'

/** How far something is. */
export interface Progress {
  add(count: number): void
  /** Leaves the bar as it is. */
  stop(): void
}

/** Begins a bar from 0 to `total`. `what` are the things counted, in the plural. */
export function showProgress(total: number, what: string): Progress {
  if (!process.stderr.isTTY) return { add: () => undefined, stop: () => undefined }
  const format = `{bar} {percentage} %  {value} of {total} ${what}  {duration_formatted}, {eta_formatted} left`
  const bar = new SingleBar({ format, stream: process.stderr, formatValue }, Presets.shades_classic)
  bar.start(total, 0)
  return { add: (count) => bar.increment(count), stop: () => bar.stop() }
}

/** A count as people read it: 200,000. */
export function shown(count: number): string {
  return count.toLocaleString('en-US')
}

function formatValue(value: number, _options: unknown, type: string): string {
  return type === 'value' || type === 'total' ? shown(value) : String(value)
}
