/** ClickHouse with the server configuration of `clickhouse/server`: users, grants, row policies and limits as a real server has them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findLibrary, freePort } from '../../src/sink/engine-setup.ts'
import { waitUntil } from './collector.ts'

const REPOSITORY = join(import.meta.dir, '../..')

export interface ServerOptions {
  /** Passwords, as `users.d` takes them. */
  readonly env: Readonly<Record<string, string>>
  /** More files in `users.d`, by name. */
  readonly users?: Readonly<Record<string, string>>
  /** More of the server's configuration, as XML elements; it is told the native port. */
  readonly settings?: (tcpPort: number) => string
}

export interface ConfiguredServer {
  readonly url: string
  /** One statement as a user; the answer, or ClickHouse's error in words that begin with its code. */
  ask(user: Account, sql: string, parameters?: Readonly<Record<string, string>>): Promise<string>
  stop(): Promise<void>
}

export interface Account {
  readonly user: string
  readonly password: string
}

/** What an image's own users.xml says: one user, without password, from anywhere. */
const USERS = `<clickhouse>
  <profiles><default/></profiles>
  <quotas><default><interval><duration>3600</duration><queries>0</queries></interval></default></quotas>
  <users>
    <default>
      <password></password>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
    </default>
  </users>
</clickhouse>`

/** Starts it and waits until it answers; throws what it printed when it ends instead. */
export async function startConfiguredServer(options: ServerOptions): Promise<ConfiguredServer> {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-server-'))
  const shell = spawn('sh', ['-c', 'cat > /dev/null; sleep 6; rm -rf "$0"', directory], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  shell.unref() // removes the directory when this process ends without stopping the server
  for (const folder of ['config.d', 'users.d']) {
    mkdirSync(join(directory, folder))
    const from = join(REPOSITORY, 'clickhouse/server', folder)
    for (const file of readdirSync(from)) copyFileSync(join(from, file), join(directory, folder, file))
  }
  for (const [name, xml] of Object.entries(options.users ?? {})) writeFileSync(join(directory, 'users.d', name), xml)
  const [port, tcpPort] = [freePort(), freePort()]
  writeFileSync(join(directory, 'users.xml'), USERS)
  // Read before config.d: `clickhouse/server/config.d` has the last word on all but the log, which must not fill the pipe.
  writeFileSync(
    join(directory, 'config.xml'),
    `<clickhouse>
  <users_config>${join(directory, 'users.xml')}</users_config>
  ${options.settings?.(tcpPort) ?? ''}
</clickhouse>`,
  )
  writeFileSync(
    join(directory, 'config.d/zz-log.xml'),
    '<clickhouse><logger><level>none</level><console_log_level>fatal</console_log_level></logger></clickhouse>',
  )

  const child = spawn(
    process.execPath,
    [
      join(REPOSITORY, 'src/sink/clickhouse-process.ts'),
      await findLibrary(),
      `--path=${join(directory, 'data')}`,
      `--config-file=${join(directory, 'config.xml')}`,
      `--http_port=${port}`,
      `--tcp_port=${tcpPort}`,
      '--listen_host=127.0.0.1',
    ],
    { detached: true, stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: process.env.PATH, ...options.env } },
  )
  child.stdin.on('error', () => undefined) // it ended, which its exit tells
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      printed = (printed + chunk.toString()).slice(-10_000)
    })
  let hasEnded = false
  const ended = once(child, 'close').then(() => {
    hasEnded = true
    rmSync(directory, { recursive: true, force: true })
  })

  const url = `http://127.0.0.1:${port}`
  await waitUntil('the server answers or ends', async () => hasEnded || (await fetch(`${url}/ping`)).ok)
  if (hasEnded) throw new Error(printed)

  return {
    url,
    async ask({ user, password }, sql, parameters) {
      const response = await fetch(`${url}/?${new URLSearchParams(parameters)}`, {
        method: 'POST',
        body: sql,
        headers: { authorization: `Basic ${btoa(`${user}:${password}`)}`, connection: 'close' },
      })
      return (await response.text()).trim()
    },
    async stop() {
      child.stdin.end()
      await ended
    },
  }
}
