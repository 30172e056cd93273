/** `penstock migrate`: brings the tables up to date without serving, for deployments that want it as a step of its own. */

import { migrate } from '../sink/migrations.ts'
import { createLogger } from '../telemetry/logger.ts'
import { CommandFailure, configOrFail, orFail } from './session.ts'

/** @param options `again`: everything once more, for a node of a cluster that is new */
export async function migrateTables(options: { readonly again?: boolean } = {}): Promise<void> {
  const { clickhouse, logLevel } = configOrFail()
  const { url } = clickhouse
  if (url === undefined) {
    throw new CommandFailure(
      'migrate wants CLICKHOUSE_URL; the tables of the embedded ClickHouse are brought up to date by `serve`',
    )
  }
  const { applied } = orFail(
    await migrate({ clickhouse: { ...clickhouse, url }, logger: createLogger({ level: logLevel }), ...options }),
  )
  if (options.again) return void process.stdout.write('everything is there\n')
  process.stdout.write(applied.length === 0 ? 'nothing to do\n' : `applied ${applied.join(', ')}\n`)
}
