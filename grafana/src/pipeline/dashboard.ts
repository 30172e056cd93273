/** The pipeline: what the collectors do, from their metrics. */
import { AnnotationQueryBuilder, type Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { assemble } from '../assemble.ts'
import { PROMETHEUS } from '../prometheus.ts'
import { instanceVariable } from '../variables.ts'
import { FAILURES } from './failures.ts'
import { HEALTH } from './health.ts'
import { INTAKE } from './intake.ts'
import { PROCESS } from './process.ts'
import { WAITING } from './waiting.ts'

/** While an alert fires, the panels say which. */
const ALERTS = new AnnotationQueryBuilder()
  .name('Alerts')
  .datasource(PROMETHEUS)
  .enable(true)
  .iconColor('red')
  .expr(`ALERTS{alertname=~"Penstock.*", alertstate="firing"}`)
  .titleFormat('{{alertname}}')
  .textFormat('{{instance}}')
  .step('60s')

export function pipelineDashboard(): Dashboard {
  return assemble({
    uid: 'penstock-pipeline',
    title: 'Penstock / Pipeline',
    description: 'How the collectors are, in the order in which an operator asks. From Prometheus.',
    from: 'now-1h',
    refresh: '10s',
    variables: [instanceVariable()],
    marks: [ALERTS],
    rows: [HEALTH, INTAKE, WAITING, FAILURES, PROCESS],
  })
}
