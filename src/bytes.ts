/** Sizes in bytes, read from and written for people. */

const UNITS: readonly (readonly [name: string, bytes: number])[] = [
  ['TiB', 1024 ** 4],
  ['GiB', 1024 ** 3],
  ['MiB', 1024 ** 2],
  ['KiB', 1024],
  ['B', 1],
]

/**
 * Reads a whole number with an optional binary unit (`16MiB`, `10 GiB`, `65536`) as bytes; undefined when it is anything else.
 * Units of 1000 (`MB`) are refused: half of their users mean 1024.
 */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d{1,15}) ?(TiB|GiB|MiB|KiB|B)?$/i.exec(text)
  if (match === null) return undefined
  const unit = (match[2] ?? 'B').toLowerCase()
  const factor = UNITS.find(([name]) => name.toLowerCase() === unit)?.[1] ?? 1
  const bytes = Number(match[1]) * factor
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

/** Writes bytes in the largest unit that keeps the number readable: `16MiB`, `1.5GiB`, `100B`. */
export function formatBytes(bytes: number): string {
  const [name, factor] = UNITS.find(([, unitBytes]) => bytes >= unitBytes) ?? ['B', 1]
  return `${Number((bytes / factor).toFixed(1))}${name}`
}
