/**
 * Asks dependencies how they are when metrics are read, without letting the reader wait: what is known after a moment is told, and an answer
 * that comes later is there for the next one.
 */
import type { DependencyHealth } from '../http/service.ts'
import { singleFlight } from '../single-flight.ts'
import { withTimeout } from '../timeout.ts'

export type Dependencies = Readonly<Record<string, DependencyHealth>>

/** A healthy dependency answers faster; one that hangs is given up after 2 s, in the background. */
const WAIT_MS = 300

/** See the head of this file. */
export class DependencyWatch {
  readonly #refresh: () => Promise<void>
  #known: Dependencies = {}

  /** @param check must end by itself */
  constructor(check: () => Promise<Dependencies>) {
    this.#refresh = singleFlight(async () => {
      this.#known = await check()
    })
  }

  /** The latest answers, at most those of the time before; nothing when there was none yet. Never rejects. */
  async read(): Promise<Dependencies> {
    await withTimeout(this.#refresh(), WAIT_MS).catch(() => undefined)
    return this.#known
  }
}
