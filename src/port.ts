/** Whether one could listen on a port. */

/** Listens for a moment. Gives the port, a free one for 0; throws when it cannot be had. */
export function probePort(hostname: string, port: number): number {
  const probe = Bun.listen({ hostname, port, socket: { data() {} } })
  probe.stop(true)
  return probe.port
}
