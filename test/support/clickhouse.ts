/** ClickHouse for tests: the embedded engine in a temporary directory, one for the whole test process unless a test wants its own. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EmbeddedClickHouse, startEmbeddedClickHouse } from '../../src/sink/embedded-clickhouse.ts'
import { createLogger } from '../../src/telemetry/logger.ts'

export interface TestClickHouse {
  readonly url: string
  /** Of the engine's process, for tests that kill it. */
  readonly pid: number | undefined
  /** Creates an empty Atomic database under a new unique name and returns the name. `stop()` drops it. */
  createDatabase(): Promise<string>
  /** Runs one statement over plain HTTP and returns the body; throws with ClickHouse's message. */
  query(sql: string, parameters?: Record<string, string>): Promise<string>
  /** Resolves when the engine answers (again). */
  ready(): Promise<void>
  /** Drops what this handle created, and ends the engine when it is the test's own. The shared one ends with the test process. */
  stop(): Promise<void>
}

interface Engine {
  readonly engine: EmbeddedClickHouse
  remove(): void
}

/** On the global object, because every test file has module instances of its own. */
const shared: { penstockTestEngine?: Promise<Engine> } = globalThis as object

/** Starts (or shares) an engine and waits until it answers. `own: true` is for tests that kill or stop it. */
export async function startTestClickHouse(options: { own?: boolean } = {}): Promise<TestClickHouse> {
  if (!options.own) shared.penstockTestEngine ??= startEngine()
  const { engine, remove } = await (options.own ? startEngine() : (shared.penstockTestEngine as Promise<Engine>))
  const databases: string[] = []

  const query = async (sql: string, parameters: Record<string, string> = {}) => {
    const response = await fetch(`${engine.url}/?${new URLSearchParams(parameters)}`, { method: 'POST', body: sql })
    const body = await response.text()
    if (!response.ok) throw new Error(body)
    return body
  }

  return {
    url: engine.url,
    get pid() {
      return engine.pid
    },
    query,
    ready: () => engine.ready(),
    async createDatabase() {
      const name = `test_${crypto.randomUUID().replaceAll('-', '')}`
      await query(`CREATE DATABASE ${name} ENGINE = Atomic`)
      databases.push(name)
      return name
    },
    async stop() {
      if (options.own) {
        await engine.stop()
        remove()
        return
      }
      for (const name of databases.splice(0)) await query(`DROP DATABASE IF EXISTS ${name} SYNC`)
    },
  }
}

async function startEngine(): Promise<Engine> {
  const dataDir = mkdtempSync(join(tmpdir(), 'penstock-test-clickhouse-'))
  const engine = startEmbeddedClickHouse({
    dataDir,
    httpPort: 0,
    tcpPort: 0,
    logger: createLogger({ level: 'silent' }),
  })
  const remove = () => rmSync(dataDir, { recursive: true, force: true })
  removeWhenProcessEnds(dataDir)
  await engine.ready()
  return { engine, remove }
}

/** `bun test` runs no exit handler: a shell whose standard input we hold removes the directory after us, and after the engine. */
function removeWhenProcessEnds(directory: string): void {
  const shell = spawn('sh', ['-c', 'cat > /dev/null; sleep 1; rm -rf "$0"', directory], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  shell.unref()
}
