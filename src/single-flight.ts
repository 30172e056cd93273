/** Work that many may ask for at one time, and that is done once for all of them. */

/** Gives the function to ask: while the work runs, it gives that run's result; after its end the next one begins anew. */
export function singleFlight<Result>(work: () => Promise<Result>): () => Promise<Result> {
  let running: Promise<Result> | undefined
  return () => {
    running ??= work().finally(() => {
      running = undefined
    })
    return running
  }
}
