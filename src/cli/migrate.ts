/** `penstock migrate`: brings the tables up to date without serving, for deployments that want it as a step of its own. */
import { createLogger } from '../telemetry/logger.ts'
import { CommandFailure, configOrFail, orFail } from './session.ts'
import { migrate } from '../sink/migrations.ts'

export async function migrateTables(): Promise<void> {
  const { clickhouse, logLevel } = configOrFail()
  const { url } = clickhouse
  if (url === undefined) {
    throw new CommandFailure(
      'migrate wants CLICKHOUSE_URL; the tables of the embedded ClickHouse are brought up to date by `serve`',
    )
  }
  const { applied } = orFail(
    await migrate({ clickhouse: { ...clickhouse, url }, logger: createLogger({ level: logLevel }) }),
  )
  process.stdout.write(applied.length === 0 ? 'nothing to do\n' : `applied ${applied.join(', ')}\n`)
}
