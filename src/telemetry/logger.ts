/**
 * The log of the program: one JSON line per record on stdout, or readable lines in a terminal.
 * Both are written synchronously by this thread: no worker that could lose the last lines of a crash.
 */
import { createRequire } from 'node:module'
import { type DestinationStream, type Logger, pino } from 'pino'
import type { PrettyOptions, PrettyStream } from 'pino-pretty'

export type { Logger } from 'pino'

/** What a logger is made from. */
export interface LoggerOptions {
  /** Least severe level to write; `silent` writes nothing. */
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'
  /** Readable lines instead of JSON; by default when stdout is a terminal. */
  readonly pretty?: boolean
  /** Number of the process among several, in every line. */
  readonly worker?: number | undefined
  /** Where the lines go instead of stdout. */
  readonly destination?: DestinationStream
}

/** Makes a logger. Records carry `level` as a word, `time` in ISO 8601, `msg`, and an error under `err`. */
export function createLogger(options: LoggerOptions): Logger {
  const pretty = options.pretty ?? (options.destination === undefined && process.stdout.isTTY === true)
  return pino(
    {
      level: options.level,
      base: options.worker === undefined ? null : { worker: options.worker },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pretty ? prettyStream(options.destination) : (options.destination ?? pino.destination({ fd: 1, sync: true })),
  )
}

/** Loaded only here: a server that writes JSON need not pay for it at start. */
function prettyStream(destination: DestinationStream | undefined): PrettyStream {
  const pinoPretty: (options: PrettyOptions) => PrettyStream = createRequire(import.meta.url)('pino-pretty')
  return pinoPretty({
    sync: true,
    colorize: destination === undefined,
    translateTime: 'SYS:HH:MM:ss.l',
    ...(destination === undefined ? { destination: 1 } : { destination: destination as NodeJS.WritableStream }),
  })
}
