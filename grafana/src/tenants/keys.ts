/** Traffic by API key, from Prometheus; the collector counts it with METRICS_PER_KEY=true only. */

import type { Row } from '../assemble.ts'
import { table, timeseries } from '../panels.ts'
import { INSTANCE, metric, metricNow } from '../prometheus.ts'

const NEEDS = 'Needs METRICS_PER_KEY=true; beyond 1,000 keys the rest is one, `other`.'

/** Matches every tenant when All is chosen: the variable is then the list of all of them. */
const CHOSEN = `${INSTANCE}, penstock_tenant=~"$tenant|", penstock_workspace=~"$workspace|"`

const byKey = (outcome: string) =>
  `sum by (penstock_tenant, penstock_workspace, penstock_key) (rate(penstock_key_events_total{${CHOSEN}, outcome="${outcome}"}[$__rate_interval]))`

const LEGEND = '{{penstock_tenant}} / {{penstock_workspace}} / {{penstock_key}}'

export const KEYS: Row = {
  title: 'Which keys?',
  panels: [
    timeseries({
      title: 'Events accepted by key',
      description: `Accepted events a second. ${NEEDS}`,
      unit: 'eps',
      queries: [metric(byKey('accepted'), LEGEND)],
    }),
    timeseries({
      title: 'Events rejected by key',
      description: `Events a second that were refused for what they are. ${NEEDS}`,
      unit: 'eps',
      queries: [metric(byKey('rejected'), LEGEND)],
    }),
    timeseries({
      title: 'Events over their key’s limit',
      description: `Events a second that were answered with 429: the key wants a higher tier, or its sender a look. ${NEEDS}`,
      unit: 'eps',
      queries: [metric(byKey('rate_limited'), LEGEND)],
    }),
    table({
      title: 'Keys in the time range',
      description: `Events by key and outcome. ${NEEDS}`,
      unit: 'short',
      width: 24,
      gauges: ['Value'],
      hidden: ['Time'],
      queries: [
        metricNow(`
          sort_desc(sum by (penstock_tenant, penstock_workspace, penstock_key, outcome) (
            increase(penstock_key_events_total{${CHOSEN}}[$__range])
          ) > 0)`),
      ],
    }),
  ],
}
