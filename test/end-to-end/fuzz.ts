/**
 * Random requests to every operation of the OpenAPI document that the collector serves: valid, nearly valid and wild, with good and bad
 * keys, signatures, encodings and headers; bytes that are no HTTP; frames that are no WebSocket. Every answer is held against the
 * document, and at the end what was acknowledged is compared with what is stored, event by event. Tests run it for some seconds; by hand:
 *
 *     bun test/end-to-end/fuzz.ts --requests 200000 [--seed 7] [--from 1234 --requests 1]
 *
 * Every request follows from the seed and its number: the one that a failure names is sent again, alone, with `--from`.
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { AnswerCheck, bodyOf } from '../fuzz/answers.ts'
import { type Attempt, LIMITS, makeAttempt } from '../fuzz/attempts.ts'
import { audit, growthProblem, type Memory, settle } from '../fuzz/audit.ts'
import { Client } from '../fuzz/client.ts'
import { makeCruelty } from '../fuzz/cruelty.ts'
import { Draw } from '../fuzz/draw.ts'
import { acknowledged, keyInBody } from '../fuzz/expected-events.ts'
import { type FuzzKey, LIMITED_EVENTS_PER_MINUTE, makeKeys, UNCERTAIN } from '../fuzz/keys.ts'
import { Ledger } from '../fuzz/ledger.ts'
import { type Operation, operationsOf } from '../fuzz/operations.ts'
import { runStream } from '../fuzz/stream-run.ts'
import { type Collector, newHome, startCollector } from '../support/collector.ts'
import type { RawAnswer } from '../support/raw-http.ts'

export interface FuzzOptions {
  readonly requests: number
  readonly seed: number
  /** Number of the first request. Default 0. */
  readonly from?: number
  readonly report?: (line: string) => void
}

/** What a run found. `violations` must be empty. */
export interface FuzzResult {
  readonly seed: number
  readonly requests: number
  /** Answers by operation and status; 0 for none. */
  readonly answers: Record<string, Record<string, number>>
  readonly accepted: number
  /** Accepted copies of events that were stored already. */
  readonly copies: number
  readonly stored: number
  /** Resident memory after a pause in which garbage is collected, and what the ids that are remembered take of it. */
  readonly memory: { readonly halfway: Memory; readonly end: Memory }
  readonly seconds: number
  /** Everything that should not be. */
  readonly violations: string[]
}

const CONCURRENCY = 24
/** Runs shorter than this say nothing about memory: they only warm up. */
const MEASURED_REQUESTS_MIN = 50_000
const VIOLATIONS_MAX = 50
/** A request that is larger than the whole limit is taken when nothing else was. */
const LARGEST_REQUEST_EVENTS = 1_002
/** Time that is left to bytes that may never be answered. */
const PROVOKED_WITHIN_MS = 150

const ENVIRONMENT = {
  ...LIMITS,
  // Every id of the run is remembered.
  DEDUPE_WINDOW_MS: '36000000',
  DEDUPE_IDS_MAX: '8000000',
  KEY_CACHE_LIFETIME_MS: '500',
}

/** Runs it and looks at what is stored. */
export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  const home = newHome(ENVIRONMENT)
  const collector = await startCollector({ home })
  try {
    const keys = await makeKeys(join(home.directory, 'data'))
    const document = await (await fetch(`${collector.url}/openapi.json`)).json()
    return await new Fuzz(options, collector, keys, document as object).run()
  } finally {
    await collector.kill9()
    home.remove()
  }
}

class Fuzz {
  private readonly options: FuzzOptions
  private readonly collector: Collector
  private readonly keys: readonly FuzzKey[]
  private readonly byText: ReadonlyMap<string, FuzzKey>
  private readonly operations: readonly Operation[]
  private readonly check: AnswerCheck
  private readonly client: Client
  private readonly ledger = new Ledger()
  private readonly answers: Record<string, Record<string, number>> = {}
  private readonly violations: string[] = []
  private readonly limited = new Map<string, number>()
  private readonly startedAt = performance.now()

  constructor(options: FuzzOptions, collector: Collector, keys: readonly FuzzKey[], document: object) {
    this.options = options
    this.collector = collector
    this.keys = keys
    this.byText = new Map(keys.map((key) => [key.text, key]))
    this.operations = operationsOf(document)
    this.check = new AnswerCheck(document)
    this.client = new Client(collector.port)
  }

  async run(): Promise<FuzzResult> {
    const { requests, seed, from = 0 } = this.options
    const middle = from + Math.floor(requests / 2)
    await this.send(from, middle)
    const halfway = await settle(this.collector, this.isMeasured)
    await this.send(middle, from + requests)
    const end = await settle(this.collector, this.isMeasured)
    const seconds = (performance.now() - this.startedAt) / 1000
    this.client.close()
    const rows = this.ledger.rows()
    const growth = this.isMeasured ? growthProblem(halfway, end) : undefined
    if (growth !== undefined) this.violations.push(growth)
    this.violations.push(...this.limitProblems(), ...(await audit(this.collector, rows)))
    const stored = Object.values(rows).reduce((sum, count) => sum + count, 0)
    const { accepted, copies } = this.ledger
    const memory = { halfway, end }
    return {
      seed,
      requests,
      answers: this.answers,
      accepted,
      copies,
      stored,
      memory,
      seconds,
      violations: this.violations,
    }
  }

  private async send(from: number, to: number): Promise<void> {
    let next = from
    const worker = async () => {
      while (next < to && this.violations.length < VIOLATIONS_MAX) {
        const number = next++
        if (number % 10_000 === 0) this.options.report?.(`${number}: ${JSON.stringify(this.totals())}`)
        try {
          await this.one(new Draw(this.options.seed, number))
        } catch (error) {
          this.violate(number, error instanceof Error ? (error.stack ?? error.message) : String(error))
        }
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, worker))
  }

  private one(draw: Draw): Promise<void> {
    return draw.weighted([
      [90, () => this.attempt(draw)],
      [4, () => this.provoke(draw)],
      [3, () => this.elsewhere(draw)],
      [3, () => this.stream(draw)],
    ])()
  }

  private async attempt(draw: Draw): Promise<void> {
    const attempt = makeAttempt(this.operations, this.keys, draw)
    const answer = await this.client.exchange(attempt.bytes)
    const isTaken = this.judge(attempt, answer, draw)
    if (!attempt.isReplayed) return
    const again = await this.client.exchange(attempt.bytes)
    this.judge(
      { ...attempt, flaw: attempt.flaw ?? (isTaken ? 'used signature' : undefined), isGood: false },
      again,
      draw,
    )
  }

  /** Gives whether events were taken. */
  private judge(attempt: Attempt, answer: RawAnswer | undefined, draw: Draw): boolean {
    const { operation, protocol } = attempt
    this.count(`${operation.method} ${operation.path}`, answer?.status ?? 0)
    const violate = (what: string) => this.violate(draw.number, `${attempt.what}: ${what}`, attempt.bytes)
    if (answer === undefined) {
      violate('no answer')
      return false
    }
    const problem = this.check.problem(operation, answer)
    if (problem !== undefined) violate(problem)
    const isTaken = answer.status === operation.successStatus
    const events = acknowledged(attempt, answer.status, bodyOf(answer))
    if (attempt.isGood && !isTaken && answer.status !== 503 && operation.method === 'POST')
      violate(`refused: ${answer.status} ${answer.body.slice(0, 300)}`)
    if (protocol === 'service' || protocol === 'stream') return isTaken
    if (isTaken || (events !== undefined && events.names.length > 0)) {
      const key = this.keyOf(attempt)
      const mayUse = protocol === 'journey' ? key?.mayRead : key?.mayIngest
      if (key === undefined || mayUse !== true) violate(`taken with ${key?.name ?? 'no key'}`)
      else if (attempt.flaw !== undefined) violate(`taken in spite of ${attempt.flaw}`)
      else if (events !== undefined) {
        if (events.problem !== undefined) violate(`${events.problem}: ${answer.body.slice(0, 300)}`)
        this.ledger.add(key.workspace, events.names)
        if (key.eventsPerMinute !== undefined)
          this.limited.set(key.name, (this.limited.get(key.name) ?? 0) + events.names.length)
      }
    }
    return isTaken
  }

  /** Whose the events are, by the documentation. */
  private keyOf({ operation, protocol, headerKey, text = '' }: Attempt): FuzzKey | undefined {
    const { keyPlaces } = operation
    const inBody = keyPlaces.includes('siteId')
      ? keyInBody('siteId', text)
      : keyPlaces.includes('writeKey')
        ? keyInBody('writeKey', text)
        : undefined
    const presented = protocol === 'track' ? (inBody ?? headerKey) : (headerKey ?? inBody)
    return presented === undefined ? undefined : this.byText.get(presented)
  }

  /** Bytes that may be anything: nothing is expected of them but that they do no harm. */
  private async provoke(draw: Draw): Promise<void> {
    const cruelty = makeCruelty(this.uncertain().text, draw)
    const answer = await this.client.provoke(cruelty.bytes, {
      ...cruelty,
      later: cruelty.later,
      withinMs: PROVOKED_WITHIN_MS,
    })
    this.count('bytes', answer?.status ?? 0)
    if (answer !== undefined && answer.status >= 500 && answer.status !== 503 && answer.status !== 505)
      this.violate(draw.number, `${cruelty.what}: ${answer.status} ${answer.body}`, cruelty.bytes)
  }

  /** Methods that a path is not for, and paths that are none. */
  private async elsewhere(draw: Draw): Promise<void> {
    const known = draw.pick(this.operations)
    const method = draw.pick(['GET', 'HEAD', 'OPTIONS', 'PUT', 'PATCH', 'DELETE', 'POST', 'TRACE', 'PROPFIND'])
    const path = draw.pick([
      known.path,
      known.path,
      `${known.path}/`,
      known.path.toUpperCase(),
      `/${draw.uuid()}`,
      '/',
      '/v1',
      '/v1/',
      '/%',
      '/%00',
      '/docs',
      '/favicon.ico',
      `//${known.path}`,
    ])
    const operation = this.operations.find((one) => one.method === method && one.path === path)
    if (operation !== undefined) return
    const origin = draw.chance(0.3) ? 'Origin: https://shop.example\r\nAccess-Control-Request-Headers: x\r\n' : ''
    const key = draw.chance(0.5) ? `API-Key: ${this.uncertain().text}\r\n` : ''
    const body = method === 'GET' || method === 'HEAD' ? '\r\n' : 'Content-Length: 2\r\n\r\n{}'
    const bytes = Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: x\r\n${origin}${key}${body}`)
    const answer = await this.client.exchange(bytes, method === 'HEAD')
    this.count(`${method} elsewhere`, answer?.status ?? 0)
    const problem = answer === undefined ? 'no answer' : this.check.problem(undefined, answer, method === 'HEAD')
    if (problem !== undefined) this.violate(draw.number, `${method} ${path}: ${problem}`, bytes)
  }

  private async stream(draw: Draw): Promise<void> {
    const { port } = this.collector
    const count = (status: number) => this.count('stream', status)
    const problem = await runStream(
      { port, keys: this.keys, uncertain: this.uncertain(), operations: this.operations, ledger: this.ledger, count },
      draw,
    )
    if (problem !== undefined) this.violate(draw.number, `stream: ${problem}`)
  }

  private get isMeasured(): boolean {
    return this.options.requests >= MEASURED_REQUESTS_MIN
  }

  private uncertain(): FuzzKey {
    return this.keys.find(({ workspace }) => workspace === UNCERTAIN) as FuzzKey
  }

  private count(what: string, status: number): void {
    this.answers[what] ??= {}
    const byStatus = this.answers[what]
    byStatus[status] = (byStatus[status] ?? 0) + 1
  }

  private totals(): Record<string, number> {
    const totals: Record<string, number> = {}
    for (const byStatus of Object.values(this.answers))
      for (const [status, count] of Object.entries(byStatus)) totals[status] = (totals[status] ?? 0) + count
    return totals
  }

  private violate(number: number, what: string, bytes?: Uint8Array): void {
    const request =
      bytes === undefined ? '' : `\n    ${JSON.stringify(Buffer.from(bytes).toString('latin1').slice(0, 600))}`
    if (this.violations.length < VIOLATIONS_MAX)
      this.violations.push(`request ${number} of seed ${this.options.seed}: ${what}${request}`)
    this.options.report?.(`! ${this.violations.at(-1)}`)
  }

  /** Over its limit is over it, also by way of several doors and connections. */
  private limitProblems(): string[] {
    const minutes = (performance.now() - this.startedAt) / 60_000
    const most = LIMITED_EVENTS_PER_MINUTE * (2 + minutes) + LARGEST_REQUEST_EVENTS
    const over = [...this.limited].filter(([, count]) => count > most)
    return over.map(([name, count]) => `${name} has sent ${count} events, at most ${Math.round(most)} were allowed`)
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      requests: { type: 'string', default: '20000' },
      seed: { type: 'string' },
      from: { type: 'string', default: '0' },
    },
  })
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
  const report = (line: string) => process.stdout.write(`${line}\n`)
  report(`seed ${seed}`)
  const result = await fuzz({ requests: Number(values.requests), seed, from: Number(values.from), report })
  report(JSON.stringify(result, undefined, 2))
  process.exit(result.violations.length === 0 ? 0 : 1)
}
