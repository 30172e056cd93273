/** A Redis of the bench's own: Debian's server on a free port, which keeps nothing on disk. */
import { spawn } from 'node:child_process'
import { createConnection } from 'node:net'
import { ENGINE_HOST, freePort } from '../../src/sink/engine-setup.ts'
import { waitFor } from './clickhouse.ts'
import type { Resources } from './resources.ts'

export interface Redis {
  readonly url: string
  readonly pid: number
}

/** What to say where there is none. */
export const REDIS_MISSING = 'not measured: redis-server is not installed (Debian: apt install redis-server)'

const program = Bun.which('redis-server')

/** Starts it; undefined when it is not installed. */
export async function startRedis(resources: Resources): Promise<Redis | undefined> {
  if (program === null) return undefined
  const port = freePort()
  const place = ['--port', String(port), '--bind', ENGINE_HOST, '--dir', resources.directory('redis')]
  const child = resources.track(spawn(program, [...place, '--save', '', '--appendonly', 'no'], { stdio: 'ignore' }))
  const { pid } = child
  if (pid === undefined) throw new Error('Redis could not be started')
  await waitFor('Redis', 10_000, () => answers(port))
  return { url: `redis://${ENGINE_HOST}:${port}`, pid }
}

function answers(port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(port, ENGINE_HOST, () => {
      socket.end()
      resolve(true)
    })
    socket.on('error', () => resolve(undefined))
  })
}
