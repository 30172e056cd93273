/** What is sent over WebSockets: the events of each message as a line of JSON. The generator adds the `seq`. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { EventSource, eventJson } from './events.ts'

/** Messages for the load generator. */
export interface MessageFile {
  readonly path: string
  readonly eventsPerMessage: number
}

/** Writes different messages of so many events. */
export function writeMessages(directory: string, messages: number, eventsPerMessage: number): MessageFile {
  const path = join(directory, `${eventsPerMessage}.messages`)
  const source = new EventSource({ seed: 1 })
  const lines = Array.from({ length: messages }, () => {
    const events = Array.from({ length: eventsPerMessage }, () => eventJson(source.event()))
    return `[${events.join(',')}]\n`
  })
  writeFileSync(path, lines.join(''))
  return { path, eventsPerMessage }
}
