/** A WebSocket client whose answers are awaited one by one. */

export interface StreamAnswer {
  readonly type: 'ack' | 'error' | 'slow_down'
  readonly seq?: string | number
  readonly [field: string]: unknown
}

export class StreamClient {
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  private readonly socket: WebSocket
  private readonly answers: StreamAnswer[] = []
  private waiting: PromiseWithResolvers<StreamAnswer> | undefined

  private constructor(socket: WebSocket) {
    this.socket = socket
    const { promise, resolve } = Promise.withResolvers<{ code: number; reason: string }>()
    this.closed = promise
    socket.onclose = ({ code, reason }) => {
      resolve({ code, reason })
      this.waiting?.reject(new Error(`the socket was closed with ${code} ${reason}`))
    }
    socket.onmessage = ({ data }) => {
      const answer = JSON.parse(String(data)) as StreamAnswer
      if (this.waiting === undefined) this.answers.push(answer)
      else this.waiting.resolve(answer)
      this.waiting = undefined
    }
  }

  static async open(
    url: string,
    options: { headers?: Record<string, string>; protocols?: string[] } = {},
  ): Promise<StreamClient> {
    const client = new StreamClient(new WebSocket(url, options as never))
    await new Promise<void>((resolve, reject) => {
      client.socket.onopen = () => resolve()
      void client.closed.then(({ code, reason }) => reject(new Error(`not opened: ${code} ${reason}`)))
    })
    return client
  }

  get isOpen(): boolean {
    return this.socket.readyState === WebSocket.OPEN
  }

  get protocol(): string {
    return this.socket.protocol
  }

  send(message: unknown): void {
    this.socket.send(JSON.stringify(message))
  }

  sendText(message: string | Uint8Array<ArrayBuffer>): void {
    this.socket.send(message)
  }

  /** The next message of the server. */
  next(): Promise<StreamAnswer> {
    const answer = this.answers.shift()
    if (answer !== undefined) return Promise.resolve(answer)
    this.waiting = Promise.withResolvers()
    return this.waiting.promise
  }

  close(): void {
    this.socket.close()
  }

  /** Ends the connection without a closing handshake. */
  terminate(): void {
    this.socket.terminate()
  }
}
