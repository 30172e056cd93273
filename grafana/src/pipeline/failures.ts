/** What failed? Reasons are the codes of docs/api/ingestion.md. */
import type { Row } from '../assemble.ts'
import { stat, timeseries } from '../panels.ts'
import { INSTANCE, metric, metricNow, rateBy } from '../prometheus.ts'

export const FAILURES: Row = {
  title: 'What failed?',
  panels: [
    timeseries({
      title: 'Events rejected',
      description: 'Events a second that were refused, by themselves or with their request, by reason and protocol.',
      unit: 'eps',
      queries: [
        metric(
          `${rateBy('error_type, penstock_protocol', 'penstock_events_rejected_total')} > 0`,
          '{{error_type}} at {{penstock_protocol}}',
        ),
      ],
    }),
    timeseries({
      title: 'Requests refused',
      description:
        'Requests and messages a second that were refused as a whole. `overloaded` is ours: a full log, or too many bodies in flight.',
      unit: 'reqps',
      queries: [
        metric(
          `${rateBy('error_type, penstock_protocol', 'penstock_requests_refused_total')} > 0`,
          '{{error_type}} at {{penstock_protocol}}',
        ),
      ],
    }),
    timeseries({
      title: 'Over the rate limit',
      description: 'Requests and events a second that were answered with 429, by protocol.',
      unit: 'cps',
      queries: [
        metric(rateBy('penstock_protocol', 'penstock_rate_limit_hits_total'), '{{penstock_protocol}}, requests'),
        metric(rateBy('penstock_protocol', 'penstock_events_rate_limited_total'), '{{penstock_protocol}}, events'),
      ],
    }),
    timeseries({
      title: 'Commits refused',
      description: 'Commits a second that the log did not take, by reason. Their requests were answered with 503.',
      unit: 'cps',
      width: 6,
      queries: [metric(rateBy('error_type', 'penstock_commits_refused_total'), '{{error_type}}')],
    }),
    timeseries({
      title: 'Inserts tried again',
      description:
        'By the code of the failure. Nothing is lost by it: the same bytes are sent until ClickHouse has them.',
      unit: 'cps',
      width: 6,
      queries: [metric(rateBy('error_type', 'penstock_flush_retries_total'), '{{error_type}}')],
    }),
    stat({
      title: 'Dead letters',
      description:
        'Files with events that ClickHouse could not read, waiting for somebody: `penstock dead-letter list`.',
      unit: 'short',
      height: 8,
      thresholds: { critical: 1 },
      queries: [metric(`sum(penstock_dead_letters_files{${INSTANCE}})`, 'files')],
    }),
    stat({
      title: 'Events set aside',
      description: 'Events that became dead letters in the time range.',
      unit: 'short',
      height: 8,
      thresholds: { critical: 1 },
      queries: [metricNow(`sum(increase(penstock_dead_letters_events_total{${INSTANCE}}[$__range]))`)],
    }),
    stat({
      title: 'Damaged records',
      description:
        'Places of the log that could not be read after a crash and were set aside, since the start of the process.',
      unit: 'short',
      height: 8,
      thresholds: { critical: 1 },
      queries: [metric(`sum(penstock_log_damaged_records_total{${INSTANCE}})`, 'records')],
    }),
  ],
}
