/** A real Postgres for tests, from Debian's package: a server of its own in a temporary directory, on a free port. */
import { spawn } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { freePort } from '../../src/sink/engine-setup.ts'
import { waitUntil } from './collector.ts'
import { installPackage } from './packages.ts'

const INSTALLED = '/usr/lib/postgresql'
/** It has to survive crashes of the server, not of the machine. */
const SETTINGS = ['fsync=off', 'full_page_writes=off', 'max_connections=60', 'log_min_messages=fatal']

export interface TestPostgres {
  readonly pid: number
  readonly url: string
  /** The address of a new, empty database. */
  newDatabase(): Promise<string>
  /** Ends it at once, as a crash would; the data stays. */
  crash(): Promise<void>
  /** After a crash, on the same port. */
  restart(): Promise<void>
  /** Stands still, with all its connections open, until it goes on. */
  freeze(): void
  thaw(): void
  /** Ends it for good. */
  stop(): Promise<void>
}

/** Starts one. It goes away with this process, however that ends. */
export async function startPostgres(): Promise<TestPostgres> {
  const binaries = findBinaries()
  const directory = mkdtempSync(join(tmpdir(), 'penstock-postgres-'))
  const data = join(directory, 'data')
  // Postgres refuses to run as root.
  const isRoot = process.getuid?.() === 0
  const asOwner = isRoot ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups'] : []
  if (isRoot) {
    const id = (flag: string) => Number(Bun.spawnSync(['id', flag, 'postgres']).stdout.toString())
    chownSync(directory, id('-u'), id('-g'))
  }
  chmodSync(directory, 0o700)
  const made = Bun.spawnSync(
    [
      ...asOwner,
      join(binaries, 'initdb'),
      '-D',
      data,
      '-U',
      'penstock',
      '-A',
      'trust',
      '-E',
      'UTF8',
      '--locale=C',
      '--no-sync',
    ],
    { cwd: '/', stderr: 'pipe' },
  )
  if (made.exitCode !== 0) throw new Error(`initdb: ${made.stderr.toString()}`)
  const script =
    'cat > /dev/null; kill -QUIT $(head -n 1 "$0/data/postmaster.pid" 2> /dev/null) 2> /dev/null; sleep 1; rm -rf "$0"'
  const shell = spawn('sh', ['-c', script, directory], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  shell.unref()

  const port = freePort()
  const addressOf = (database: string) => `postgres://penstock@127.0.0.1:${port}/${database}`
  const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', `unix_socket_directories=${directory}`, ...SETTINGS]
  let databases = 0
  let server: Bun.Subprocess

  const start = async () => {
    server = Bun.spawn(
      [...asOwner, join(binaries, 'postgres'), '-D', data, ...settings.flatMap((setting) => ['-c', setting])],
      {
        cwd: '/',
        stdin: 'ignore',
        stdout: 'ignore',
        stderr: 'ignore',
      },
    )
    await waitUntil('Postgres answers', () => run(addressOf('postgres'), 'select 1').then(() => true))
  }
  const signalAll = (signal: NodeJS.Signals) => {
    process.kill(server.pid, signal) // first: it begins no more children
    Bun.spawnSync(['pkill', '--signal', signal, '-P', String(server.pid)]) // some may have ended meanwhile
  }
  const crash = async () => {
    server.kill('SIGQUIT')
    await server.exited
  }
  await start()
  return {
    get pid() {
      return server.pid
    },
    url: addressOf('postgres'),
    async newDatabase() {
      const name = `test_${++databases}`
      await run(addressOf('postgres'), `create database ${name}`)
      return addressOf(name)
    },
    crash,
    restart: start,
    freeze: () => signalAll('SIGSTOP'),
    thaw: () => signalAll('SIGCONT'),
    async stop() {
      await crash()
      shell.stdin.end()
    },
  }
}

/** One statement on a connection of its own. */
export async function run<Row = unknown>(url: string, sql: string): Promise<Row[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2000 })
  try {
    await client.connect()
    return (await client.query(sql)).rows as Row[]
  } finally {
    await client.end()
  }
}

function findBinaries(): string {
  installPackage(INSTALLED, 'postgresql')
  const version = readdirSync(INSTALLED).sort((one, other) => Number(other) - Number(one))[0]
  if (version === undefined) throw new Error(`there is no Postgres in ${INSTALLED}`)
  return join(INSTALLED, version, 'bin')
}
