/** Whether one could listen on a port. */

/**
 * Free ports are looked for here: below those that a kernel gives to outgoing connections (from 32,768 with Linux, from 49,152 with macOS), one of which
 * could take the port before it is listened on.
 */
const FREE_PORT_MIN = 10_000
const FREE_PORT_MAX = 32_767
const TRIES = 100

/** Listens for a moment. Gives the port, a free one for 0; throws when it cannot be had. */
export function probePort(hostname: string, port: number): number {
  for (let tried = 0; port === 0 && tried < TRIES; tried++) {
    try {
      return listenOnce(hostname, FREE_PORT_MIN + Math.floor(Math.random() * (FREE_PORT_MAX - FREE_PORT_MIN + 1)))
    } catch {
      // somebody listens there: another one
    }
  }
  return listenOnce(hostname, port)
}

function listenOnce(hostname: string, port: number): number {
  const probe = Bun.listen({ hostname, port, socket: { data() {} } })
  probe.stop(true)
  return probe.port
}
