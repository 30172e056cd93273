/** The signals that end a collector. */

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once, what is durable stays in the log. */
export function signalled(): Promise<string> {
  return new Promise((resolve) => {
    let seen = false
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (seen) process.exit(1)
        seen = true
        resolve(signal)
      })
    }
  })
}

/** The same for a worker: Ctrl-C reaches it too, but its supervisor says when to end; and so does the end of that. */
export function signalledBySupervisor(): Promise<string> {
  return new Promise((resolve) => {
    process.on('SIGINT', () => undefined)
    process.on('SIGTERM', () => resolve('SIGTERM'))
    process.on('disconnect', () => resolve('the supervisor is gone'))
  })
}
