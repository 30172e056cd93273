/** Durations, read from people. */

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** What a duration looks like, for help and errors. */
export const DURATION_FORM = 'a duration such as 30s, 15m, 24h or 90d'

/** Reads `30s`, `15m`, `24h`, `90d` as milliseconds; undefined when it is anything else. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,6})([smhd])$/.exec(text)
  const unitMs = UNIT_MS[match?.[2] ?? '']
  return match === null || unitMs === undefined ? undefined : Number(match[1]) * unitMs
}
