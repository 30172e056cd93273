/**
 * Shares the processor among tenants. Requests are parsed, checked and encoded one after the other; a tenant that keeps many of them ready
 * would have all of them worked on before the next look at the sockets, and everybody else would wait for that. So while several
 * tenants send, each may have so many bytes of bodies worked on between two looks; what it brings beyond that waits in its own line.
 *
 * Beside one that sends batches as fast as answers come, over 128 connections, the p99 of single requests fell from 77 to 21 ms by it, and the
 * median from 46 to 4 (scenario `neighbours` of the bench, two cores).
 *
 * Bodies that have to be parsed before their key is known share two lines, one for small ones and one for others: whoever sends them may
 * have no key at all, and a body of 1 MiB that is nothing but brackets takes a few hundred milliseconds to parse.
 *
 * A tenant that is alone never waits. One that fills its line is refused (`overloaded`), so that its bodies do not take the room of all.
 */

import { type Rejection, reject } from '../rejection.ts'

/** A few hundred events: about a millisecond of work. */
const TURN_BYTES = 128 * 1024
/** Of a body whose key is not known: what browsers send is smaller, and does not wait behind what is larger. */
const SMALL_BYTES_MAX = 16 * 1024
/** So many that have begun may stay in a line, so that moving up costs nothing for each. */
const BEGUN_MAX = 1024
/** A tenant counts as sending for so long after its last request. */
const SENDING_MS = 1000

interface Line {
  /** Worked on since the last look at the sockets. */
  turnBytes: number
  waitingBytes: number
  waiting: Waiting[]
  /** Position of the first in `waiting`. */
  head: number
  lastAt: number
}

interface Waiting {
  readonly bytes: number
  readonly begin: (mayGoOn: boolean) => void
}

export class Turns {
  /** Of all tenants that are sending. */
  private readonly lines = new Map<string, Line>()
  /** Of bodies whose key is not known yet. */
  private readonly small = newLine()
  private readonly large = newLine()
  /** Those that had work since the last look, and those that wait. */
  private readonly busy = new Set<Line>()
  private isScheduled = false
  private lookedAt = 0
  private readonly waitingBytesMax: number

  /** @param waitingBytesMax what the waiting bodies of one line may take */
  constructor(waitingBytesMax: number) {
    this.waitingBytesMax = waitingBytesMax
  }

  /** When it is a body's turn to be worked on: now (true) or later; false: too much of this tenant waits already. */
  enter(tenantId: string, bytes: number): boolean | Promise<boolean> {
    let line = this.lines.get(tenantId)
    if (line === undefined) {
      line = newLine()
      this.lines.set(tenantId, line)
    }
    return this.join(line, bytes, this.lines.size === 1)
  }

  /** The same for a body that has to be parsed before its key is known; its tenant's turn is asked for then. */
  enterUnchecked(bytes: number): boolean | Promise<boolean> {
    return this.join(bytes > SMALL_BYTES_MAX ? this.large : this.small, bytes, false)
  }

  private join(line: Line, bytes: number, isAlone: boolean): boolean | Promise<boolean> {
    this.busy.add(line)
    if (!this.isScheduled) {
      this.isScheduled = true
      setImmediate(() => this.next())
    }
    if (line.waiting.length === 0 && (isAlone || line.turnBytes < TURN_BYTES)) {
      line.turnBytes += bytes
      return true
    }
    if (line.waitingBytes + bytes > this.waitingBytesMax) return false
    line.waitingBytes += bytes
    const { waiting } = line
    return new Promise((begin) => waiting.push({ bytes, begin }))
  }

  /** The sockets have been looked at: everybody has a turn again. */
  private next(): void {
    const now = performance.now()
    for (const line of this.busy) {
      line.lastAt = now
      line.turnBytes = 0
      letBegin(line)
      if (line.turnBytes === 0) this.busy.delete(line)
    }
    if (now - this.lookedAt > SENDING_MS) {
      this.lookedAt = now
      for (const [tenantId, line] of this.lines) if (now - line.lastAt > SENDING_MS) this.lines.delete(tenantId)
    }
    this.isScheduled = this.busy.size > 0
    if (this.isScheduled) setImmediate(() => this.next())
  }
}

/** What a tenant is told whose line is full. */
export function waitsTooLong(): Rejection {
  return reject('overloaded', 'too much of this tenant waits already')
}

function newLine(): Line {
  return { turnBytes: 0, waitingBytes: 0, waiting: [], head: 0, lastAt: 0 }
}

/** As many of those that wait as have room in one turn. */
function letBegin(line: Line): void {
  while (line.turnBytes < TURN_BYTES && line.head < line.waiting.length) {
    const { bytes, begin } = line.waiting[line.head++] as Waiting
    line.turnBytes += bytes
    line.waitingBytes -= bytes
    begin(true)
  }
  // Also while others wait: a busy line may never be empty.
  if (line.head < Math.min(line.waiting.length, BEGUN_MAX)) return
  line.waiting = line.waiting.slice(line.head)
  line.head = 0
}
