/**
 * Metrics of several workers on one port. A scrape comes to one of them, whichever the kernel chooses. That one asks the supervisor, which
 * asks all, itself included, and the answer has the samples of all, told apart by the label `worker`:
 *
 *     Prometheus → worker 1 → supervisor → workers 0, 1, 2 … → supervisor → worker 1 → Prometheus
 *
 * One that does not answer in time is left out, and `penstock_worker_up` says so.
 */

import { singleFlight } from '../single-flight.ts'
import { METRICS } from './catalogue.ts'

/** What goes over the IPC channel of a worker. `number` says which question an answer is to. */
export type MetricsMessage =
  /** Supervisor to worker: give your metrics. Worker to supervisor: give those of all. */
  | { readonly metricsWanted: number }
  /** Worker to supervisor. */
  | { readonly metricsOf: number; readonly text: string }
  /** Supervisor to worker: what each has said, in the order of their numbers; null: nothing. */
  | { readonly metricsGathered: number; readonly texts: readonly (string | null)[] }

/** How long a worker may take for its own, and how long the one that was asked waits for all. */
const ANSWER_WITHIN_MS = 1_500
const GATHER_WITHIN_MS = 2_000

/** Questions that wait for an answer. */
export class Questions<Answer> {
  #next = 0
  readonly #waiting = new Map<number, (answer: Answer) => void>()

  /** Asks, and gives the answer, or undefined when none has come in time. */
  async ask(send: (number: number) => void, withinMs = ANSWER_WITHIN_MS): Promise<Answer | undefined> {
    const number = this.#next++
    const { promise, resolve } = Promise.withResolvers<Answer | undefined>()
    const timer = setTimeout(resolve, withinMs)
    this.#waiting.set(number, resolve)
    try {
      send(number)
      return await promise
    } catch {
      return undefined // the other side is gone
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(number)
    }
  }

  answer(number: number, answer: Answer): void {
    this.#waiting.get(number)?.(answer)
  }
}

/** In a worker: gives its own metrics to the supervisor, and those of all to who asks. */
export class WorkerMetrics {
  readonly #worker: number
  readonly #scrape: () => Promise<string>
  readonly #questions = new Questions<readonly (string | null)[]>()

  constructor(worker: number, scrape: () => Promise<string>) {
    this.#worker = worker
    this.#scrape = scrape
    process.on('message', (message: MetricsMessage) => void this.#hear(message))
  }

  /** Of all workers; of this one alone when the supervisor does not answer. However many ask at one time, they are gathered once. */
  readonly gather = singleFlight(() => this.#gather())

  async #gather(): Promise<string> {
    const ask = (metricsWanted: number) => send({ metricsWanted })
    const gathered = await this.#questions.ask(ask, GATHER_WITHIN_MS)
    if (gathered !== undefined) return mergeWorkers(gathered.map((text, worker) => [worker, text]))
    return mergeWorkers([[this.#worker, await this.#scrape()]])
  }

  async #hear(message: MetricsMessage): Promise<void> {
    if ('metricsGathered' in message) this.#questions.answer(message.metricsGathered, message.texts)
    else if ('metricsWanted' in message) send({ metricsOf: message.metricsWanted, text: await this.#scrape() })
  }
}

/** The samples of all, family by family, each with the label `worker`. */
export function mergeWorkers(texts: readonly (readonly [worker: number, text: string | null])[]): string {
  const families = new Map<string, Family>()
  for (const [worker, text] of texts) {
    let family = familyOf(families, '')
    for (const line of text?.split('\n') ?? []) {
      const [, keyword, name = ''] = /^# (HELP|TYPE) (\S+)/.exec(line) ?? []
      if (keyword === undefined) {
        if (line !== '' && !line.startsWith('#')) family.samples.push(withWorker(line, worker))
        continue
      }
      family = familyOf(families, name)
      if (!family.head.includes(line)) family.head.push(line)
    }
  }
  const up = texts.map(([worker, text]) => `${UP}{worker="${worker}"} ${text === null ? 0 : 1}`)
  families.set(UP, { head: UP_HEAD, samples: up })
  return Array.from(families.values(), ({ head, samples }) => [...head, ...samples, ''].join('\n')).join('')
}

const UP = 'penstock_worker_up'
const UP_HEAD = [`# HELP ${UP} ${METRICS['penstock.worker.up'].description}`, `# TYPE ${UP} gauge`]

/** A metric: what is said about it, and its values. */
interface Family {
  readonly head: string[]
  readonly samples: string[]
}

function familyOf(families: Map<string, Family>, name: string): Family {
  const family = families.get(name) ?? { head: [], samples: [] }
  families.set(name, family)
  return family
}

/** `name{a="b"} 1` and `name 1` alike. */
function withWorker(sample: string, worker: number): string {
  const label = `worker="${worker}"`
  return /^[^ {]+\{/.test(sample) ? sample.replace('{', `{${label},`) : sample.replace(' ', `{${label}} `)
}

function send(message: MetricsMessage): void {
  process.send?.(message)
}
