/** Queries of the collector's metrics. The names are those of docs/telemetry.md. */
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus'
import { dedent } from './text.ts'

/** The data source, as grafana/provisioning/datasources has it. */
export const PROMETHEUS = { type: 'prometheus', uid: 'prometheus' }

/** Selects the collectors that are chosen at the top of the dashboard. Processes of other jobs have metrics of the same names. */
export const INSTANCE = 'job="penstock", instance=~"$instance"'

/** A metric over time. `legend` names labels as `{{label}}`. */
export function metric(expression: string, legend: string): DataqueryBuilder {
  return new DataqueryBuilder()
    .datasource(PROMETHEUS)
    .expr(dedent(expression))
    .legendFormat(legend)
    .format(PromQueryFormat.TimeSeries)
    .range()
}

/** A metric at the end of the time range, for tables. */
export function metricNow(expression: string): DataqueryBuilder {
  return new DataqueryBuilder().datasource(PROMETHEUS).expr(dedent(expression)).format(PromQueryFormat.Table).instant()
}

/** A histogram over time, for heat maps: Grafana makes of its cumulative buckets what is in each. */
export function buckets(histogram: string): DataqueryBuilder {
  return metric(`sum by (le) (increase(${histogram}_bucket{${INSTANCE}}[$__rate_interval]))`, '{{le}}').format(
    PromQueryFormat.Heatmap,
  )
}

/** How much a counter grows a second, summed by the labels. */
export function rateBy(labels: string, counter: string, filters = ''): string {
  const selected = `${counter}{${INSTANCE}${filters === '' ? '' : `, ${filters}`}}`
  return `sum by (${labels}) (rate(${selected}[$__rate_interval]))`
}

/** A quantile of a histogram by the labels; `histogram` is its name without `_bucket`. */
export function quantileBy(labels: string, quantile: number, histogram: string): string {
  const by = ['le', ...(labels === '' ? [] : [labels])].join(', ')
  return `histogram_quantile(${quantile}, ${rateBy(by, `${histogram}_bucket`)})`
}

/** A quantile for each of p50, p95 and p99. */
export function quantiles(histogram: string): DataqueryBuilder[] {
  return [0.5, 0.95, 0.99].map((quantile) => metric(quantileBy('', quantile, histogram), `p${quantile * 100}`))
}
