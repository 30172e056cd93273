/** Checks of `doctor` that only a running server, or what one has left, can answer. */
import type { Config } from '../config.ts'
import type { Health } from '../http/service.ts'
import { reasonOf } from '../problem.ts'
import { DeadLetters, deadLettersDirectory } from '../sink/dead-letters.ts'
import { httpAddress } from './banner.ts'
import { type Check, get } from './checks.ts'

/** Events wait for a second or two (FLUSH_INTERVAL_MS); for longer when ClickHouse is slow. */
const WAIT_MAX_MS = 60_000

/** The running server takes events, and they go on to ClickHouse. */
export async function checkServer(config: Config): Promise<Check> {
  const name = 'server'
  const address = httpAddress(config.host, config.port)
  let health: Health
  try {
    const response = await get(`${address}/health`)
    health = (await response.json()) as Health
  } catch (error) {
    const message = `${address}/health does not answer as it should: ${reasonOf(error)}`
    return { name, status: 'failed', message, mend: 'see what the server’s log says last' }
  }
  const missing = Object.entries(health.dependencies)
    .filter(([, { status }]) => status !== 'ok')
    .map(([dependency, { message }]) => `${dependency}: ${message ?? 'down'}`)
  const mend = 'see the checks of what is named, and what the server’s log says'
  if (health.status === 'down')
    return { name, status: 'failed', message: `refuses events: ${missing.join('; ')}`, mend }
  if (missing.length > 0) return { name, status: 'warning', message: `takes events, but ${missing.join('; ')}`, mend }
  const waitedMs = health.buffer.oldest_unflushed_age_ms ?? 0
  if (waitedMs > Math.max(WAIT_MAX_MS, 2 * config.flushIntervalMs)) {
    const message = `takes events, but some have waited ${Math.round(waitedMs / 1000)} s for ClickHouse`
    return { name, status: 'warning', message, mend: 'see what the server’s log says of inserts' }
  }
  return { name, status: 'ok', message: `${address} takes events` }
}

/** There are no events that ClickHouse could not read. */
export function checkDeadLetters(config: Config): Check {
  const name = 'dead letters'
  const directory = deadLettersDirectory(config.dataDir)
  const count = new DeadLetters(directory).count()
  if (count === 0) return { name, status: 'ok', message: 'none' }
  const mend = '`dead-letter list` says why; `dead-letter retry` sends them again, `dead-letter drop` gives them up'
  return { name, status: 'warning', message: `${count} in ${directory}: events that ClickHouse could not read`, mend }
}
