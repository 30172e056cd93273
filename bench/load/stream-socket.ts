/**
 * One WebSocket of the load generator, over a plain socket: Bun's own client masks every message anew, which costs more than all the rest.
 * Here the frames are made before (see `workload/stream-messages.ts`), with the mask 0, and sent as they are but for the `seq`.
 */
import { SEQUENCE_BASE, SEQUENCE_DIGITS } from '../workload/stream-messages.ts'

const HEAD_END = '\r\n\r\n'

const OPCODE_TEXT = 1
const OPCODE_CLOSE = 8
const OPCODE_PING = 9

/** A pong without a payload; Penstock's pings have none. */
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0])

/** A frame that is ready to be sent, and where its `seq` stands. */
export interface Message {
  readonly frame: Uint8Array
  readonly sequenceAt: number
}

/** What Penstock said. */
export interface Answer {
  readonly type: 'ack' | 'error' | 'slow_down'
  readonly seq?: number
  readonly accepted?: number
}

export interface StreamListener {
  /** A message of this slot was acknowledged: the slot is free again. */
  acknowledged(socket: StreamSocket, slot: number, events: number): void
  /** An error, or a message that is none of these. */
  refused(text: string): void
  slowedDown(): void
  /** The connection ended before `end` was called. */
  broken(): void
}

/** See the head of this file. */
export class StreamSocket {
  private readonly listener: StreamListener
  private socket: Bun.Socket | undefined
  private readonly opened = Promise.withResolvers<void>()
  private isOpen = false
  private isEnded = false
  private heard: Buffer = Buffer.alloc(0)
  private unsent: Uint8Array | undefined
  private readonly freeSlots: number[]

  /** @param window messages that may be without an answer at one time */
  constructor(listener: StreamListener, window: number) {
    this.listener = listener
    this.freeSlots = Array.from({ length: window }, (_, slot) => slot)
  }

  /** Resolves when messages can be sent; rejects when Penstock refuses. */
  async open(url: URL, key: string): Promise<void> {
    const lines = [
      `GET ${url.pathname} HTTP/1.1`,
      `Host: ${url.host}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('base64')}`,
      `API-Key: ${key}`,
    ]
    this.socket = await Bun.connect({
      hostname: url.hostname,
      port: Number(url.port),
      socket: {
        data: (_socket, bytes) => this.hear(bytes),
        drain: () => this.flush(),
        close: () => this.lost(),
        error: () => this.lost(),
      },
    })
    this.socket.write(`${lines.join('\r\n')}${HEAD_END}`)
    return this.opened.promise
  }

  /** Whether another message may be sent. */
  get hasRoom(): boolean {
    return this.freeSlots.length > 0 && this.unsent === undefined
  }

  /** Sends a message; gives the slot that the answer will name, -1 when there is none. */
  send({ frame, sequenceAt }: Message): number {
    if (this.unsent !== undefined || this.socket === undefined) return -1
    const slot = this.freeSlots.pop() ?? -1
    if (slot < 0) return -1
    let rest = SEQUENCE_BASE + slot
    for (let digit = SEQUENCE_DIGITS - 1; digit >= 0; digit--, rest = Math.floor(rest / 10))
      frame[sequenceAt + digit] = 48 + (rest % 10)
    const written = Math.max(0, this.socket.write(frame))
    // A copy: the frame is everybody's.
    if (written < frame.length) this.unsent = frame.slice(written)
    return slot
  }

  end(): void {
    this.isEnded = true
    this.socket?.terminate()
  }

  private flush(): void {
    if (this.unsent === undefined || this.socket === undefined) return
    const written = Math.max(0, this.socket.write(this.unsent))
    this.unsent = written === this.unsent.length ? undefined : this.unsent.subarray(written)
  }

  private lost(): void {
    if (this.isEnded) return
    this.isEnded = true
    if (this.isOpen) this.listener.broken()
    else this.opened.reject(new Error('the connection ended before it was a WebSocket'))
  }

  private hear(bytes: Buffer): void {
    let heard = this.heard.length === 0 ? bytes : Buffer.concat([this.heard, bytes])
    if (!this.isOpen) {
      const headEnd = heard.indexOf(HEAD_END)
      if (headEnd < 0) {
        this.heard = Buffer.from(heard)
        return
      }
      const head = heard.toString('latin1', 0, headEnd)
      if (!head.startsWith('HTTP/1.1 101')) return this.opened.reject(new Error(`refused: ${head}`))
      heard = heard.subarray(headEnd + HEAD_END.length)
      this.isOpen = true
      this.opened.resolve()
    }
    const rest = this.takeFrames(heard)
    this.heard = rest === heard.length ? Buffer.alloc(0) : Buffer.from(heard.subarray(rest))
  }

  /** Takes the whole frames of these bytes; gives where the first one begins that is not there as a whole. */
  private takeFrames(bytes: Buffer): number {
    let at = 0
    while (at + 2 <= bytes.length) {
      let length = (bytes[at + 1] as number) & 0x7f
      let start = at + 2
      if (length === 127) throw new Error('an answer of more than 64 KiB')
      if (length === 126) {
        if (at + 4 > bytes.length) break
        length = bytes.readUInt16BE(at + 2)
        start = at + 4
      }
      if (start + length > bytes.length) break
      this.take((bytes[at] as number) & 0x0f, bytes.toString('utf8', start, start + length))
      at = start + length
    }
    return at
  }

  private take(opcode: number, text: string): void {
    if (opcode === OPCODE_PING) this.socket?.write(PONG)
    if (opcode === OPCODE_CLOSE) return this.lost()
    if (opcode !== OPCODE_TEXT) return
    const { type, seq = Number.NaN, accepted = 0 }: Answer = JSON.parse(text)
    if (type === 'slow_down') return this.listener.slowedDown()
    if (type !== 'ack') return this.listener.refused(text)
    const slot = seq - SEQUENCE_BASE
    this.freeSlots.push(slot)
    this.listener.acknowledged(this, slot, accepted)
  }
}
