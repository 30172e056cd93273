/**
 * Prebuilt WebSocket messages on disk, as frames behind one another, and one with the length of each as a line of text. The mask is 0, so
 * that a frame can be changed in place: every sending writes its own `seq` into it.
 */
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { EventSource, eventJson } from './events.ts'

/** The lowest `seq`: all of them have as many digits. */
export const SEQUENCE_BASE = 1000
export const SEQUENCE_DIGITS = 4

const MESSAGE_HEAD = '{"seq":'

/** Messages for the load generator. */
export interface MessageFile {
  readonly path: string
  readonly eventsPerMessage: number
}

/** Writes different messages of so many events. */
export function writeMessages(directory: string, messages: number, eventsPerMessage: number): MessageFile {
  const path = join(directory, `${eventsPerMessage}.messages`)
  const file = openSync(path, 'w')
  const source = new EventSource({ seed: 1 })
  const lengths: number[] = []
  for (let index = 0; index < messages; index++) {
    const events = Array.from({ length: eventsPerMessage }, () => eventJson(source.event()))
    lengths.push(writeSync(file, frame(`${MESSAGE_HEAD}${SEQUENCE_BASE},"events":[${events.join(',')}]}`)))
  }
  closeSync(file)
  writeFileSync(`${path}.lengths`, lengths.map((length) => `${length}\n`).join(''))
  return { path, eventsPerMessage }
}

/** Reads them, with the place of the `seq` in each. */
export function readMessages(path: string): { readonly frame: Uint8Array; readonly sequenceAt: number }[] {
  const bytes = readFileSync(path)
  const lines = readFileSync(`${path}.lengths`, 'utf8').trim().split('\n')
  let start = 0
  return lines.map((line) => {
    const message = bytes.subarray(start, start + Number(line))
    start += Number(line)
    return { frame: message, sequenceAt: message.indexOf(MESSAGE_HEAD) + MESSAGE_HEAD.length }
  })
}

/** A text frame of a client (RFC 6455, 5.2). */
function frame(text: string): Buffer {
  const payload = Buffer.from(text)
  const head = Buffer.alloc(payload.length < 126 ? 6 : payload.length < 65_536 ? 8 : 14)
  head[0] = 0x81
  if (payload.length < 126) head[1] = 0x80 | payload.length
  else if (payload.length < 65_536) {
    head[1] = 0x80 | 126
    head.writeUInt16BE(payload.length, 2)
  } else {
    head[1] = 0x80 | 127
    head.writeBigUInt64BE(BigInt(payload.length), 2)
  }
  return Buffer.concat([head, payload])
}
