/** What comes in? */
import type { Row } from '../assemble.ts'
import { timeseries } from '../panels.ts'
import { INSTANCE, metric, quantileBy, rateBy } from '../prometheus.ts'

export const INTAKE: Row = {
  title: 'What comes in?',
  panels: [
    timeseries({
      title: 'Events received',
      description: 'Events a second by protocol: accepted and rejected ones.',
      unit: 'eps',
      stacked: true,
      queries: [metric(rateBy('penstock_protocol', 'penstock_events_received_total'), '{{penstock_protocol}}')],
    }),
    timeseries({
      title: 'Events accepted, and duplicates among them',
      description: 'A duplicate was stored before; it is acknowledged, and not stored again.',
      unit: 'eps',
      queries: [
        metric(rateBy('penstock_protocol', 'penstock_events_accepted_total'), '{{penstock_protocol}}'),
        metric(rateBy('penstock_protocol', 'penstock_events_duplicates_total'), '{{penstock_protocol}}, duplicates'),
      ],
    }),
    timeseries({
      title: 'Bytes received',
      description: 'Bodies and messages, decompressed.',
      unit: 'Bps',
      stacked: true,
      queries: [metric(rateBy('penstock_protocol', 'penstock_request_bytes_total'), '{{penstock_protocol}}')],
    }),
    timeseries({
      title: 'Requests by route',
      description: 'Requests a second.',
      unit: 'reqps',
      stacked: true,
      queries: [
        metric(
          rateBy('http_request_method, http_route', 'http_server_request_duration_seconds_count'),
          '{{http_request_method}} {{http_route}}',
        ),
      ],
    }),
    timeseries({
      title: 'Duration of requests, p95 by route',
      description: 'From the first line of a request to its answer; for events that is when they are durable.',
      unit: 's',
      thresholds: { warning: 0.25, critical: 1 },
      queries: [metric(quantileBy('http_route', 0.95, 'http_server_request_duration_seconds'), '{{http_route}}')],
    }),
    timeseries({
      title: 'Duration of requests, p50 and p99 by route',
      description: 'p50 is what most requests see, p99 what the slowest of a hundred do.',
      unit: 's',
      thresholds: { warning: 0.25, critical: 1 },
      queries: [
        metric(quantileBy('http_route', 0.5, 'http_server_request_duration_seconds'), 'p50 {{http_route}}'),
        metric(quantileBy('http_route', 0.99, 'http_server_request_duration_seconds'), 'p99 {{http_route}}'),
      ],
    }),
    timeseries({
      title: 'WebSockets',
      description: 'Open connections of each collector.',
      unit: 'short',
      queries: [metric(`sum by (instance) (penstock_stream_connections{${INSTANCE}})`, '{{instance}}')],
    }),
    timeseries({
      title: 'WebSockets told to slow down',
      description:
        'slow_down messages a second: a socket sends faster than its events become durable, or than its key may.',
      unit: 'cps',
      queries: [metric(rateBy('instance', 'penstock_stream_slow_downs_total'), '{{instance}}')],
    }),
    timeseries({
      title: 'Known event ids',
      description:
        'Ids that are remembered to recognise copies, and DEDUPE_IDS_MAX; beyond it the oldest are forgotten.',
      unit: 'short',
      queries: [
        metric(`sum by (instance) (penstock_dedupe_ids{${INSTANCE}})`, '{{instance}}'),
        metric(`min(sum by (instance) (penstock_dedupe_ids_limit{${INSTANCE}}))`, 'limit'),
      ],
    }),
  ],
}
