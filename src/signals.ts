/** The signals that end a collector. */

/**
 * Resolves at the first SIGTERM or SIGINT; a second one ends the process at once, what is durable stays in the log.
 * @param atOnce called before that
 */
export function signalled(atOnce: () => void = () => undefined): Promise<string> {
  return new Promise((resolve) => {
    let seen = false
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (seen) {
          atOnce()
          process.exit(1)
        }
        seen = true
        resolve(signal)
      })
    }
  })
}

/** Why a worker ends when its supervisor has ended without a word. */
export const SUPERVISOR_GONE = 'the supervisor is gone'

/** The same for a worker: Ctrl-C reaches it too, but its supervisor says when to end; and so does the end of that. */
export function signalledBySupervisor(): Promise<string> {
  return new Promise((resolve) => {
    process.on('SIGINT', () => undefined)
    process.on('SIGTERM', () => resolve('SIGTERM'))
    process.on('disconnect', () => resolve(SUPERVISOR_GONE))
    if (process.connected !== true) resolve(SUPERVISOR_GONE)
  })
}
