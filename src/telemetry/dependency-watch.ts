/**
 * Asks dependencies how they are when metrics are read, without letting the reader wait: what is known after a moment is told, and an answer
 * that comes later is there for the next one.
 */
import type { DependencyHealth } from '../http/service.ts'
import { withTimeout } from '../timeout.ts'

export type Dependencies = Readonly<Record<string, DependencyHealth>>

/** A healthy dependency answers faster; one that hangs is given up after 2 s, in the background. */
const WAIT_MS = 300

/** See the head of this file. */
export class DependencyWatch {
  readonly #check: () => Promise<Dependencies>
  #known: Dependencies = {}
  #checking: Promise<void> | undefined

  /** @param check must end by itself */
  constructor(check: () => Promise<Dependencies>) {
    this.#check = check
  }

  /** The latest answers, at most those of the time before; nothing when there was none yet. Never rejects. */
  async read(): Promise<Dependencies> {
    this.#checking ??= this.#check()
      .then(
        (found) => {
          this.#known = found
        },
        () => undefined,
      )
      .finally(() => {
        this.#checking = undefined
      })
    await withTimeout(this.#checking, WAIT_MS).catch(() => undefined)
    return this.#known
  }
}
