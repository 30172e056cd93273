/** A ClickHouse server beside the collector, for tests in which it is away for a time. */
import { join } from 'node:path'
import { type EmbeddedClickHouse, startEmbeddedClickHouse } from '../../src/sink/embedded-clickhouse.ts'
import { freePort } from '../../src/sink/engine-setup.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { type CollectorHome, newHome } from './collector.ts'

/** A home whose collector is told of a ClickHouse server that is not there until `startEngine`. */
export function newHomeWithoutEngine(env: Readonly<Record<string, string>> = {}) {
  const ports = { httpPort: freePort(), tcpPort: freePort() }
  const home: CollectorHome = newHome({ CLICKHOUSE_URL: `http://127.0.0.1:${ports.httpPort}`, ...env })
  const options = { dataDir: join(home.directory, 'engine'), ...ports, logger: createLogger({ level: 'silent' }) }
  return { home, startEngine: (): EmbeddedClickHouse => startEmbeddedClickHouse(options) }
}
