/** HTTP as bytes on a socket, for what no HTTP client would send. */
import { connect, type Socket } from 'node:net'

/** What a client that expects it is told before the answer. */
const CONTINUE = 100

/** An answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** A connection that sends what it is given. */
export interface RawConnection {
  readonly socket: Socket
  send(bytes: string | Uint8Array): Promise<void>
  /** The next answer on the connection, interim ones left out; undefined when the server closed it without one. One to HEAD has no body. */
  answer(isHead?: boolean): Promise<RawAnswer | undefined>
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>
  close(): void
}

/** The head of a POST, to be followed by a body of any kind. */
export function postHead(path: string, headers: Readonly<Record<string, string | number>>): string {
  const lines = Object.entries({ host: 'test', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `POST ${path} HTTP/1.1\r\n${lines.join('')}\r\n`
}

/** Connects to a port of this machine. */
export async function openConnection(port: number): Promise<RawConnection> {
  const socket = connect(port, '127.0.0.1')
  let received = Buffer.alloc(0)
  let isClosed = false
  let wake: () => void = () => undefined
  socket.on('data', (chunk: Uint8Array) => {
    received = Buffer.concat([received, chunk])
    wake()
  })
  socket.on('error', () => undefined)
  const closed = new Promise<void>((resolve) => {
    socket.on('close', () => {
      isClosed = true
      wake()
      resolve()
    })
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', () => resolve())
    socket.once('error', reject)
  })
  return {
    socket,
    closed,
    send: (bytes) => new Promise((resolve) => socket.write(bytes, () => resolve())),
    async answer(isHead = false) {
      for (;;) {
        const found = parseAnswer(received, isHead)
        if (found !== undefined) {
          received = received.subarray(found.bytes)
          if (found.answer.status === CONTINUE) continue
          return found.answer
        }
        if (isClosed) return undefined
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
    close: () => socket.destroy(),
  }
}

/** Sends one request on a connection of its own and gives the answer. */
export async function rawRequest(port: number, bytes: string | Uint8Array): Promise<RawAnswer | undefined> {
  const connection = await openConnection(port)
  try {
    await connection.send(bytes)
    return await connection.answer()
  } finally {
    connection.close()
  }
}

/** Answers with `Content-Length` only: the collector sends no others. */
function parseAnswer(received: Buffer, isHead: boolean): { answer: RawAnswer; bytes: number } | undefined {
  const end = received.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const [first, ...lines] = received.subarray(0, end).toString('latin1').split('\r\n')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim()
  }
  const bytes = end + 4 + (isHead ? 0 : Number(headers['content-length'] ?? 0))
  if (received.length < bytes) return undefined
  const body = received.subarray(end + 4, bytes).toString('utf8')
  return { answer: { status: Number(first?.split(' ')[1]), headers, body }, bytes }
}
