/**
 * An expected failure, handed back as a value. `problem` is for programs (a closed set of codes per function),
 * `message` is one line for people: what is wrong and what would be right. Never holds a secret.
 */
export interface Problem<Code extends string = string> {
  readonly problem: Code
  readonly message: string
}

/** Makes a problem value. */
export function problem<Code extends string>(code: Code, message: string): Problem<Code> {
  return { problem: code, message }
}

/** Tells a problem from the value that was hoped for. */
export function isProblem<Value>(result: Value): result is Extract<Value, Problem> {
  return typeof result === 'object' && result !== null && 'problem' in result
}

/** What a caught error says, for the message of a problem or a log line. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
