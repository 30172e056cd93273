/** The whole collector for tests: the real command line as a child process, on free ports, in a temporary directory. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../src/sink/engine-setup.ts'
import { withTimeout } from '../../src/timeout.ts'

const MAIN = join(import.meta.dir, '../../src/main.ts')
const READY_WITHIN_MS = 60_000
const LINES_KEPT = 20_000

/** A line of the collector's log. */
export interface LogLine {
  readonly level: string
  readonly msg: string
  readonly [field: string]: unknown
}

export interface CollectorOptions {
  /** Environment variables beside the ones that the helper sets (ports, DATA_DIR, a short flush interval). */
  readonly env?: Readonly<Record<string, string>>
  /** A home of an earlier collector, to start another one on it; without it the collector has a home of its own. */
  readonly home?: CollectorHome
  /** Wait until events flow into ClickHouse, not only until they are accepted. Default true. */
  readonly untilFlowing?: boolean
  /** A process group of its own, as a terminal gives it, for signals to all of it. */
  readonly ownGroup?: boolean
  /** Told of the process as soon as there is one, for tests that do not let it finish its start. */
  readonly onSpawn?: (pid: number) => void
}

export interface Collector {
  readonly home: CollectorHome
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Of the embedded ClickHouse: the child process there is now, undefined when there is none. */
  readonly clickhousePid: number | undefined
  /** The secret key of the first workspace: without rate limit. */
  readonly key: string
  readonly lines: readonly LogLine[]
  readonly stderr: string
  readonly exited: Promise<number>
  /** POST with the key. */
  post(body: RequestInit['body'], headers?: Record<string, string>, path?: string): Promise<Response>
  postEvents(events: readonly object[], headers?: Record<string, string>): Promise<Response>
  /** One statement in ClickHouse, in the collector's database; throws with ClickHouse's message. */
  query(sql: string): Promise<string>
  /** Rows as objects. */
  rows<Row = Record<string, unknown>>(sql: string): Promise<Row[]>
  stats(): Promise<CollectorStats>
  /** Resident memory of the collector's process, in bytes. */
  rssBytes(): number
  /** Resolves when everything that was accepted is in ClickHouse. */
  flushed(withinMs?: number): Promise<void>
  /** Ends it with a signal and gives its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number>
  kill9(): Promise<void>
}

/** What of `/stats` tests look at. */
export interface CollectorStats {
  readonly events: { readonly accepted: number; readonly rejected: number }
  readonly bodies_in_flight_bytes: number
  readonly buffer: { readonly oldest_unflushed_age_ms: number; readonly log_bytes: number }
  readonly log: {
    readonly written_bytes: number
    readonly flushed_bytes: number
    readonly refused_bytes: number
    readonly damaged_records: number
    readonly torn_tails: number
  }
  readonly flush: { readonly inserted_rows: number; readonly failures_in_row: number }
}

/** The directory and ports that stay the same when a collector is started again. */
export interface CollectorHome {
  readonly directory: string
  readonly port: number
  readonly clickhouseUrl: string
  readonly env: Readonly<Record<string, string>>
  /** Removes the directory; what still runs in it is killed. */
  remove(): void
}

/** A new home. A shell whose standard input we hold kills and removes what is left when the test process ends, however it ends. */
export function newHome(env: Readonly<Record<string, string>> = {}): CollectorHome {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-end-to-end-'))
  const ports = { own: freePort(), http: freePort(), tcp: freePort() }
  const script = 'cat > /dev/null; kill -9 $(cat "$0/pid" 2> /dev/null) 2> /dev/null; sleep 2; rm -rf "$0"'
  const shell = spawn('sh', ['-c', script, directory], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  shell.stdin.on('error', () => undefined)
  shell.unref()
  const clickhouseUrl = env.CLICKHOUSE_URL ?? `http://127.0.0.1:${ports.http}`
  return {
    directory,
    port: ports.own,
    clickhouseUrl,
    env: {
      PATH: '/usr/bin:/bin',
      HOME: directory,
      PORT: String(ports.own),
      DATA_DIR: join(directory, 'data'),
      EMBEDDED_CLICKHOUSE_HTTP_PORT: String(ports.http),
      EMBEDDED_CLICKHOUSE_TCP_PORT: String(ports.tcp),
      FLUSH_INTERVAL_MS: '100',
      ...env,
    },
    remove: () => shell.stdin.end(),
  }
}

/** Starts `penstock serve` and waits until it accepts events, and until they flow when nothing else is said. */
export async function startCollector(options: CollectorOptions = {}): Promise<Collector> {
  const home = options.home ?? newHome(options.env)
  const env = { ...home.env, ...options.env }
  const child = Bun.spawn([process.execPath, '--no-env-file', MAIN, 'serve'], {
    env,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    detached: options.ownGroup === true,
  })
  options.onSpawn?.(child.pid)
  const pidFile = join(home.directory, 'pid')
  writeFileSync(pidFile, String(child.pid))
  const output = new Output()
  const ended = Promise.all([child.exited, output.readLog(child.stdout), output.readErrors(child.stderr)])
  let endedWith: number | undefined
  const exited = ended.then(([exitCode]) => {
    rmSync(pidFile, { force: true })
    endedWith = exitCode
    return exitCode
  })
  const printed = async (text: string) => {
    const isOver = () => endedWith !== undefined || output.has(text)
    await waitUntil(`the collector prints ${JSON.stringify(text)}`, isOver).catch((error) => {
      throw new Error(`${error}; it printed: ${output.stderr}${output.tail()}`)
    })
    if (!output.has(text))
      throw new Error(`the collector ended at its start with ${endedWith}: ${output.stderr}${output.tail()}`)
  }
  await printed('accepting events')
  if (options.untilFlowing !== false) await printed('Penstock is ready')

  const url = `http://127.0.0.1:${home.port}`
  const { secret_key: key } = JSON.parse(readFileSync(join(env.DATA_DIR ?? '', 'first-key.json'), 'utf8'))
  const query = (sql: string) => queryClickHouse(home.clickhouseUrl, sql, env.CLICKHOUSE_DATABASE ?? 'penstock')
  const post: Collector['post'] = (body, headers, path = '/v1/events') =>
    fetch(`${url}${path}`, {
      method: 'POST',
      ...(body === undefined ? {} : { body }),
      headers: { 'api-key': key, ...headers },
    })
  const stats = async () => (await (await fetch(`${url}/stats`)).json()) as CollectorStats

  return {
    home,
    url,
    port: home.port,
    pid: child.pid,
    get clickhousePid() {
      const { stdout } = Bun.spawnSync(['pgrep', '-P', String(child.pid)])
      return Number(stdout.toString().split('\n')[0]) || undefined
    },
    key,
    lines: output.lines,
    get stderr() {
      return output.stderr
    },
    exited,
    post,
    postEvents: (events, headers) =>
      post(JSON.stringify({ events }), { 'content-type': 'application/json', ...headers }),
    query,
    rows: async <Row>(sql: string) => {
      const settings = 'SETTINGS output_format_json_quote_64bit_integers = 1'
      const text = await query(`${sql} ${settings} FORMAT JSONEachRow`)
      return text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Row)
    },
    stats,
    rssBytes: () => residentBytes(child.pid),
    flushed: (withinMs) =>
      waitUntil(
        'everything is flushed',
        async () => {
          const { written_bytes, flushed_bytes, refused_bytes } = (await stats()).log
          return flushed_bytes + refused_bytes === written_bytes
        },
        withinMs,
      ),
    async stop(signal = 'SIGTERM') {
      child.kill(signal)
      return exited
    },
    async kill9() {
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** One statement over plain HTTP; throws with ClickHouse's message. */
export async function queryClickHouse(url: string, sql: string, database: string): Promise<string> {
  const headers = { connection: 'close' } // an open connection would hold up ClickHouse's end
  const response = await fetch(`${url}/?${new URLSearchParams({ database })}`, { method: 'POST', body: sql, headers })
  const body = await response.text()
  if (!response.ok) throw new Error(body)
  return body
}

/** Resident memory of a process in bytes, as `ps` tells it. */
export function residentBytes(pid: number): number {
  return Number(Bun.spawnSync(['ps', '-o', 'rss=', '-p', String(pid)]).stdout.toString()) * 1024
}

/** Asks again and again until it is so; throws, saying what was waited for. An error counts as no, and so does no answer. */
export async function waitUntil(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  withinMs = READY_WITHIN_MS,
): Promise<void> {
  const deadline = performance.now() + withinMs
  let error: unknown
  while (performance.now() < deadline) {
    try {
      if (await withTimeout(Promise.resolve(isSo()), deadline - performance.now())) return
    } catch (caught) {
      error = caught
    }
    await Bun.sleep(25)
  }
  throw new Error(`waited ${withinMs} ms until ${what}${error === undefined ? '' : `; last error: ${error}`}`)
}

/** What a collector prints. */
class Output {
  readonly lines: LogLine[] = []
  stderr = ''
  private text = ''

  /** Whether a line that contains the text has been printed, lately. */
  has(text: string): boolean {
    return this.text.includes(text)
  }

  tail(): string {
    return this.text.slice(-2_000)
  }

  async readLog(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    let rest = ''
    for await (const chunk of stream) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) this.take(line)
    }
  }

  async readErrors(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    for await (const chunk of stream) this.stderr += decoder.decode(chunk, { stream: true })
  }

  private take(line: string): void {
    this.text = `${this.text}${line}\n`.slice(-100_000)
    if (line.startsWith('{') && this.lines.length < LINES_KEPT) this.lines.push(JSON.parse(line) as LogLine)
  }
}
