/** Waiting, but not for ever. */

/** What the work resolves to; rejects when that takes longer. The work itself goes on, its outcome is dropped. */
export async function withTimeout<Value>(work: Promise<Value>, timeoutMs: number): Promise<Value> {
  const { promise: timedOut, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  return Promise.race([work, timedOut]).finally(() => clearTimeout(timer))
}
