/** `WS /v1/stream` as bytes: good messages in all kinds of frames, and frames that no client may send. */
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import type { Draw } from './draw.ts'

const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const
const CONTROL_BYTES_MAX = 125

export interface Frame {
  readonly opcode: number
  readonly payload: Uint8Array
  readonly isFinal?: boolean
  /** The bits that are reserved, of `0x70`. */
  readonly reserved?: number
  readonly isMasked?: boolean
  /** What the head says of its length, where that is a lie. */
  readonly announcedBytes?: bigint
}

/** RFC 6455 §5.2. */
export function frameBytes({
  opcode,
  payload,
  isFinal = true,
  reserved = 0,
  isMasked = true,
  announcedBytes,
}: Frame): Uint8Array {
  const length = announcedBytes ?? BigInt(payload.length)
  const head = Buffer.alloc(length < 126n ? 2 : length < 65_536n ? 4 : 10)
  head[0] = (isFinal ? 0x80 : 0) | reserved | opcode
  if (head.length === 2) head[1] = Number(length)
  else if (head.length === 4) head.writeUInt16BE(Number(length), 2)
  else head.writeBigUInt64BE(length, 2)
  if (head.length > 2) head[1] = head.length === 4 ? 126 : 127
  if (!isMasked) return Buffer.concat([head, payload])
  head[1] = (head[1] ?? 0) | 0x80
  const mask = randomBytes(4)
  return Buffer.concat([head, mask, payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0))])
}

/** A message in one frame or several, with pings between them. */
export function messageBytes(text: string, draw: Draw): Uint8Array {
  const payload = Buffer.from(text)
  const opcode = draw.chance(0.8) ? OPCODE.text : OPCODE.binary
  if (draw.chance(0.7)) return frameBytes({ opcode, payload })
  const frames: Uint8Array[] = []
  let at = 0
  for (let rest = draw.integer(1, 5); rest >= 0; rest--) {
    const end = rest === 0 ? payload.length : draw.integer(at, payload.length)
    frames.push(
      frameBytes({
        opcode: at === 0 && frames.length === 0 ? opcode : OPCODE.continuation,
        payload: payload.subarray(at, end),
        isFinal: rest === 0,
      }),
    )
    if (rest > 0 && draw.chance(0.3)) frames.push(frameBytes({ opcode: OPCODE.ping, payload: Buffer.from('?') }))
    at = end
  }
  return Buffer.concat(frames)
}

/** Frames after which the server has to end the connection, or need not. */
export function cruelFrames(good: string, draw: Draw): readonly [what: string, bytes: Uint8Array] {
  const text = Buffer.from(good)
  const { text: asText, ping, close, continuation } = OPCODE
  const kinds: readonly (readonly [string, () => Uint8Array])[] = [
    ['not masked', () => frameBytes({ opcode: asText, payload: text, isMasked: false })],
    [
      'reserved bits',
      () => frameBytes({ opcode: asText, payload: text, reserved: draw.pick([0x40, 0x20, 0x10, 0x70]) }),
    ],
    ['reserved opcode', () => frameBytes({ opcode: draw.pick([3, 7, 11, 15]), payload: text })],
    ['continuation of nothing', () => frameBytes({ opcode: continuation, payload: text })],
    [
      'a new message inside one',
      () =>
        Buffer.concat([
          frameBytes({ opcode: asText, payload: text, isFinal: false }),
          frameBytes({ opcode: asText, payload: text }),
        ]),
    ],
    [
      'a length that never comes',
      () =>
        frameBytes({
          opcode: asText,
          payload: text,
          announcedBytes: draw.pick([100_000n, 10n ** 7n, 2n ** 31n, 2n ** 32n, 2n ** 63n - 1n, 2n ** 64n - 1n]),
        }),
    ],
    ['a message that is too long', () => frameBytes({ opcode: asText, payload: Buffer.alloc(600_000, 0x20) })],
    [
      'a message in a hundred thousand frames',
      () =>
        Buffer.concat([
          frameBytes({ opcode: asText, payload: text.subarray(0, 1), isFinal: false }),
          ...Array.from({ length: 20_000 }, () =>
            frameBytes({ opcode: continuation, payload: new Uint8Array(0), isFinal: false }),
          ),
        ]),
    ],
    [
      'no UTF-8',
      () =>
        frameBytes({
          opcode: asText,
          payload: Buffer.concat([
            text,
            Buffer.from(draw.pick([[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xe2, 0x82]])),
          ]),
        }),
    ],
    [
      'a long ping',
      () => frameBytes({ opcode: ping, payload: Buffer.alloc(draw.pick([CONTROL_BYTES_MAX + 1, 1_000, 70_000])) }),
    ],
    ['a ping in pieces', () => frameBytes({ opcode: ping, payload: Buffer.alloc(3), isFinal: false })],
    [
      'a flood of pings',
      () =>
        Buffer.concat(
          Array.from({ length: 2_000 }, () =>
            frameBytes({ opcode: ping, payload: Buffer.alloc(draw.integer(0, CONTROL_BYTES_MAX)) }),
          ),
        ),
    ],
    [
      'an odd close',
      () =>
        frameBytes({
          opcode: close,
          payload: Buffer.from(
            draw.pick([
              [],
              [3],
              [0, 0],
              [3, 0xec],
              [0xff, 0xff],
              [3, 0xe8, 0xff, 0xfe],
              [3, 0xe8, ...Buffer.alloc(123)],
            ]),
          ),
        }),
    ],
    [
      'a close, and more',
      () =>
        Buffer.concat([
          frameBytes({ opcode: close, payload: Buffer.from([3, 0xe8]) }),
          frameBytes({ opcode: asText, payload: text }),
        ]),
    ],
    ['random bytes', () => randomBytes(draw.integer(1, 3_000))],
    ['half a frame', () => frameBytes({ opcode: asText, payload: text }).subarray(0, draw.integer(1, text.length))],
    [
      'a flood of messages',
      () => Buffer.concat(Array.from({ length: 300 }, () => frameBytes({ opcode: asText, payload: text }))),
    ],
  ]
  const [what, make] = draw.pick(kinds)
  return [what, make()]
}

/** The other side of one socket: what it has said so far. */
export class RawStream {
  readonly status: number
  isClosed = false
  private readonly socket: Socket
  private received: Buffer
  private readonly messages: string[] = []
  private wake: () => void = () => undefined

  private constructor(socket: Socket, status: number, rest: Buffer) {
    this.socket = socket
    this.status = status
    this.received = rest
    socket.on('data', (chunk: Uint8Array) => {
      this.received = Buffer.concat([this.received, chunk])
      this.read()
    })
    socket.on('close', () => {
      this.isClosed = true
      this.wake()
    })
    this.read()
  }

  /** Shakes hands; gives the status of the answer when that is not 101, 0 for none. */
  static open(port: number, headers: string, target = '/v1/stream'): Promise<RawStream | number> {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write(
      `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n${headers}\r\n`,
      'latin1',
    )
    return new Promise((resolve) => {
      let received = Buffer.alloc(0)
      const onData = (chunk: Uint8Array) => {
        received = Buffer.concat([received, chunk])
        const end = received.indexOf('\r\n\r\n')
        if (end < 0) return
        socket.off('data', onData)
        socket.off('close', onClose)
        const status = Number(received.toString('latin1', 9, 12))
        if (status === 101) return resolve(new RawStream(socket, status, received.subarray(end + 4)))
        socket.destroy()
        resolve(status)
      }
      const onClose = () => resolve(0)
      socket.on('data', onData)
      socket.on('close', onClose)
    })
  }

  send(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  halfClose(): void {
    this.socket.end()
  }

  close(): void {
    this.socket.destroy()
  }

  /** The next message; undefined when the connection has ended, or none came in time. */
  async next(withinMs: number): Promise<string | undefined> {
    const deadline = performance.now() + withinMs
    for (;;) {
      const message = this.messages.shift()
      if (message !== undefined) return message
      const leftMs = deadline - performance.now()
      if (this.isClosed || leftMs <= 0) return undefined
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** Frames of the server: never masked, never in pieces. */
  private read(): void {
    for (;;) {
      const { received } = this
      const short = (received[1] ?? 0) & 0x7f
      const headBytes = short === 127 ? 10 : short === 126 ? 4 : 2
      if (received.length < headBytes) return
      const length =
        short === 127 ? Number(received.readBigUInt64BE(2)) : short === 126 ? received.readUInt16BE(2) : short
      if (received.length < headBytes + length) return
      const opcode = (received[0] ?? 0) & 0x0f
      const payload = received.subarray(headBytes, headBytes + length)
      this.received = received.subarray(headBytes + length)
      if (opcode === OPCODE.text) this.messages.push(payload.toString('utf8'))
      this.wake()
    }
  }
}
