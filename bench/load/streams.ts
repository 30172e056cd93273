/** Runs the load generator for WebSockets (`stream-load.ts`) in two steps: open, and send. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Resources } from '../system/resources.ts'
import type { MessageFile } from '../workload/stream-messages.ts'
import { type LoadResult, parseLoad } from './result.ts'

export interface StreamOptions {
  readonly resources: Resources
  /** `ws://host:port/path` */
  readonly url: string
  readonly key: string
  readonly messages: MessageFile
  readonly connections: number
  readonly seconds: number
  /** Messages of one connection that may be without an answer. */
  readonly window: number
  /** Of all connections; without it every connection sends as soon as there is room in its window. */
  readonly messagesPerSecond?: number
}

/** What it measured: `requests` are messages. */
export interface StreamResult extends LoadResult {
  /** Events acknowledged. */
  readonly events: number
  readonly slowDowns: number
  /** Of the generator itself while it sent. */
  readonly cpuUs: number
}

/** Open connections. */
export interface OpenStreams {
  /** Sends; resolves when all is answered and the connections are gone. */
  send(): Promise<StreamResult>
  /** Ends them without having sent. */
  close(): Promise<void>
}

/** Resolves when all connections are open. Throws when one is refused. */
export async function openStreams(options: StreamOptions): Promise<OpenStreams> {
  const { url, key, messages, messagesPerSecond = 0, connections, seconds, window } = options
  const numbers = [messagesPerSecond, connections, seconds, window].map(String)
  const words = [join(import.meta.dir, 'stream-load.ts'), url, key, messages.path, ...numbers]
  const child = options.resources.track(spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'pipe'] }))
  let output = ''
  const opened = Promise.withResolvers<void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += String(chunk)
      if (output.startsWith('OPEN\n')) opened.resolve()
    })
  }
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', reject).once('close', (code) => {
      const failure = new Error(`the generator for WebSockets ended with ${code}: ${output.trim()}`)
      opened.reject(failure)
      if (code === 0) resolve()
      else reject(failure)
    })
  })
  ended.catch(() => undefined) // who sends is told
  await opened.promise
  return {
    async send() {
      child.stdin.end('SEND\n')
      await ended
      const load = parseLoad(output, 'bun', performance.now())
      const {
        events = Number.NaN,
        slowDowns = Number.NaN,
        cpuUs = Number.NaN,
      }: Partial<StreamResult> = JSON.parse(/^RESULT (.*)$/m.exec(output)?.[1] ?? '{}')
      return { ...load, events, slowDowns, cpuUs }
    },
    async close() {
      child.kill()
      await ended.catch(() => undefined)
    },
  }
}
