/** W3C Trace Context, version 00: https://www.w3.org/TR/trace-context/ — `traceparent: 00-<trace id>-<span id>-<flags>`. */
import { createTraceState, type SpanContext, TraceFlags } from '@opentelemetry/api'

const TRACEPARENT = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** What a client's headers say; undefined when they say nothing, or what cannot be right. */
export function parseTraceContext(headers: Headers): SpanContext | undefined {
  const traceparent = headers.get('traceparent')
  if (traceparent === null) return undefined
  const [, version, traceId = '', spanId = '', flags = '', rest] = TRACEPARENT.exec(traceparent) ?? []
  if (version === undefined || (version === '00' && rest !== undefined)) return undefined
  const traceFlags = Number.parseInt(flags, 16) & TraceFlags.SAMPLED
  const state = headers.get('tracestate')
  return { traceId, spanId, traceFlags, isRemote: true, ...(state ? { traceState: createTraceState(state) } : {}) }
}

/** The header of that name. */
export function formatTraceparent({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
}
