/** Names of this project's objects, as everything that it sends out has them. */
import { isObject } from './json.ts'

/** A copy, with the names of all objects in it in snake_case: `{ flushedBytes: 1 }` becomes `{ flushed_bytes: 1 }`. */
export function snakeCased(value: object): object {
  return copy(value) as object
}

function copy(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copy)
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [snakeCase(name), copy(inner)]))
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
