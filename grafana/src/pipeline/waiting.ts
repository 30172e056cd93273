/** Where does it wait? */
import type { Row } from '../assemble.ts'
import { spread, timeseries } from '../panels.ts'
import { buckets, INSTANCE, metric, quantiles, rateBy } from '../prometheus.ts'

const againstLimit = (name: string) => [
  metric(`sum by (instance) (penstock_${name}_usage_bytes{${INSTANCE}})`, '{{instance}}'),
  metric(`min(sum by (instance) (penstock_${name}_limit_bytes{${INSTANCE}}))`, 'limit'),
]

export const WAITING: Row = {
  title: 'Where does it wait?',
  panels: [
    timeseries({
      title: 'Lag of events',
      description: 'From acknowledged until queryable, of the oldest event of each segment.',
      unit: 's',
      thresholds: { warning: 10, critical: 60 },
      queries: quantiles('penstock_event_lag_seconds'),
    }),
    timeseries({
      title: 'Oldest event not in ClickHouse',
      description: 'Its age, by collector; 0 when there is none. It grows while ClickHouse is away or refuses.',
      unit: 's',
      thresholds: { warning: 60, critical: 300 },
      queries: [metric(`max by (instance) (penstock_log_oldest_unflushed_age_seconds{${INSTANCE}})`, '{{instance}}')],
    }),
    timeseries({
      title: 'Segments',
      description:
        'Sealed segments of the log: waiting for their turn, taken to be inserted, stuck because ClickHouse refuses them.',
      unit: 'short',
      stacked: true,
      queries: [metric(`sum by (state) (penstock_log_segments{${INSTANCE}})`, '{{state}}')],
    }),
    timeseries({
      title: 'Log on disk',
      description:
        'Segments that are not in ClickHouse yet, and WAL_MAX_BYTES of one collector: then events are refused.',
      unit: 'bytes',
      queries: againstLimit('log'),
    }),
    timeseries({
      title: 'Ring in memory',
      description:
        'The newest end of the log, and RING_BYTES of one collector. A full ring is no trouble: files are read.',
      unit: 'bytes',
      queries: againstLimit('ring'),
    }),
    timeseries({
      title: 'Bodies in flight',
      description:
        'Bodies held while their events are checked and committed, and IN_FLIGHT_BYTES_MAX of one collector: then 503.',
      unit: 'bytes',
      queries: againstLimit('bodies'),
    }),
    timeseries({
      title: 'Duration of commits',
      description: 'Write and sync of a commit to the log: the disk. Every acknowledgement waits for one.',
      unit: 's',
      thresholds: { warning: 0.1, critical: 1 },
      queries: quantiles('penstock_commit_duration_seconds'),
    }),
    timeseries({
      title: 'Events a commit',
      description: 'Load makes commits larger and events cheaper.',
      unit: 'short',
      queries: quantiles('penstock_commit_events'),
    }),
    timeseries({
      title: 'Duration of inserts',
      description: 'One try of an insert into ClickHouse, stored or failed.',
      unit: 's',
      thresholds: { warning: 5, critical: 30 },
      queries: [0.5, 0.95, 0.99].map((quantile) =>
        metric(
          `histogram_quantile(${quantile}, ${rateBy('le, outcome', 'penstock_flush_duration_seconds_bucket')})`,
          `p${quantile * 100} {{outcome}}`,
        ),
      ),
    }),
    timeseries({
      title: 'Inserts',
      description:
        'Inserts a second by outcome, and events and bytes that ClickHouse confirmed, on the panels beside it.',
      unit: 'cps',
      width: 6,
      queries: [metric(rateBy('outcome', 'penstock_flush_duration_seconds_count'), '{{outcome}}')],
    }),
    timeseries({
      title: 'Events an insert',
      description: 'A segment is one insert. Few large ones are what ClickHouse likes.',
      unit: 'short',
      width: 6,
      queries: quantiles('penstock_flush_batch_events'),
    }),
    timeseries({
      title: 'Bytes an insert',
      description: 'At SEGMENT_BYTES a segment is sealed, however young.',
      unit: 'bytes',
      width: 6,
      queries: quantiles('penstock_flush_batch_size_bytes'),
    }),
    timeseries({
      title: 'Into ClickHouse',
      description:
        'Events a second that ClickHouse confirmed, beside those that were acknowledged and are no duplicates.',
      unit: 'eps',
      width: 6,
      queries: [
        metric(`sum(rate(penstock_flush_events_total{${INSTANCE}}[$__rate_interval]))`, 'confirmed'),
        metric(
          `sum(rate(penstock_events_accepted_total{${INSTANCE}}[$__rate_interval])) - sum(rate(penstock_events_duplicates_total{${INSTANCE}}[$__rate_interval]))`,
          'acknowledged',
        ),
      ],
    }),
    timeseries({
      title: 'Bytes into ClickHouse',
      description: 'Bytes a second that ClickHouse confirmed, in its Native format.',
      unit: 'Bps',
      queries: [metric(rateBy('instance', 'penstock_flush_size_bytes_total'), '{{instance}}')],
    }),
    spread({
      title: 'Spread of the lag',
      description: 'How many segments became queryable after how long.',
      unit: 's',
      width: 16,
      queries: [buckets('penstock_event_lag_seconds')],
    }),
  ],
}
