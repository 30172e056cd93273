/** Parsing of JSON bodies, with errors that say where, and without losing the digits of large integers. */
import { jsonErrorPosition } from './json-position.ts'

export interface MalformedJson {
  readonly malformed: string
}

/** Parses JSON; what is wrong with it comes back as a value, with the parser's message and the position. */
export function parseJson(text: string): { readonly value: unknown } | MalformedJson {
  try {
    return { value: JSON.parse(text) }
  } catch (error) {
    return { malformed: describe(text, error) }
  }
}

const UINT64_MAX = 2n ** 64n - 1n
const INT64_MIN = -(2n ** 63n)

/**
 * Parses JSON that `parseJson` has parsed, but gives integers beyond 2^53 that fit 64 bits (signed or unsigned) as bigint. Integers beyond
 * that stay floats, ClickHouse's JSON type has nothing wider. Slower: only for texts in which such numbers were seen.
 */
export function parseJsonExactly(text: string): unknown {
  return JSON.parse(text, ((_key: string, value: unknown, context?: { source?: string }) => {
    if (typeof value !== 'number' || Number.isSafeInteger(value) || context?.source === undefined) return value
    if (!/^-?\d+$/.test(context.source)) return value
    const integer = BigInt(context.source)
    return integer >= INT64_MIN && integer <= UINT64_MAX ? integer : value
  }) as (key: string, value: unknown) => unknown)
}

/** The same text for equal values, whatever the order of keys: for naming a value by its content. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? `${value}` : JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join()}]`
  const object = value as Record<string, unknown>
  let entries = ''
  for (const key of Object.keys(object).sort()) entries += `,${JSON.stringify(key)}:${canonicalJson(object[key])}`
  return `{${entries.slice(1)}}`
}

/** The engine's message names no position: it is looked for here, in a text that is known to be wrong. */
function describe(text: string, error: unknown): string {
  const message = error instanceof Error ? error.message.replace(/^JSON Parse error: /, '') : String(error)
  const position = jsonErrorPosition(text)
  const before = text.slice(0, position)
  const line = before.split('\n').length
  const column = position - before.lastIndexOf('\n')
  return `${message} at position ${position} (line ${line}, column ${column})`
}
