/**
 * Who may send to ClickHouse, and when. While it works: so many at once. After a failure: one alone, after a wait that grows from
 * failure to failure, whoever it is; the others wait for how that goes. So an outage costs one request per wait, not one per
 * segment. The waits have full jitter (any length up to the limit), so that many collectors do not come back all at once.
 */
import assert from 'node:assert/strict'

/** How long to wait after failures. */
export interface TurnsOptions {
  /** Turns at the same time while all is well. */
  readonly turnsMax: number
  /** Longest wait after the first failure; twice as long after each further one … */
  readonly retryMinMs: number
  /** … up to this. */
  readonly retryMaxMs: number
}

/** How a turn went: `well`: ClickHouse works. `badly`: it does not. `unclear`: the turn says nothing about ClickHouse as a whole. */
export type TurnOutcome = 'well' | 'badly' | 'unclear'

/** A permission to send one request; settle it once. */
export interface Turn {
  settle(outcome: TurnOutcome): void
}

/** Hands out turns; see the head of the file. */
export class Turns {
  readonly #options: TurnsOptions
  readonly #waiting = new Set<() => void>()
  #taken = 0
  #failures = 0
  #retryAt = 0
  #isProbing = false
  /** Counts changes between working and not: a request sent before a failure became known is not one more failure. */
  #epoch = 0

  constructor(options: TurnsOptions) {
    assert(options.turnsMax > 0)
    this.#options = options
  }

  /** Turns taken and not settled. */
  get taken(): number {
    return this.#taken
  }

  /** Failures since ClickHouse last worked. */
  get failures(): number {
    return this.#failures
  }

  /** Waits for a turn; undefined when the signal came first. */
  async take(signal: AbortSignal): Promise<Turn | undefined> {
    for (;;) {
      if (signal.aborted) return undefined
      let waitMs = Number.POSITIVE_INFINITY
      if (this.#failures === 0) {
        if (this.#taken < this.#options.turnsMax) return this.#turn(false)
      } else if (!this.#isProbing) {
        waitMs = this.#retryAt - performance.now()
        if (waitMs <= 0) return this.#turn(true)
      }
      await this.#change(waitMs, signal)
    }
  }

  /** Waits a random part of `durationMs`, or until ClickHouse works again, or the signal. */
  async pause(durationMs: number, signal: AbortSignal): Promise<void> {
    const until = performance.now() + Math.random() * durationMs
    const wasFailing = this.#failures > 0
    for (;;) {
      const leftMs = until - performance.now()
      if (leftMs <= 0 || signal.aborted || (wasFailing && this.#failures === 0)) return
      await this.#change(leftMs, signal)
    }
  }

  /** Whoever waits tries at once. */
  hurry(): void {
    this.#retryAt = 0
    this.#wake()
  }

  #turn(isProbe: boolean): Turn {
    const epoch = this.#epoch
    let isSettled = false
    this.#taken += 1
    if (isProbe) this.#isProbing = true
    return {
      settle: (outcome) => {
        assert(!isSettled, 'a turn is settled once')
        isSettled = true
        this.#taken -= 1
        if (isProbe) this.#isProbing = false
        if (outcome === 'well' && this.#failures > 0) {
          this.#failures = 0
          this.#epoch += 1
        }
        if (outcome === 'badly' && epoch === this.#epoch) {
          const { retryMinMs, retryMaxMs } = this.#options
          this.#retryAt = performance.now() + Math.random() * Math.min(retryMaxMs, retryMinMs * 2 ** this.#failures)
          this.#failures += 1
          this.#epoch += 1
        }
        this.#wake()
      },
    }
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }

  /** Resolves at the next change, after the time, or at the signal. */
  #change(waitMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        this.#waiting.delete(done)
        resolve()
      }
      const timer = Number.isFinite(waitMs) ? setTimeout(done, Math.ceil(waitMs)) : undefined
      signal.addEventListener('abort', done, { once: true })
      this.#waiting.add(done)
    })
  }
}
