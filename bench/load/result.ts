/** What a load generator measured, and reading it from its output. */

export interface LoadResult {
  readonly generator: 'wrk' | 'bun'
  /** Answers received. */
  readonly requests: number
  /** From the first request until the generator stopped. */
  readonly durationMs: number
  /** Answers above 399. */
  readonly refused: number
  /** Connections that failed, broke, or waited longer than the generator's patience. */
  readonly broken: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
  /** Of a paced load: share of the requests that went out more than 5 ms after their time. Latency begins when they go out. */
  readonly lateShare: number
  /** `performance.now()` when the generator had ended. */
  readonly endedAt: number
}

/** Reads the line that both generators print. Throws when there is none. */
export function parseLoad(output: string, generator: LoadResult['generator'], endedAt: number): LoadResult {
  const line = /^RESULT (.*)$/m.exec(output)?.[1]
  if (line === undefined) throw new Error(`the load generator ${generator} gave no result: ${output.trim()}`)
  const said: Readonly<Record<string, number>> & { readonly errors: Readonly<Record<string, number>> } =
    JSON.parse(line)
  const number = (value: number | undefined) => {
    if (value === undefined || !Number.isFinite(value))
      throw new Error(`the load generator’s result lacks a figure: ${line}`)
    return value
  }
  const { errors } = said
  return {
    generator,
    requests: number(said.requests),
    durationMs: number(said.durationUs) / 1000,
    refused: number(errors.status),
    broken: number(errors.connect) + number(errors.read) + number(errors.write) + number(errors.timeout),
    p50Ms: number(said.p50Us) / 1000,
    p99Ms: number(said.p99Us) / 1000,
    p999Ms: number(said.p999Us) / 1000,
    maxMs: number(said.maxUs) / 1000,
    lateShare: number(said.lateShare),
    endedAt,
  }
}
