/**
 * Reads an HTTP/1.1 answer as it arrives: status line, header fields, and a body of known length, in chunks, or up to the end of
 * the connection. Answers to inserts are short; a longer body is cut, because only an error message can be one.
 */
import { type Problem, problem } from '../problem.ts'

/** A complete answer. */
export interface HttpAnswer {
  readonly status: number
  /** Names in lower case; the last of several of one name. */
  readonly headers: ReadonlyMap<string, string>
  /** The first BODY_BYTES_MAX bytes. */
  readonly body: string
}

const HEAD_BYTES_MAX = 64 * 1024
const BODY_BYTES_MAX = 1024 * 1024

/** Takes bytes until `result` is there. */
export class AnswerParser {
  #received = Buffer.alloc(0)
  #hasEnded = false
  #result: HttpAnswer | Problem<'malformed_answer'> | undefined

  /** Undefined while the answer is not complete. */
  get result(): HttpAnswer | Problem<'malformed_answer'> | undefined {
    return this.#result
  }

  push(bytes: Uint8Array): void {
    this.#received = Buffer.concat([this.#received, bytes])
    this.#read()
  }

  /** The other side sends no more. */
  end(): void {
    this.#hasEnded = true
    this.#read()
  }

  #read(): void {
    while (this.#result === undefined) {
      const headEnd = this.#received.indexOf('\r\n\r\n')
      if (headEnd < 0) {
        if (this.#received.byteLength > HEAD_BYTES_MAX) this.#result = malformed('its head does not end')
        return
      }
      const head = parseHead(this.#received.toString('latin1', 0, headEnd))
      if (head === undefined) {
        this.#result = malformed('it is not HTTP')
        return
      }
      const rest = this.#received.subarray(headEnd + 4)
      if (head.status < 200) {
        // An interim answer such as 100 Continue: the real one follows.
        this.#received = rest
        continue
      }
      this.#result = this.#readBody(head, rest)
      return
    }
  }

  #readBody(head: Head, rest: Buffer): HttpAnswer | Problem<'malformed_answer'> | undefined {
    const { headers } = head
    const complete = (body: Buffer): HttpAnswer => ({
      ...head,
      body: body.subarray(0, BODY_BYTES_MAX).toString('utf8'),
    })
    if (head.status === 204 || head.status === 304) return complete(rest.subarray(0, 0))
    if (headers.get('transfer-encoding')?.toLowerCase().includes('chunked')) {
      const chunks = parseChunks(rest)
      if (chunks === 'malformed') return malformed('its chunks are broken')
      if (chunks.isComplete || rest.byteLength > BODY_BYTES_MAX) return complete(chunks.body)
      return undefined
    }
    const length = Number(headers.get('content-length') ?? Number.NaN)
    if (rest.byteLength >= length) return complete(rest.subarray(0, length))
    if (rest.byteLength > BODY_BYTES_MAX) return complete(rest)
    return this.#hasEnded && Number.isNaN(length) ? complete(rest) : undefined
  }
}

interface Head {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
}

function parseHead(text: string): Head | undefined {
  const [statusLine = '', ...lines] = text.split('\r\n')
  const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(statusLine)?.[1]
  if (status === undefined) return undefined
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    if (colon > 0) headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim())
  }
  return { status: Number(status), headers }
}

function parseChunks(bytes: Buffer): { body: Buffer; isComplete: boolean } | 'malformed' {
  const chunks: Buffer[] = []
  let at = 0
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd < 0) break
    const size = /^([0-9A-Fa-f]{1,8})\s*(?:;.*)?$/.exec(bytes.toString('latin1', at, lineEnd))?.[1]
    if (size === undefined) return 'malformed'
    const length = Number.parseInt(size, 16)
    const start = lineEnd + 2
    // Trailer fields are of no interest: the last chunk is the end.
    if (length === 0) return { body: Buffer.concat(chunks), isComplete: true }
    chunks.push(bytes.subarray(start, start + length))
    if (start + length + 2 > bytes.byteLength) break
    at = start + length + 2
  }
  return { body: Buffer.concat(chunks), isComplete: false }
}

function malformed(what: string): Problem<'malformed_answer'> {
  return problem('malformed_answer', `the answer cannot be read: ${what}`)
}
