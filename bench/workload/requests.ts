/**
 * Prebuilt requests on disk: one file of raw HTTP requests behind one another, and one with the length of each as a line of text.
 * The load generators send them over and over: as they are, or with the number of the pass written into them where PASS_NUMBER stands.
 * Then a third file has a line for each request, with the places of it.
 */
import assert from 'node:assert/strict'
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** Stands where the generator writes the number of the pass: 8 hexadecimal digits, which no other pass and no other load has. */
export const PASS_NUMBER = '<number>'

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
  readonly body: string | Uint8Array
}

/** Writes the requests that `make` gives for 0, 1, 2 … into `directory`. */
export function writeRequests(options: {
  readonly directory: string
  readonly name: string
  readonly requests: number
  readonly eventsPerRequest: number
  readonly host: string
  /** Has the generator write the number of the pass wherever PASS_NUMBER stands. */
  readonly isNumbered?: boolean
  readonly make: (index: number) => BenchRequest
}): RequestFile {
  const path = join(options.directory, `${options.name}.requests`)
  const file = openSync(path, 'w')
  const lengths: number[] = []
  const places: string[] = []
  for (let index = 0; index < options.requests; index++) {
    const { target, headers, body } = options.make(index)
    const bytes = Buffer.from(body)
    const lines = Object.entries({ Host: options.host, ...headers, 'Content-Length': bytes.length })
    const head = `POST ${target} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
    const request = Buffer.concat([Buffer.from(head), bytes])
    lengths.push(writeSync(file, request))
    places.push(placesOf(request).join(' '))
  }
  closeSync(file)
  writeFileSync(`${path}.lengths`, lengths.map((length) => `${length}\n`).join(''))
  if (options.isNumbered === true) writeFileSync(`${path}.places`, places.map((line) => `${line}\n`).join(''))
  else assert(places.every((line) => line === ''))
  const totalBytes = lengths.reduce((sum, length) => sum + length, 0)
  return {
    path,
    requests: options.requests,
    eventsPerRequest: options.eventsPerRequest,
    meanBytes: totalBytes / options.requests,
  }
}

function placesOf(request: Buffer): number[] {
  const places: number[] = []
  for (let place = request.indexOf(PASS_NUMBER); place >= 0; place = request.indexOf(PASS_NUMBER, place + 1))
    places.push(place)
  return places
}
