/** Sends requests as bytes over connections that are used again, as clients with keep-alive do. */
import { openConnection, type RawAnswer, type RawConnection } from '../support/raw-http.ts'

/** A good request is answered in this time, also on a busy machine. */
const PATIENCE_MS = 20_000

export class Client {
  private readonly port: number
  private readonly idle: RawConnection[] = []
  /** Requests that were sent over a connection that had been used before. */
  reused = 0

  constructor(port: number) {
    this.port = port
  }

  /** Undefined: no answer, because the connection was closed or nothing came. */
  async exchange(bytes: Uint8Array, isHead = false): Promise<RawAnswer | undefined> {
    const kept = this.idle.pop()
    if (kept !== undefined) this.reused++
    const connection = kept ?? (await openConnection(this.port))
    void connection.send(bytes)
    const timer = setTimeout(() => connection.close(), PATIENCE_MS)
    const answer = await connection.answer(isHead)
    clearTimeout(timer)
    if (answer === undefined || answer.headers.connection === 'close') connection.close()
    else this.idle.push(connection)
    return answer
  }

  /** Sends bytes that may be anything on a connection of their own; gives what is answered within the time, if something is. */
  async provoke(
    bytes: Uint8Array,
    options: { later?: Uint8Array | undefined; isHalfClosed: boolean; isGone: boolean; withinMs: number },
  ): Promise<RawAnswer | undefined> {
    const connection = await openConnection(this.port)
    try {
      connection.socket.write(bytes)
      if (options.later !== undefined) {
        await Bun.sleep(1)
        connection.socket.write(options.later)
      }
      if (options.isHalfClosed) connection.socket.end()
      if (options.isGone) return undefined
      return (await Promise.race([connection.answer(), Bun.sleep(options.withinMs)])) ?? undefined
    } finally {
      connection.close()
    }
  }

  close(): void {
    for (const connection of this.idle.splice(0)) connection.close()
  }
}
