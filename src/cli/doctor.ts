/** `penstock doctor`: looks at everything `serve` needs and says what is wrong. */
import { type Config, loadConfig } from '../config.ts'
import { isProblem } from '../problem.ts'
import {
  type Check,
  checkClickHouse,
  checkControlDatabase,
  checkDataDirectory,
  checkPorts,
  checkRedis,
  checkScanner,
  checkTables,
  isServerRunning,
} from './checks.ts'
import { checkShards } from './cluster-checks.ts'
import { checkDeadLetters, checkServer } from './server-checks.ts'
import { printJson, printTable } from './session.ts'

/** Prints every check. Resolves to whether nothing has failed; warnings do not count. */
export async function doctor(options: { readonly json?: boolean }): Promise<boolean> {
  const checks = await runChecks()
  const healthy = checks.every((check) => check.status !== 'failed')
  if (options.json) {
    printJson({ ok: healthy, checks })
  } else {
    printTable(
      checks.flatMap((check) => [
        [check.status, check.name, check.message],
        ...(check.mend === undefined ? [] : [['', '', `→ ${check.mend}`]]),
      ]),
    )
  }
  return healthy
}

async function clusterChecks({ clickhouse }: Config): Promise<readonly Check[]> {
  const { url, cluster } = clickhouse
  return url === undefined || cluster === undefined ? [] : [await checkShards({ ...clickhouse, url }, cluster)]
}

async function runChecks(): Promise<readonly Check[]> {
  const config = loadConfig()
  if (isProblem(config)) {
    const mend = 'correct the variable; `--help` lists them all'
    return [{ name: 'configuration', status: 'failed', message: config.message, mend }]
  }
  const serverRuns = await isServerRunning(config)
  const clickhouse = await checkClickHouse(config, serverRuns)
  return [
    { name: 'configuration', status: 'ok', message: 'every variable is well-formed' },
    ...(serverRuns ? [await checkServer(config)] : []),
    checkScanner(),
    checkDataDirectory(config),
    await checkControlDatabase(config),
    clickhouse,
    ...(clickhouse.status === 'ok' ? [await checkTables(config, serverRuns), ...(await clusterChecks(config))] : []),
    ...(config.redisUrl === undefined ? [] : [await checkRedis(config.redisUrl)]),
    checkDeadLetters(config),
    ...checkPorts(config, serverRuns),
  ]
}
