/** A server that takes OTLP over HTTP in JSON, as a collector of OpenTelemetry does: https://opentelemetry.io/docs/specs/otlp/#otlphttp */

/** A value of an attribute in OTLP's JSON. */
type Value = { readonly stringValue?: string; readonly intValue?: number | string; readonly doubleValue?: number }

interface KeyValue {
  readonly key: string
  readonly value: Value
}

export interface ReceivedSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number
  /** Span ids. */
  readonly links: readonly string[]
  readonly attributes: Readonly<Record<string, string | number>>
  readonly resource: Readonly<Record<string, string | number>>
}

export interface ReceivedPoint {
  readonly attributes: Readonly<Record<string, string | number>>
  /** Of a histogram: the count. */
  readonly value: number
}

interface RawSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly links?: readonly { readonly spanId: string }[]
  readonly attributes?: readonly KeyValue[]
}

interface RawPoint {
  readonly attributes?: readonly KeyValue[]
  readonly asDouble?: number
  readonly asInt?: number | string
  readonly count?: number | string
}

type RawData = { readonly dataPoints: readonly RawPoint[] }

interface RawMetric {
  readonly name: string
  readonly sum?: RawData
  readonly gauge?: RawData
  readonly histogram?: RawData
}

export interface OtlpReceiver {
  readonly url: string
  readonly spans: readonly ReceivedSpan[]
  /** The latest points of each metric. */
  readonly metrics: ReadonlyMap<string, readonly ReceivedPoint[]>
  stop(): Promise<void>
}

/** Listens on a free port. */
export function startOtlpReceiver(): OtlpReceiver {
  const spans: ReceivedSpan[] = []
  const metrics = new Map<string, ReceivedPoint[]>()
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    routes: {
      '/v1/traces': async (request) => {
        const body = (await request.json()) as {
          resourceSpans: { resource: { attributes: KeyValue[] }; scopeSpans: { spans: RawSpan[] }[] }[]
        }
        for (const { resource, scopeSpans } of body.resourceSpans)
          for (const span of scopeSpans.flatMap((scope) => scope.spans))
            spans.push({
              ...{ traceId: span.traceId, spanId: span.spanId, name: span.name, kind: span.kind },
              parentSpanId: span.parentSpanId || undefined,
              links: (span.links ?? []).map((link) => link.spanId),
              attributes: plain(span.attributes),
              resource: plain(resource.attributes),
            })
        return Response.json({})
      },
      '/v1/metrics': async (request) => {
        const body = (await request.json()) as { resourceMetrics: { scopeMetrics: { metrics: RawMetric[] }[] }[] }
        for (const metric of body.resourceMetrics.flatMap(({ scopeMetrics }) =>
          scopeMetrics.flatMap((s) => s.metrics),
        )) {
          const { dataPoints = [] } = metric.sum ?? metric.gauge ?? metric.histogram ?? {}
          metrics.set(
            metric.name,
            dataPoints.map((point) => ({
              attributes: plain(point.attributes),
              value: Number(point.asDouble ?? point.asInt ?? point.count),
            })),
          )
        }
        return Response.json({})
      },
    },
  })
  return { url: `http://127.0.0.1:${server.port}`, spans, metrics, stop: () => server.stop(true) }
}

function plain(attributes: readonly KeyValue[] = []): Record<string, string | number> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, value.stringValue ?? value.doubleValue ?? Number(value.intValue)]),
  )
}
