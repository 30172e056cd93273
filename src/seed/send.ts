/**
 * Brings events through a collector's front door, `POST /v1/events` as NDJSON. A request is what the collector takes as one batch, so that it
 * is refused as a whole or not at all; every event has an id, so that a request whose answer was lost can be sent again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Draft } from '../draft.ts'
import { isObject } from '../json.ts'
import { type Problem, problem, reasonOf } from '../problem.ts'

/** Below the 256 KiB that a collector gathers of an upload before it takes a batch. */
const REQUEST_BYTES = 200 * 1024
const REQUESTS_AT_ONCE = 4
const ANSWER_WITHIN_MS = 60_000
/** Gives up when nothing was taken for so long: well within the time for which ids are remembered. */
const PATIENCE_MS = 120_000
const PAUSE_MIN_MS = 250
const PAUSE_MAX_MS = 5_000

export interface SendOptions {
  /** Of the collector, such as http://127.0.0.1:3000. */
  readonly url: string
  readonly key: string
  readonly visits: Iterable<readonly Draft[]>
  /** Told of every request's events that are on disk. */
  readonly onAccepted: (events: number) => void
  /** Told once of a key that may not send as fast as it can. */
  readonly onRateLimit?: (eventsPerMinute: number) => void
  /** Ends it between two requests. */
  readonly signal?: AbortSignal
  /** For tests. Default 120,000. */
  readonly patienceMs?: number
}

/**
 * `unknown_key`: not one of this collector's; `refused`: it will not take the events as they are; `unreachable`: it takes nothing for now;
 * `stopped`: by the signal.
 */
export type SendProblem = Problem<'unknown_key' | 'refused' | 'unreachable' | 'stopped'>

/** Sends everything; resolves when all of it is on the collector's disk. Memory is a few requests. */
export async function send(options: SendOptions): Promise<undefined | SendProblem> {
  return new Sender(options).run()
}

class Sender {
  private readonly options: SendOptions
  private readonly requests: Iterator<Request>
  private failure: SendProblem | undefined
  private takenAtMs = performance.now()
  private isLimitTold = false

  constructor(options: SendOptions) {
    this.options = options
    this.requests = requestsOf(options.visits)
  }

  async run(): Promise<undefined | SendProblem> {
    await Promise.all(Array.from({ length: REQUESTS_AT_ONCE }, () => this.sendNext()))
    return this.failure
  }

  private async sendNext(): Promise<void> {
    for (let next = this.requests.next(); !next.done; next = this.requests.next()) {
      const failure = await this.sendUntilTaken(next.value)
      this.failure ??= failure
      if (this.failure !== undefined) return
    }
  }

  private async sendUntilTaken(request: Request): Promise<undefined | SendProblem> {
    const { signal, patienceMs = PATIENCE_MS } = this.options
    for (let pauseMs = PAUSE_MIN_MS; ; pauseMs = Math.min(pauseMs * 2, PAUSE_MAX_MS)) {
      if (signal?.aborted) return problem('stopped', 'stopped')
      if (this.failure !== undefined) return this.failure
      const answer = await this.post(request)
      if (answer === 'taken') return undefined
      if ('problem' in answer) return answer
      if (answer.isBusy) this.takenAtMs = performance.now()
      if (performance.now() - this.takenAtMs > patienceMs) return problem('unreachable', answer.message)
      await sleep(Math.max(pauseMs, answer.retryAfterMs), undefined, signal && { signal }).catch(() => undefined)
    }
  }

  private async post({ body, events }: Request): Promise<'taken' | Later | SendProblem> {
    const { url, key } = this.options
    let response: Response
    let answer: unknown
    try {
      response = await fetch(`${url}/v1/events`, {
        method: 'POST',
        headers: { 'API-Key': key, 'Content-Type': 'application/x-ndjson' },
        body,
        signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      })
      answer = await response.json().catch(() => undefined)
    } catch (error) {
      return { message: `${url} does not answer: ${reasonOf(error)}`, retryAfterMs: 0, isBusy: false }
    }
    const { status, headers } = response
    this.tellLimit(Number(headers.get('x-ratelimit-limit')))
    if (status === 201) return this.take(answer, events)
    const message = `${url} answers ${status}: ${saidIn(answer)}`
    if (status === 401) return problem('unknown_key', message)
    if (status !== 429 && status < 500) return problem('refused', message)
    return { message, retryAfterMs: Number(headers.get('retry-after')) * 1000, isBusy: status === 429 }
  }

  private take(answer: unknown, events: number): 'taken' | SendProblem {
    const accepted = isObject(answer) ? Number(answer.accepted) : 0
    this.takenAtMs = performance.now()
    this.options.onAccepted(accepted)
    if (accepted === events) return 'taken'
    return problem('refused', `${events - accepted} of ${events} events were refused: ${saidIn(answer)}`)
  }

  private tellLimit(eventsPerMinute: number): void {
    if (this.isLimitTold || !(eventsPerMinute > 0)) return
    this.isLimitTold = true
    this.options.onRateLimit?.(eventsPerMinute)
  }
}

interface Request {
  readonly body: string
  readonly events: number
}

/** Not taken now. */
interface Later {
  readonly message: string
  readonly retryAfterMs: number
  /** It only wants to be asked more slowly. */
  readonly isBusy: boolean
}

function* requestsOf(visits: Iterable<readonly Draft[]>): Generator<Request, void> {
  let lines: string[] = []
  let chars = 0
  for (const drafts of visits) {
    for (const draft of drafts) {
      const line = JSON.stringify(draft)
      // A character has three bytes at most, but nearly all have one.
      if (chars + line.length > REQUEST_BYTES) {
        yield { body: lines.join('\n'), events: lines.length }
        lines = []
        chars = 0
      }
      lines.push(line)
      chars += line.length + 1
    }
  }
  if (lines.length > 0) yield { body: lines.join('\n'), events: lines.length }
}

function saidIn(answer: unknown): string {
  if (!isObject(answer)) return 'no JSON'
  const error = Array.isArray(answer.errors) ? answer.errors[0] : answer.error
  return isObject(error) && typeof error.message === 'string' ? error.message : 'no reason given'
}
