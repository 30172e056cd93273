/**
 * A ClickHouse cluster for tests: embedded engines on ports of their own, each a shard, which know each other by `remote_servers` in their
 * configuration. They have neither Keeper nor replicas.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EmbeddedClickHouse, startEmbeddedClickHouse } from '../../src/sink/embedded-clickhouse.ts'
import { freePort } from '../../src/sink/engine-setup.ts'
import { createLogger } from '../../src/telemetry/logger.ts'

/** Clusters by name: the weight of each shard, in the order of the engines. An engine may be in none. */
export type Clusters = Readonly<Record<string, readonly number[]>>

export interface Shards {
  /** HTTP addresses. */
  readonly urls: readonly string[]
  engine(index: number): EmbeddedClickHouse
  /** Kills an engine and starts nothing. */
  kill9(index: number): Promise<void>
  /** Starts an engine that was killed, and waits for it. */
  start(index: number): Promise<void>
  /** Changes the configuration; engines read it anew by themselves, or at their next start. */
  configure(clusters: Clusters): void
  stop(): Promise<void>
}

/**
 * Starts the engines.
 * @param more for their configuration, as XML
 */
export async function startShards(count: number, clusters: Clusters, more = ''): Promise<Shards> {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-shards-'))
  const places = Array.from({ length: count }, (_, index) => ({
    dataDir: join(directory, String(index + 1)),
    httpPort: freePort(),
    tcpPort: freePort(),
  }))
  const configure = (wanted: Clusters) => {
    for (const { dataDir } of places) {
      const beside = join(dataDir, 'clickhouse', 'config.d') // is merged into the engine's own config.xml
      mkdirSync(beside, { recursive: true })
      writeFileSync(join(beside, 'clusters.xml'), configuration(wanted, places, more))
    }
  }
  configure(clusters)
  const startOne = (index: number) => {
    const place = places[index]
    if (place === undefined) throw new Error(`there is no engine ${index}`)
    return startEmbeddedClickHouse({ ...place, logger: createLogger({ level: 'silent' }) })
  }
  const engines = new Map(places.map((_, index) => [index, startOne(index)]))
  const engine = (index: number) => {
    const found = engines.get(index)
    if (found === undefined) throw new Error(`engine ${index} is not running`)
    return found
  }
  await Promise.all([...engines.values()].map((each) => each.ready()))
  return {
    urls: places.map(({ httpPort }) => `http://127.0.0.1:${httpPort}`),
    engine,
    configure,
    async kill9(index) {
      const { pid } = engine(index)
      if (pid !== undefined) process.kill(pid, 'SIGKILL')
      await engine(index).stop()
      engines.delete(index)
    },
    async start(index) {
      engines.set(index, startOne(index))
      await engine(index).ready()
    },
    async stop() {
      await Promise.all([...engines.values()].map((each) => each.stop()))
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

function configuration(clusters: Clusters, places: readonly { readonly tcpPort: number }[], more: string): string {
  const shard = (weight: number, index: number) =>
    `<shard><weight>${weight}</weight><replica><host>127.0.0.1</host><port>${places[index]?.tcpPort}</port></replica></shard>`
  const all = Object.entries(clusters).map(([name, weights]) => `<${name}>${weights.map(shard).join('')}</${name}>`)
  return `<clickhouse><remote_servers>${all.join('')}</remote_servers>${more}</clickhouse>\n`
}
