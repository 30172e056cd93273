/** Redis for tests: a server of Debian's package in a temporary directory, on a free port, which tests may stop, kill and start again. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../src/sink/engine-setup.ts'
import { installPackage } from './packages.ts'

const PROGRAM = '/usr/bin/redis-server'
const START_DEADLINE_MS = 10_000

export interface TestRedis {
  readonly url: string
  readonly port: number
  /** Runs one command of redis-cli and gives what it prints. */
  cli(...args: readonly string[]): string
  /** Starts it again at the same port, with nothing in it. */
  start(): Promise<void>
  /** Ends it, as a crash does. */
  kill(): Promise<void>
  /** It keeps its connections, but does nothing. */
  freeze(): void
  thaw(): void
  /** Ends it and removes what it left. */
  dispose(): Promise<void>
}

/** @param args further ones of redis-server, such as `--requirepass` and a password */
export async function startTestRedis(...args: readonly string[]): Promise<TestRedis> {
  installPackage(PROGRAM, 'redis-server')
  const directory = mkdtempSync(join(tmpdir(), 'penstock-test-redis-'))
  const port = freePort()
  const password = args[args.indexOf('--requirepass') + 1]
  const login = args.includes('--requirepass') && password !== undefined ? ['--no-auth-warning', '-a', password] : []
  let child: ChildProcess | undefined

  const cli = (...command: readonly string[]) => {
    const result = spawnSync('redis-cli', ['-p', `${port}`, ...login, ...command], { encoding: 'utf8' })
    return result.status === 0 ? result.stdout.trim() : `failed: ${result.stderr}`
  }
  const kill = async () => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  const start = async () => {
    const fixed = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', directory, '--save', '', '--appendonly', 'no']
    child = spawn(PROGRAM, [...fixed, ...args], { stdio: 'ignore' })
    const deadline = performance.now() + START_DEADLINE_MS
    while (cli('ping') !== 'PONG') {
      if (performance.now() > deadline) throw new Error('redis-server does not start')
      await Bun.sleep(10)
    }
  }
  await start()
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    cli,
    start,
    kill,
    freeze: () => child?.kill('SIGSTOP'),
    thaw: () => child?.kill('SIGCONT'),
    async dispose() {
      await kill()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
