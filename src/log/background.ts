import { setTimeout as sleep } from 'node:timers/promises'

/** A piece of work on files that must succeed in the end. */
interface Job {
  readonly attempt: () => Promise<void>
  /** Called after each attempt; `error` is undefined when the job is done. */
  readonly firstAttempt: (worked: boolean) => void
  attempts: number
  /** On the clock of `performance.now`, ms. */
  dueAt: number
}

/** What the loop needs from its owner. */
export interface BackgroundOptions {
  /** Waits between attempts double from this, ms. */
  readonly retryMinMs: number
  /** … to this. */
  readonly retryMaxMs: number
  /** Called in each round, before the jobs; returns when it wants to be called again at the latest, in ms. */
  readonly tick: () => number
  /** An attempt failed; it is made again. */
  readonly onError: (error: unknown, attempts: number) => void
}

/**
 * One loop for all that the log does beside commits: jobs on files, one at a time, repeated with growing waits until they
 * work, and the tick that seals by age. It sleeps until something is due or it is woken, and stop awaits it.
 */
export class Background {
  readonly #options: BackgroundOptions
  #jobs: Job[] = []
  #isStopping = false
  #wake = new AbortController()
  #running: Promise<void> | undefined

  constructor(options: BackgroundOptions) {
    this.#options = options
  }

  /** Jobs that failed and are tried again. */
  get retrying(): number {
    let count = 0
    for (const job of this.#jobs) if (job.attempts > 0) count += 1
    return count
  }

  start(): void {
    this.#running = this.#run()
  }

  /** Adds a job; resolves after its first attempt, with whether it worked. */
  add(attempt: () => Promise<void>): Promise<boolean> {
    return new Promise((resolve) => {
      this.#jobs.push({ attempt, firstAttempt: resolve, attempts: 0, dueAt: 0 })
      if (this.#running === undefined) this.start()
      this.wake()
    })
  }

  /** Makes the loop look at once whether something is to be done. */
  wake(): void {
    this.#wake.abort()
  }

  /** Tries each job that is left once more, also those added meanwhile, then ends the loop. What still fails is left to the next start. */
  async stop(): Promise<void> {
    this.#isStopping = true
    this.wake()
    await this.#running
    for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) await this.#try(job)
    this.#running = undefined
    this.#isStopping = false
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      this.#wake = new AbortController()
      let waitMs = this.#options.tick()
      const due = this.#jobs.filter((job) => job.dueAt <= performance.now())
      for (const job of due) {
        if (await this.#try(job)) this.#jobs.splice(this.#jobs.indexOf(job), 1)
      }
      if (due.length > 0) continue
      for (const job of this.#jobs) waitMs = Math.min(waitMs, job.dueAt - performance.now())
      await this.#sleep(waitMs)
    }
  }

  async #try(job: Job): Promise<boolean> {
    let worked = true
    try {
      await job.attempt()
    } catch (error) {
      worked = false
      job.attempts += 1
      const waitMs = this.#options.retryMinMs * 2 ** Math.min(job.attempts - 1, 20)
      job.dueAt = performance.now() + Math.min(waitMs, this.#options.retryMaxMs)
      this.#options.onError(error, job.attempts)
    }
    job.firstAttempt(worked)
    return worked
  }

  async #sleep(waitMs: number): Promise<void> {
    if (waitMs <= 0) return
    try {
      await sleep(Math.min(waitMs, 60_000), undefined, { signal: this.#wake.signal })
    } catch {
      // Woken.
    }
  }
}
