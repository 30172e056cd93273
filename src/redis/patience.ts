/** Waiting for an answer without taking the fault of this process for that of the other side. */

/** A timer that comes later than this was held up: by a long garbage collection, a large request, a machine that has too much to do. */
const HELD_UP_MS = 10

/**
 * Calls `late` when the time is over. If this process was held up then, the answer may have come and not been read yet, or the question
 * may not even have left: it waits as long again, but only once. Returns what ends the waiting.
 */
export function waitPatiently(ms: number, late: () => void): () => void {
  const dueAt = performance.now() + ms
  let timer = setTimeout(() => {
    const isHeldUp = performance.now() - dueAt > HELD_UP_MS
    timer = setTimeout(late, isHeldUp ? ms : 0) // after what has come by now is read
  }, ms)
  return () => clearTimeout(timer)
}
