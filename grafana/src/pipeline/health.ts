/** Is it well? */
import type { Row } from '../assemble.ts'
import { stat, table, timeseries } from '../panels.ts'
import { INSTANCE, metric, metricNow, quantileBy, rateBy } from '../prometheus.ts'

/** What producers ask for; checks of health and scrapes are not among it. */
const REQUESTS = `http_server_request_duration_seconds_count{${INSTANCE}, http_route!~"/(livez|readyz|health|stats|metrics|api/track/health)"}`
const FAILED = REQUESTS.replace('}', ', http_response_status_code=~"5.."}')

const AVAILABILITY = `
  1 - (sum(rate(${FAILED}[$__rate_interval])) or sum(rate(${REQUESTS}[$__rate_interval])) * 0)
    / sum(rate(${REQUESTS}[$__rate_interval]))`

export const HEALTH: Row = {
  title: 'Is it well?',
  panels: [
    stat({
      title: 'Collectors',
      description: 'Collectors that Prometheus reaches.',
      unit: 'short',
      thresholds: { critical: 1, below: true },
      queries: [metric(`sum(up{${INSTANCE}})`, 'up')],
    }),
    stat({
      title: 'Acknowledged',
      description: 'Events a second that are durable: what producers were told 2xx for.',
      unit: 'eps',
      queries: [metric(`sum(rate(penstock_events_accepted_total{${INSTANCE}}[$__rate_interval]))`, 'accepted')],
    }),
    stat({
      title: 'Availability',
      description:
        'Share of the requests that were not answered with 5xx. The objective is 99.9 % in 30 days; health checks and scrapes do not count.',
      unit: 'percentunit',
      decimals: 3,
      thresholds: { warning: 0.9995, critical: 0.999, below: true },
      queries: [metric(AVAILABILITY, 'available')],
    }),
    stat({
      title: 'Lag, p95',
      description:
        'Seconds from the acknowledgement until the event can be queried, of the oldest event of each segment.',
      unit: 's',
      thresholds: { warning: 10, critical: 60 },
      queries: [metric(quantileBy('', 0.95, 'penstock_event_lag_seconds'), 'p95')],
    }),
    stat({
      title: 'Oldest event not in ClickHouse',
      description: 'Its age. About a second is what FLUSH_INTERVAL_MS makes it; it grows while ClickHouse is away.',
      unit: 's',
      thresholds: { warning: 60, critical: 300 },
      queries: [metric(`max(penstock_log_oldest_unflushed_age_seconds{${INSTANCE}})`, 'oldest')],
    }),
    stat({
      title: 'Fullest log',
      description: 'Share of WAL_MAX_BYTES that is taken. When it is full, events are refused with 503.',
      unit: 'percentunit',
      thresholds: { warning: 0.5, critical: 0.8 },
      queries: [
        metric(`max(penstock_log_usage_bytes{${INSTANCE}} / penstock_log_limit_bytes{${INSTANCE}})`, 'fullest'),
      ],
    }),
    timeseries({
      title: 'Dependencies',
      description: 'Whether ClickHouse, the control database, Redis and the log answer: 1 or 0.',
      unit: 'short',
      max: 1,
      thresholds: { critical: 1, below: true },
      legend: ['lastNotNull'],
      queries: [
        metric(
          `min by (penstock_dependency, instance) (penstock_dependency_up{${INSTANCE}})`,
          '{{penstock_dependency}} of {{instance}}',
        ),
      ],
    }),
    timeseries({
      title: 'Answer of dependencies',
      description: 'How long the last answer took to the question whether they are there.',
      unit: 's',
      thresholds: { warning: 0.5, critical: 2 },
      queries: [
        metric(
          `max by (penstock_dependency) (penstock_dependency_response_duration_seconds{${INSTANCE}})`,
          '{{penstock_dependency}}',
        ),
      ],
    }),
    table({
      title: 'Versions',
      description: 'Which version runs where, and since when.',
      unit: 's',
      hidden: ['Time'],
      queries: [
        metricNow(`
          sum by (instance, service_version) (
            process_uptime_seconds{${INSTANCE}} * on (instance, worker) group_left (service_version) target_info{${INSTANCE}}
          )`),
      ],
    }),
    timeseries({
      title: 'Requests by status',
      description: 'Answers a second by HTTP status, health checks and scrapes among them.',
      unit: 'reqps',
      width: 24,
      height: 6,
      stacked: true,
      queries: [
        metric(
          rateBy('http_response_status_code', 'http_server_request_duration_seconds_count'),
          '{{http_response_status_code}}',
        ),
      ],
    }),
  ],
}
