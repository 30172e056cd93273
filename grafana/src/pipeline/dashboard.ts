/** The pipeline: what the collectors do, from their metrics. */
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { assemble } from '../assemble.ts'
import { instanceVariable } from '../variables.ts'
import { FAILURES } from './failures.ts'
import { HEALTH } from './health.ts'
import { INTAKE } from './intake.ts'
import { PROCESS } from './process.ts'
import { WAITING } from './waiting.ts'

export function pipelineDashboard(): Dashboard {
  return assemble({
    uid: 'penstock-pipeline',
    title: 'Penstock / Pipeline',
    description: 'How the collectors are, in the order in which an operator asks. From Prometheus.',
    from: 'now-1h',
    refresh: '10s',
    variables: [instanceVariable()],
    rows: [HEALTH, INTAKE, WAITING, FAILURES, PROCESS],
  })
}
