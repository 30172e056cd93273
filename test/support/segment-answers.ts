/** Answers of Segment's HTTP API, for tests. */
import type { Collector } from './collector.ts'

interface Refusal {
  readonly code: string
  readonly message: string
  readonly details?: readonly { readonly index?: number; readonly path: string; readonly message: string }[]
}

export interface Answer {
  readonly status: number
  readonly success?: boolean
  readonly accepted?: number
  readonly rejected?: number
  readonly errors?: readonly object[]
  readonly error?: Refusal
}

export async function answerTo(response: Response): Promise<Answer> {
  return { status: response.status, ...((await response.json()) as object) }
}

/** Sends a body with the collector's key. */
export async function sendText(collector: Collector, path: string, text: string): Promise<Answer> {
  return answerTo(await collector.post(text, {}, path))
}
