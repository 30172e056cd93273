/**
 * What the embedded ClickHouse prints. Always read, so that a full pipe never stops it; logged within a rate, so that it never floods.
 */
import type { Readable } from 'node:stream'
import type { Logger } from '../telemetry/logger.ts'

const LINE_LENGTH_MAX = 2_000
const LINES_PER_WINDOW_MAX = 50
const WINDOW_MS = 1_000

/** What one run of the engine printed, as far as its parent wants to know. */
export interface EngineOutput {
  /** The last error that the engine named as the reason for its end ("Code: 210. DB::Exception: …"), and its number. */
  lastError(): { code: number; text: string } | undefined
}

/** Reads the streams to their end; every message goes to the logger at debug level, stack traces are left out. */
export function readEngineOutput(streams: readonly Readable[], logger: Logger): EngineOutput {
  let error: { code: number; text: string } | undefined
  let windowStartedAt = 0
  let linesInWindow = 0
  let linesDropped = 0

  const log = (line: string) => {
    const now = performance.now()
    if (now - windowStartedAt > WINDOW_MS) {
      if (linesDropped > 0) logger.debug({ lines_dropped: linesDropped }, 'ClickHouse printed more than is logged')
      windowStartedAt = now
      linesInWindow = 0
      linesDropped = 0
    }
    if (linesInWindow < LINES_PER_WINDOW_MAX) {
      linesInWindow += 1
      logger.debug({ source: 'clickhouse' }, line)
    } else {
      linesDropped += 1
    }
  }

  const take = (line: string) => {
    if (/<Fatal> \w+: (\d+\. |$)/.test(line)) return // a stack trace
    const failure = /(?:^|<Fatal> \w+: )(Code: (\d+)\. .*)/.exec(line)
    if (failure?.[1] !== undefined) error = { code: Number(failure[2]), text: failure[1] }
    if (failure || /^\d{4}\.\d\d\.\d\d /.test(line)) log(line)
  }

  for (const stream of streams) readLines(stream, take)
  return { lastError: () => error }
}

function readLines(stream: Readable, take: (line: string) => void): void {
  let rest = ''
  stream.setEncoding('utf8')
  stream.on('error', () => {}) // the process behind it is gone, which its exit tells
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = (lines.pop() ?? '').slice(0, LINE_LENGTH_MAX)
    for (const line of lines) take(line.slice(0, LINE_LENGTH_MAX))
  })
  stream.on('end', () => {
    if (rest !== '') take(rest)
  })
}
