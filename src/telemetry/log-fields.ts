/** What every log line about a request says: which one, whose, and the trace in which it is found. */
import type { Identity, Trace } from './telemetry.ts'

export interface LoggedRequest extends Identity {
  readonly protocol: string
  readonly trace?: Trace | undefined
}

/** Fields of a log line; what is not known is left out. The last two as OpenTelemetry names them in logs. */
export function logFields({ requestId, protocol, key, trace }: LoggedRequest): Readonly<Record<string, string>> {
  return {
    requestId,
    protocol,
    ...(key === undefined ? {} : { tenantId: key.tenantId, workspaceId: key.workspaceId }),
    ...(trace === undefined ? {} : { trace_id: trace.traceId, span_id: trace.spanId }),
  }
}
