/**
 * What OpenTelemetry's own variables (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/) say to Penstock: whether
 * anything is measured and sent, and which requests are traced. Where to send it, with which headers and certificates, and how long spans
 * may wait, the SDK reads itself. A wrong value is not an error, as the specification wants it: it counts as unset, and of those that are read
 * here is warned.
 */

export const OTLP_PROTOCOLS = ['grpc', 'http/protobuf', 'http/json'] as const
export type OtlpProtocol = (typeof OTLP_PROTOCOLS)[number]

type Signal = 'METRICS' | 'TRACES'

/** Whose requests are traced. */
export interface Sampling {
  /** Requests that come with a sampled or unsampled trace stay that. */
  readonly isParentBased: boolean
  /** Of the others, from 0 to 1. */
  readonly ratio: number
}

/** See the head of this file. */
export interface Otel {
  /** OTEL_SDK_DISABLED: nothing is measured. */
  readonly disabled: boolean
  /** Undefined: metrics are not sent, only shown at `/metrics`. */
  readonly metrics:
    | { readonly protocol: OtlpProtocol; readonly intervalMs: number; readonly timeoutMs: number }
    | undefined
  /** Undefined: nothing is traced. */
  readonly traces: Sampling | undefined
  /** A line for each variable that is not as it should be. */
  readonly warnings: readonly string[]
}

/** Without OTEL_TRACES_SAMPLER: one in a hundred. A collector gets thousands of requests a second, and all are alike. */
const RATIO_USUAL = 0.01
const INTERVAL_USUAL_MS = 60_000
const TIMEOUT_USUAL_MS = 30_000

const SAMPLERS: Readonly<Record<string, (ratio: number) => Sampling>> = {
  always_on: () => ({ isParentBased: false, ratio: 1 }),
  always_off: () => ({ isParentBased: false, ratio: 0 }),
  traceidratio: (ratio) => ({ isParentBased: false, ratio }),
  parentbased_always_on: () => ({ isParentBased: true, ratio: 1 }),
  parentbased_always_off: () => ({ isParentBased: true, ratio: 0 }),
  parentbased_traceidratio: (ratio) => ({ isParentBased: true, ratio }),
}

/** @param environment as the operating system hands it over */
export function readOtel(environment: Readonly<Record<string, string | undefined>>): Otel {
  const warnings: string[] = []
  const text = (name: string) => environment[name]?.trim() || undefined
  const warn = (name: string, wants: string) => {
    warnings.push(`${name} is ${JSON.stringify(text(name))}, but wants ${wants}: it is ignored`)
    return undefined
  }
  const disabled = text('OTEL_SDK_DISABLED')?.toLowerCase() ?? 'false'
  if (disabled !== 'true' && disabled !== 'false') warn('OTEL_SDK_DISABLED', 'true or false')
  const isSent = (signal: Signal) => {
    const own = `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`
    const variable = text(own) === undefined ? 'OTEL_EXPORTER_OTLP_ENDPOINT' : own
    const endpoint = text(variable)
    if (endpoint !== undefined && !URL.canParse(endpoint)) {
      warn(variable, 'an address such as http://localhost:4318')
      return false
    }
    const name = `OTEL_${signal}_EXPORTER`
    const exporters = text(name)
      ?.split(',')
      .map((one) => one.trim())
    if (exporters === undefined) return endpoint !== undefined
    if (!exporters.every((one) => one === 'otlp' || one === 'none' || (one === 'prometheus' && signal === 'METRICS')))
      warn(name, 'otlp or none')
    return exporters.includes('otlp') && !exporters.includes('none')
  }
  const number = (name: string, minimum: number, maximum: number, usual: number) => {
    const given = text(name)
    if (given === undefined) return usual
    const value = Number(given)
    return value >= minimum && value <= maximum
      ? value
      : (warn(name, `a number from ${minimum} to ${maximum}`) ?? usual)
  }
  const protocol = (signal: Signal) => {
    const own = `OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`
    const name = text(own) === undefined ? 'OTEL_EXPORTER_OTLP_PROTOCOL' : own
    const given = text(name) ?? 'http/protobuf'
    return OTLP_PROTOCOLS.find((one) => one === given) ?? warn(name, OTLP_PROTOCOLS.join(', ')) ?? 'http/protobuf'
  }
  const sampling = () => {
    protocol('TRACES') // which the SDK reads itself: only to warn
    const given = text('OTEL_TRACES_SAMPLER')
    const make = given === undefined ? undefined : SAMPLERS[given]
    if (given !== undefined && make === undefined)
      warn('OTEL_TRACES_SAMPLER', `one of ${Object.keys(SAMPLERS).join(', ')}`)
    const ratio = number('OTEL_TRACES_SAMPLER_ARG', 0, 1, make === undefined ? RATIO_USUAL : 1)
    return make === undefined ? { isParentBased: true, ratio } : make(ratio)
  }
  const metrics = () => {
    const intervalMs = number('OTEL_METRIC_EXPORT_INTERVAL', 1, 86_400_000, INTERVAL_USUAL_MS)
    const timeoutMs = number('OTEL_METRIC_EXPORT_TIMEOUT', 1, 86_400_000, TIMEOUT_USUAL_MS)
    return { protocol: protocol('METRICS'), intervalMs, timeoutMs: Math.min(timeoutMs, intervalMs) }
  }
  return Object.freeze({
    disabled: disabled === 'true',
    metrics: disabled !== 'true' && isSent('METRICS') ? metrics() : undefined,
    traces: disabled !== 'true' && isSent('TRACES') ? sampling() : undefined,
    warnings: [...new Set(warnings)], // what is of both signals is said once
  })
}
