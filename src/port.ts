/** Whether one could listen on a port. */

/**
 * Free ports are looked for here: below those that a kernel gives to outgoing connections (from 32,768 with Linux, from 49,152 with macOS), one of which
 * could take the port before it is listened on.
 */
const FREE_PORT_MIN = 10_000
const FREE_PORT_MAX = 32_767
const TRIES = 100

/** Free ports that were given: whoever has one may not listen there yet. */
const given = new Set<number>()

/** Listens for a moment. Gives the port; for 0 a free one, and each time another. Throws when it cannot be had. */
export function probePort(hostname: string, port: number): number {
  for (let tried = 0; port === 0 && tried < TRIES; tried++) {
    const free = FREE_PORT_MIN + Math.floor(Math.random() * (FREE_PORT_MAX - FREE_PORT_MIN + 1))
    if (given.has(free)) continue
    try {
      listenOnce(hostname, free)
      given.add(free)
      return free
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
