/**
 * For each alert what Prometheus sees when it has to fire, and when it has not, though it is near to it. One value a step, in promtool's
 * notation: `0+5x3` is 0 5 10 15, `1x3` is 1 1 1 1.
 */

export const STEPS = ['15s', '1m', '5m'] as const
type Step = (typeof STEPS)[number]

export interface AlertCase {
  readonly alert: string
  /** Time between two values, and between two looks at the rules. */
  readonly step?: Step
  readonly fires: Seen
  readonly quiet: Seen
}

interface Seen {
  readonly series: Readonly<Record<string, string>>
  readonly at: string
}

const ONE = 'job="penstock", instance="a:3000"'
const REQUESTS = 'http_server_request_duration_seconds_count'
const GOOD = `${REQUESTS}{${ONE}, http_route="/v1/events", http_response_status_code="201"}`
const BAD = `${REQUESTS}{${ONE}, http_route="/v1/events", http_response_status_code="503"}`
const BROKEN = `${REQUESTS}{${ONE}, http_route="/v1/events", http_response_status_code="500"}`
const CHECKED = `${REQUESTS}{${ONE}, http_route="/health", http_response_status_code="503"}`
const USAGE = `penstock_log_usage_bytes{${ONE}}`
const LIMIT = `penstock_log_limit_bytes{${ONE}}`
const lag = (le: string) => `penstock_event_lag_seconds_bucket{${ONE}, le="${le}"}`
const dependency = (name: string) => `penstock_dependency_up{${ONE}, penstock_dependency="${name}"}`
const refused = (code: string) =>
  `penstock_requests_refused_total{${ONE}, penstock_protocol="v1/events", error_type="${code}"}`

/** One series with its values. */
const of = (series: string, values: string, at: string): Seen => ({ series: { [series]: values }, at })

export const ALERT_CASES: readonly AlertCase[] = [
  {
    alert: 'PenstockDown',
    fires: of(`up{${ONE}}`, '1x8 0x8', '4m'),
    quiet: of(`up{${ONE}}`, '1x8 0x2 1x8', '4m'),
  },
  {
    alert: 'PenstockAbsent',
    fires: of('up{job="other"}', '1x40', '6m'),
    quiet: of(`up{${ONE}}`, '0x40', '6m'),
  },
  {
    alert: 'PenstockDependencyDown',
    fires: of(dependency('clickhouse'), '1x4 0x8', '3m'),
    quiet: of(dependency('clickhouse'), '1x4 0x2 1x8', '3m'),
  },
  {
    alert: 'PenstockLagHigh',
    fires: { series: { [lag('5')]: '0x60', [lag('60')]: '0+9x60', [lag('+Inf')]: '0+10x60' }, at: '12m' },
    quiet: { series: { [lag('5')]: '0+99x60', [lag('60')]: '0+100x60', [lag('+Inf')]: '0+100x60' }, at: '12m' },
  },
  {
    alert: 'PenstockEventsWaiting',
    fires: of(`penstock_log_oldest_unflushed_age_seconds{${ONE}}`, '0+15x40', '7m'),
    quiet: of(`penstock_log_oldest_unflushed_age_seconds{${ONE}}`, '300x40', '7m'),
  },
  {
    alert: 'PenstockLogFilling',
    fires: { series: { [USAGE]: '51x10', [LIMIT]: '100x10' }, at: '2m' },
    quiet: { series: { [USAGE]: '50x10', [LIMIT]: '100x10' }, at: '2m' },
  },
  {
    alert: 'PenstockLogNearlyFull',
    fires: { series: { [USAGE]: '81x10', [LIMIT]: '100x10' }, at: '2m' },
    quiet: { series: { [USAGE]: '79x10', [LIMIT]: '100x10' }, at: '2m' },
  },
  {
    alert: 'PenstockLogFullSoon',
    step: '1m',
    // 15 % in half an hour: 100 % in another 2.8 hours. 6 %: in 7.8 hours.
    fires: { series: { [USAGE]: '0+60x30', [LIMIT]: '12000x30' }, at: '30m' },
    quiet: { series: { [USAGE]: '0+24x30', [LIMIT]: '12000x30' }, at: '30m' },
  },
  {
    alert: 'PenstockServerErrors',
    fires: { series: { [GOOD]: '0+1000x60', [BROKEN]: '0+1x60' }, at: '12m' },
    quiet: { series: { [GOOD]: '0+1000x60', [BAD]: '0+1x60', [BROKEN]: '7x60' }, at: '12m' },
  },
  {
    alert: 'PenstockRefusesEvents',
    fires: of(refused('overloaded'), '0x4 0+1x20', '5m'),
    quiet: of(refused('rate_limited'), '0x4 0+1x20', '5m'),
  },
  {
    alert: 'PenstockCommitsRefused',
    fires: of(`penstock_commits_refused_total{${ONE}, error_type="log_full"}`, '0x4 0+1x20', '5m'),
    quiet: of(`penstock_commits_refused_total{${ONE}, error_type="log_full"}`, '3x24', '5m'),
  },
  {
    alert: 'PenstockInsertsRetried',
    step: '1m',
    fires: of(`penstock_flush_retries_total{${ONE}, error_type="243"}`, '0+4x25', '15m'),
    quiet: of(`penstock_flush_retries_total{${ONE}, error_type="243"}`, '0 1x25', '15m'),
  },
  {
    alert: 'PenstockDeadLetters',
    fires: of(`penstock_dead_letters_files{${ONE}}`, '0 1x4', '1m'),
    quiet: of(`penstock_dead_letters_files{${ONE}}`, '1 0x4', '1m'),
  },
  {
    alert: 'PenstockDamagedLog',
    fires: of(`penstock_log_damaged_records_total{${ONE}}`, '1x4', '1m'),
    quiet: of(`penstock_log_damaged_records_total{${ONE}}`, '0x4', '1m'),
  },
  {
    alert: 'PenstockEventsRejected',
    step: '1m',
    fires: {
      series: {
        [`penstock_events_rejected_total{${ONE}, penstock_protocol="segment", error_type="invalid_event"}`]: '0+2x40',
        [`penstock_events_received_total{${ONE}, penstock_protocol="segment"}`]: '0+10x40',
      },
      at: '35m',
    },
    quiet: {
      series: {
        [`penstock_events_rejected_total{${ONE}, penstock_protocol="segment", error_type="invalid_event"}`]: '0+1x40',
        [`penstock_events_received_total{${ONE}, penstock_protocol="segment"}`]: '0+11x40',
      },
      at: '35m',
    },
  },
  {
    alert: 'PenstockEventLoopBlocked',
    fires: of(`nodejs_eventloop_delay_p99_seconds{${ONE}}`, '0.6x40', '7m'),
    quiet: of(`nodejs_eventloop_delay_p99_seconds{job="another service"}`, '0.6x40', '7m'),
  },
  {
    alert: 'PenstockRestarts',
    fires: of(`process_uptime_seconds{${ONE}}`, '0+15x9 0+15x9 0+15x9 0+15x9', '10m'),
    quiet: of(`process_uptime_seconds{${ONE}}`, '0+15x9 0+15x9 0+15x20', '10m'),
  },
  {
    alert: 'PenstockErrorBudgetFast',
    step: '1m',
    fires: { series: { [GOOD]: '0+980x80', [BAD]: '0+20x80' }, at: '70m' },
    quiet: { series: { [GOOD]: '0+990x80', [BAD]: '0+10x80', [CHECKED]: '0+100x80' }, at: '70m' },
  },
  {
    alert: 'PenstockErrorBudgetSlow',
    step: '5m',
    fires: { series: { [GOOD]: '0+992x80', [BAD]: '0+8x80' }, at: '6h30m' },
    quiet: { series: { [GOOD]: '0+995x80', [BAD]: '0+5x80' }, at: '6h30m' },
  },
]
