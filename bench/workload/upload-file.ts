/** NDJSON files to upload. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { EventSource, eventJson } from './events.ts'

const MiB = 1024 * 1024

export interface UploadFile {
  readonly path: string
  readonly events: number
  readonly bytes: number
}

/** Writes whole events, one a line, up to `bytesMax` bytes. */
export function writeUploadFile(directory: string, number: number, bytesMax: number): UploadFile {
  const path = join(directory, `${number}.ndjson`)
  const file = openSync(path, 'w')
  const source = new EventSource({ seed: number })
  let events = 0
  let bytes = 0
  for (let isFull = false; !isFull; ) {
    const lines: string[] = []
    for (let size = 0; size < MiB && !isFull; ) {
      const line = `${eventJson(source.event())}\n`
      size += Buffer.byteLength(line)
      isFull = bytes + size > bytesMax
      if (!isFull) lines.push(line)
    }
    bytes += writeSync(file, lines.join(''))
    events += lines.length
  }
  closeSync(file)
  return { path, events, bytes }
}
