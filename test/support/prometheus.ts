/** Prometheus for tests: the server of Debian's package in a temporary directory, on a free port. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../src/sink/engine-setup.ts'
import { installPackage } from './packages.ts'

const PROGRAM = '/usr/bin/prometheus'
const START_DEADLINE_MS = 30_000

export interface Sample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: number
}

export interface Alert {
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly state: 'pending' | 'firing'
}

export interface TestPrometheus {
  readonly url: string
  /** Samples of an expression now; throws with Prometheus's message. */
  query(expression: string): Promise<Sample[]>
  /** Asks an API under /api/v1. */
  api(path: string, parameters?: Readonly<Record<string, string>>): Promise<unknown>
  alerts(): Promise<Alert[]>
  /** Ends it and removes what it left. */
  stop(): Promise<void>
}

export interface PrometheusOptions {
  /** Host and port of what is scraped, by the name of the job. */
  readonly jobs?: Readonly<Record<string, readonly string[]>>
  /** Text of a rule file. */
  readonly rules?: string
  readonly scrapeIntervalMs?: number
  /** The whole prometheus.yml instead, told the server's own host and port. */
  readonly configuration?: (own: string) => string
}

export async function startTestPrometheus(options: PrometheusOptions): Promise<TestPrometheus> {
  installPackage(PROGRAM, 'prometheus')
  const directory = mkdtempSync(join(tmpdir(), 'penstock-test-prometheus-'))
  const port = freePort()
  const url = `http://127.0.0.1:${port}`
  const interval = `${options.scrapeIntervalMs ?? 1_000}ms`
  const jobs = Object.entries(options.jobs ?? {}).map(([job_name, targets]) => ({
    job_name,
    static_configs: [{ targets }],
  }))
  // JSON is YAML, too.
  const config = {
    global: { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: interval },
    scrape_configs: jobs,
    rule_files: options.rules === undefined ? [] : [join(directory, 'rules.yml')],
  }
  const text = options.configuration?.(`127.0.0.1:${port}`) ?? JSON.stringify(config)
  writeFileSync(join(directory, 'prometheus.yml'), text)
  if (options.rules !== undefined) writeFileSync(join(directory, 'rules.yml'), options.rules)

  const log = join(directory, 'log')
  const flags = ['--config.file=prometheus.yml', '--storage.tsdb.path=data', `--web.listen-address=127.0.0.1:${port}`]
  // A shell whose standard input we hold ends it when the test process ends, however it ends.
  const script = '"$0" "$@" > log 2>&1 & cat > /dev/null; kill $!; wait $!; cd / && rm -rf "$OLDPWD"'
  const child = spawn('sh', ['-c', script, PROGRAM, ...flags], { cwd: directory, stdio: ['pipe', 'ignore', 'ignore'] })
  await ready(url, log)

  const api: TestPrometheus['api'] = async (path, parameters = {}) => {
    const response = await fetch(`${url}/api/v1/${path}`, { method: 'POST', body: new URLSearchParams(parameters) })
    const answer = (await response.json()) as { status: string; error?: string; data: unknown }
    if (answer.status !== 'success') throw new Error(`${answer.error}`)
    return answer.data
  }
  return {
    url,
    api,
    async query(expression) {
      const data = (await api('query', { query: expression })) as {
        result: { metric: Record<string, string>; value: [number, string] }[]
      }
      return data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }))
    },
    async alerts() {
      const response = await fetch(`${url}/api/v1/alerts`)
      return ((await response.json()) as { data: { alerts: Alert[] } }).data.alerts
    },
    async stop() {
      const ended = once(child, 'exit')
      child.stdin.end()
      await ended
    },
  }
}

async function ready(url: string, log: string): Promise<void> {
  const deadline = performance.now() + START_DEADLINE_MS
  for (;;) {
    const isReady = await fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    )
    if (isReady) return
    if (performance.now() > deadline)
      throw new Error(`prometheus does not start: ${readFileSync(log, 'utf8').slice(-2_000)}`)
    await Bun.sleep(25)
  }
}

/** Runs promtool, which comes with the server; gives its output and whether it was content. */
export function promtool(...args: readonly string[]): { readonly isContent: boolean; readonly output: string } {
  installPackage(PROGRAM, 'prometheus')
  const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8' })
  return { isContent: status === 0, output: `${stdout}${stderr}` }
}
