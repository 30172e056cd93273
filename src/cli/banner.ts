/** What `serve` says when it is ready: an address, a line that sends an event, a line that finds it. Both work as printed. */
import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import type { Config } from '../config.ts'

/** What the banner is about; ports as they really are, not as configured (0). */
export interface BannerOptions {
  readonly host: string
  readonly port: number
  readonly dataDir: string
  /** Without one, the banner says how to get one. */
  readonly publicKey?: string | undefined
  readonly clickhouse: {
    /** Of the HTTP interface, embedded or not. */
    readonly url: string
    readonly user: string
    readonly hasPassword: boolean
    readonly database: string
  }
}

/** Prints the banner, unless nothing is to be said. */
export function printBanner(
  config: Config,
  { port, publicKey, clickhouseUrl }: { port: number; publicKey: string | undefined; clickhouseUrl: string },
): void {
  if (config.logLevel === 'silent') return
  const { user, password, database } = config.clickhouse
  const clickhouse = { url: clickhouseUrl, user, hasPassword: password !== '', database }
  process.stdout.write(banner({ ...config, port, publicKey, clickhouse }))
}

/** The banner, several lines with a line break at the end. Holds the public key, no other secret. */
export function banner(options: BannerOptions): string {
  const address = httpAddress(options.host, options.port)
  const send =
    options.publicKey === undefined
      ? ['Make a workspace and its keys:', '  bun src/main.ts provision --tenant acme --workspace web']
      : ['Send an event:', `  ${sendLine(address, options.publicKey)}`]
  return [
    '',
    `Penstock is ready at ${address}`,
    '',
    ...send,
    '',
    'See the events (they arrive about a second later):',
    `  ${queryLine(options.clickhouse)}`,
    '',
    `Data: ${resolve(options.dataDir)}`,
    '',
    '',
  ].join('\n')
}

/** Where a program on this machine reaches the server: the addresses that mean "every network" are not for connecting. */
export function httpAddress(host: string, port: number): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}

function sendLine(address: string, key: string): string {
  const event = {
    type: 'pageview',
    timestamp: new Date().toISOString(),
    session_id: randomUUID(),
    properties: { plan: 'trial' },
  }
  const body = JSON.stringify({ events: [event] })
  const headers = `-H ${quote(`API-Key: ${key}`)} -H ${quote('Content-Type: application/json')}`
  return `curl ${quote(`${address}/v1/events`)} ${headers} -d ${quote(body)}`
}

function queryLine(clickhouse: BannerOptions['clickhouse']): string {
  const newest = `SELECT type, received_at, properties FROM ${clickhouse.database}.events ORDER BY received_at DESC LIMIT 10`
  const url = new URL(clickhouse.url)
  url.search = `query=${encodeURIComponent(`${newest} FORMAT PrettyCompact`)}`
  const login = clickhouse.hasPassword || clickhouse.user !== 'default' ? `--user ${quote(clickhouse.user)} ` : '' // asks for the password
  return `curl ${login}${quote(url.href)}`
}

/** For a POSIX shell: inside single quotes only the single quote is special. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
