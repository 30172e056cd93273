/**
 * Prebuilt requests on disk: one file of raw HTTP requests behind one another, and one with the length of each as a line of text.
 * The load generators send them as they are, over and over.
 */
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** Requests for a load generator. */
export interface RequestFile {
  /** Path of the requests; their lengths are beside it with `.lengths`. */
  readonly path: string
  readonly requests: number
  readonly eventsPerRequest: number
  /** Of a request with its headers, in bytes. */
  readonly meanBytes: number
}

/** One request. */
export interface BenchRequest {
  /** Path and query. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Writes the requests that `make` gives for 0, 1, 2 … into `directory`. */
export function writeRequests(options: {
  readonly directory: string
  readonly name: string
  readonly requests: number
  readonly eventsPerRequest: number
  readonly host: string
  readonly make: (index: number) => BenchRequest
}): RequestFile {
  const path = join(options.directory, `${options.name}.requests`)
  const file = openSync(path, 'w')
  const lengths: number[] = []
  for (let index = 0; index < options.requests; index++) {
    const { target, headers, body } = options.make(index)
    const bytes = Buffer.from(body)
    const lines = Object.entries({ Host: options.host, ...headers, 'Content-Length': bytes.length })
    const head = `POST ${target} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
    lengths.push(writeSync(file, head) + writeSync(file, bytes))
  }
  closeSync(file)
  writeFileSync(`${path}.lengths`, lengths.map((length) => `${length}\n`).join(''))
  const totalBytes = lengths.reduce((sum, length) => sum + length, 0)
  return {
    path,
    requests: options.requests,
    eventsPerRequest: options.eventsPerRequest,
    meanBytes: totalBytes / options.requests,
  }
}
